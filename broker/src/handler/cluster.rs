//! DescribeCluster and FindCoordinator: both name this node.

use super::{Broker, Code};
use crate::protocol::describe_cluster::DescribeClusterBroker;
use crate::protocol::find_coordinator::Coordinator;
use crate::protocol::{
    DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, Str,
};

const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;
/// The endpoint type of brokers; controllers are 2.
const ENDPOINT_BROKER: i8 = 1;

impl Broker {
    pub(super) fn describe_cluster(
        &self,
        request: &DescribeClusterRequest,
    ) -> DescribeClusterResponse {
        if request.endpoint_type != ENDPOINT_BROKER {
            return DescribeClusterResponse {
                error_code: Code::InvalidRequest.get(),
                error_message: Some(Str::from_static("only brokers can be described")),
                endpoint_type: request.endpoint_type,
                ..DescribeClusterResponse::default()
            };
        }
        DescribeClusterResponse {
            cluster_id: self.cluster_id.as_str().into(),
            controller_id: self.node_id(),
            brokers: vec![DescribeClusterBroker {
                broker_id: self.node_id(),
                host: self.host(),
                port: self.port(),
                ..DescribeClusterBroker::default()
            }],
            ..DescribeClusterResponse::default()
        }
    }

    pub(super) async fn find_coordinator(
        &self,
        version: i16,
        request: FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let (code, message) = match request.key_type {
            KEY_GROUP => match self.topics.offsets_topic().await {
                Ok(_) => (Code::None, None),
                Err(error) => (Code::CoordinatorNotAvailable, Some(error.to_string().into())),
            },
            KEY_TRANSACTION => match self.topics.txn_state_topic().await {
                Ok(_) => (Code::None, None),
                Err(error) => (Code::CoordinatorNotAvailable, Some(error.to_string().into())),
            },
            _ => (Code::InvalidRequest, Some(Str::from_static("unknown type of coordinator"))),
        };
        let here = code == Code::None;
        let (node_id, host, port) =
            if here { (self.node_id(), self.host(), self.port()) } else { (-1, Str::EMPTY, -1) };
        if version < 4 {
            return FindCoordinatorResponse {
                error_code: code.get(),
                error_message: message,
                node_id,
                host,
                port,
                ..FindCoordinatorResponse::default()
            };
        }
        let coordinator = |key| Coordinator {
            key,
            node_id,
            host: host.clone(),
            port,
            error_code: code.get(),
            error_message: message.clone(),
        };
        FindCoordinatorResponse {
            coordinators: request.coordinator_keys.into_iter().map(coordinator).collect(),
            ..FindCoordinatorResponse::default()
        }
    }
}
