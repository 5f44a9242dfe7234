//! The requests of consumer groups: handed to the coordinator, which answers them.

use super::{Broker, Call, Verdict};
use crate::clock;
use crate::group::{self, Caller, Host};
use crate::protocol::{Request, RequestHeader, Str, Uuid};
use crate::topics::{OFFSETS_TOPIC, Registry};
use std::net::IpAddr;

/// What the coordinator may ask of the broker.
#[derive(Debug)]
pub(super) struct GroupHost {
    pub(super) topics: Registry,
}

impl Host for GroupHost {
    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    fn random_id(&self) -> Uuid {
        Uuid(clock::random_id())
    }

    fn offsets_topic_id(&self) -> Uuid {
        Uuid(self.topics.internal_id(OFFSETS_TOPIC))
    }

    fn partition_count(&self, topic: &str) -> Option<i32> {
        self.topics.find(topic).map(|topic| topic.partition_count())
    }

    fn topic_name(&self, id: Uuid) -> Option<Str> {
        self.topics.find_id(id.0).map(|topic| Str::from(&*topic.name))
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.find(name).map(|topic| Uuid(topic.id))
    }
}

impl Broker {
    /// Serves what [`Broker::dispatch`] did not: groups, and nothing else.
    pub(super) async fn dispatch_group(
        &self,
        peer: IpAddr,
        header: &RequestHeader,
        call: Call,
        request: Request,
    ) -> Verdict {
        let (groups, version) = (&self.groups, call.version);
        let writes = matches!(request, Request::JoinGroup(_) | Request::OffsetCommit(_));
        // For a client that did not look for its coordinator first. Without the topic nothing that
        // it asks could be kept.
        if writes && self.topics.offsets_topic().await.is_err() {
            return Verdict::Close;
        }
        match request {
            Request::JoinGroup(request) => {
                let name = header.client_id.as_deref().unwrap_or_default();
                // Kafka writes addresses as Java prints them: after a slash.
                let caller = Caller::new(name, &format!("/{peer}"));
                call.answer(groups.join(&caller, request, version).await)
            }
            Request::SyncGroup(r) => call.answer(groups.sync(r, version).await),
            Request::Heartbeat(r) => call.answer(groups.heartbeat(&r)),
            Request::LeaveGroup(r) => call.answer(groups.leave(&r, version)),
            Request::OffsetCommit(r) => call.answer(groups.commit_offsets(r, version).await),
            Request::OffsetFetch(r) => call.answer(groups.fetch_offsets(&r, version)),
            Request::ListGroups(r) => call.answer(groups.list(&r)),
            Request::DescribeGroups(r) => call.answer(groups.describe(&r, version)),
            Request::DeleteGroups(r) => call.answer(groups.delete(r).await),
            Request::OffsetDelete(r) => call.answer(groups.delete_offsets(r).await),
            // Not in the table of what is served, so never decoded.
            _ => Verdict::Close,
        }
    }
}

/// The coordinator's share of the settings. `partitions` are those of the topic that keeps groups,
/// if it exists: what was given then holds, whatever the setting says now.
pub(super) fn group_config(
    settings: &crate::config::Settings,
    partitions: Option<i32>,
) -> group::Config {
    group::Config {
        initial_rebalance_delay_ms: settings.group_initial_rebalance_delay_ms,
        min_session_timeout_ms: settings.group_min_session_timeout_ms,
        max_session_timeout_ms: settings.group_max_session_timeout_ms,
        group_max_size: settings.group_max_size,
        offset_metadata_max_bytes: settings.offset_metadata_max_bytes,
        offsets_retention_minutes: settings.offsets_retention_minutes,
        offsets_retention_check_interval_ms: settings.offsets_retention_check_interval_ms,
        offsets_partitions: partitions.unwrap_or(settings.offsets_topic_num_partitions),
    }
}
