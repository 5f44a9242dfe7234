//! Metadata: brokers and topics, creating a topic that is asked for and missing (B-13).

use super::{Broker, Code};
use crate::config::Overrides;
use crate::protocol::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::protocol::{MetadataRequest, MetadataResponse, Str, Uuid};
use crate::topics::{NewTopic, Refusal, Topic};
use std::sync::Arc;

impl Broker {
    pub(super) async fn metadata(
        &self,
        version: i16,
        request: MetadataRequest,
    ) -> MetadataResponse {
        // Before version 4 every request creates; in version 0 an empty list means all.
        let create = version < 4 || request.allow_auto_topic_creation;
        let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
        let mut topics = Vec::new();
        match asked {
            None => topics.extend(self.topics.all().iter().map(|topic| self.describe(topic))),
            Some(asked) => {
                for topic in asked {
                    topics.push(self.metadata_of(version, topic, create).await);
                }
            }
        }
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: self.node_id(),
                host: self.host(),
                port: self.port(),
                rack: None,
            }],
            cluster_id: Some(self.cluster_id.as_str().into()),
            controller_id: self.node_id(),
            topics,
            ..MetadataResponse::default()
        }
    }

    async fn metadata_of(
        &self,
        version: i16,
        asked: MetadataRequestTopic,
        create: bool,
    ) -> MetadataResponseTopic {
        let by_id = version >= 12 && asked.name.is_none();
        let found = match &asked.name {
            _ if by_id => self.topics.find_id(asked.topic_id.0).ok_or(Code::UnknownTopicId),
            Some(name) => self.find_or_create(name, create).await,
            None => Err(Code::InvalidRequest),
        };
        match found {
            Ok(topic) => self.describe(&topic),
            Err(code) => MetadataResponseTopic {
                error_code: code.get(),
                name: if by_id { None } else { Some(asked.name.unwrap_or_default()) },
                topic_id: if by_id { asked.topic_id } else { Uuid::ZERO },
                ..MetadataResponseTopic::default()
            },
        }
    }

    /// The topic; created if that is allowed. It is durable and ready then, so it is answered at
    /// once, without the round of errors that Kafka lets a client ride through.
    async fn find_or_create(&self, name: &str, create: bool) -> Result<Arc<Topic>, Code> {
        if let Some(topic) = self.topics.find(name) {
            return Ok(topic);
        }
        let settings = &self.config.settings;
        if !create || !settings.auto_create_topics_enable {
            let legal = oncelog::LogName::new(name, 0).is_ok();
            let code = if legal { Code::UnknownTopicOrPartition } else { Code::InvalidTopic };
            return Err(code);
        }
        let new = NewTopic {
            name: name.to_owned(),
            partitions: settings.num_partitions,
            overrides: Overrides::new(),
        };
        match self.topics.create(new).await {
            Ok(topic) => Ok(topic),
            // Somebody else was faster.
            Err(Refusal::Exists) => self.topics.find(name).ok_or(Code::UnknownTopicOrPartition),
            Err(Refusal::InvalidName(_) | Refusal::Reserved) => Err(Code::InvalidTopic),
            Err(Refusal::Engine(error)) => Err(Code::from(&error)),
            Err(_) => Err(Code::UnknownTopicOrPartition),
        }
    }

    fn describe(&self, topic: &Topic) -> MetadataResponseTopic {
        let node = self.node_id();
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: node,
            leader_epoch: self
                .topics
                .opened(topic, partition_index)
                .map_or(0, |log| super::leader_epoch(&log).get()),
            replica_nodes: vec![node],
            isr_nodes: vec![node],
            ..MetadataResponsePartition::default()
        };
        MetadataResponseTopic {
            name: Some(Str::from(&*topic.name)),
            topic_id: Uuid(topic.id),
            is_internal: topic.internal,
            partitions: (0..topic.partition_count()).map(partition).collect(),
            ..MetadataResponseTopic::default()
        }
    }

    pub(super) fn node_id(&self) -> i32 {
        self.config.settings.node_id
    }

    pub(super) fn host(&self) -> Str {
        Str::from(self.address.host.as_str())
    }

    pub(super) fn port(&self) -> i32 {
        i32::from(self.address.port)
    }
}
