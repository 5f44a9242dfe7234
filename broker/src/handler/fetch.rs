//! Fetch: reads the wanted partitions in order, and waits while there is too little.
//!
//! ```text
//! session ─► sweep ────┬─ enough bytes, an error, or time is up ─► answer
//!                      └─ otherwise: until any log passes what was read, then sweep again
//! ```

use super::fetch_sweep::Sweep;
use super::offsets::isolation;
use super::{Broker, Code};
use crate::answer_budget::Claim;
use crate::fetch_session::{FetchContext, Sent, SessionError, TopicRef, Wanted};
use crate::protocol::fetch::{
    EpochEndOffset, FetchTopic, FetchableTopicResponse, ForgottenTopic, PartitionData,
};
use crate::protocol::{FetchRequest, FetchResponse, Str, Uuid};
use oncelog::{Isolation, WaitFor};
use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose clients know zstd (B-29).
const ZSTD_SINCE: i16 = 10;
/// Longest wait that is granted.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How far one fetch may go.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Whether the client's version knows zstd.
    pub(super) knows_zstd: bool,
    pub(super) isolation: Isolation,
    pub(super) max_bytes: usize,
    min_bytes: usize,
    deadline: Instant,
}

impl Broker {
    /// The answer, and the room that its records take.
    pub(super) async fn fetch(
        &self,
        version: i16,
        request: FetchRequest,
    ) -> (FetchResponse, Claim) {
        if request.max_bytes < 0 || request.max_wait_ms < 0 {
            return refused(Code::InvalidRequest, 0);
        }
        let by_id = version >= TOPIC_IDS_SINCE;
        let bounds = self.bounds(version, &request);
        let (session_id, epoch) = (request.session_id, request.session_epoch);
        let wanted = wanted(by_id, request.topics);
        let forgotten = forgotten(by_id, request.forgotten_topics_data);
        let begun = self.sessions.begin(session_id, epoch, by_id, wanted, &forgotten);
        let (context, wanted) = match begun {
            Ok(begun) => begun,
            Err(SessionError::NotFound) => return refused(Code::FetchSessionIdNotFound, 0),
            Err(SessionError::WrongEpoch) => return refused(Code::InvalidFetchSessionEpoch, 0),
            Err(SessionError::MixedTopicIds) => {
                return refused(Code::FetchSessionTopicIdError, session_id);
            }
        };
        let wanted = Arc::new(wanted);
        let (answers, claim) = self.read_until_enough(&wanted, bounds).await;
        (self.conclude(context, by_id, &wanted, answers), claim)
    }

    fn bounds(&self, version: i16, request: &FetchRequest) -> Bounds {
        let max_bytes = request.max_bytes.min(self.config.settings.fetch_max_bytes);
        let min_bytes = request.min_bytes.clamp(0, max_bytes);
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        Bounds {
            knows_zstd: version >= ZSTD_SINCE,
            isolation: isolation(request.isolation_level),
            max_bytes: usize::try_from(max_bytes).unwrap_or(0),
            min_bytes: usize::try_from(min_bytes).unwrap_or(0),
            deadline: Instant::now() + wait.min(WAIT_MAX),
        }
    }

    /// Reads until there are enough bytes, something failed, or time is up (B-27).
    async fn read_until_enough(
        &self,
        wanted: &Arc<Vec<Wanted>>,
        bounds: Bounds,
    ) -> (Vec<PartitionData>, Claim) {
        let partitions: usize = wanted.iter().map(Wanted::bytes_max).sum();
        let wish = bounds.max_bytes.min(partitions);
        loop {
            let mut claim = self.answers.claim(wish);
            let is_short = claim.bytes() < wish;
            let bounded = Bounds { max_bytes: wish.min(claim.bytes()), ..bounds };
            let pass = Sweep::new(&self.topics, wanted, bounded).run().await;
            claim.shrink_to(pass.bytes);
            let enough = pass.failed || pass.bytes >= bounds.min_bytes;
            // With little room there may never be as much as was asked for.
            if enough || wanted.is_empty() || (is_short && pass.bytes > 0) {
                return (pass.answers, claim);
            }
            if timeout_at(bounds.deadline, any(pass.waits)).await.is_err() {
                return (pass.answers, claim);
            }
        }
    }

    fn conclude(
        &self,
        context: FetchContext,
        by_id: bool,
        wanted: &[Wanted],
        answers: Vec<PartitionData>,
    ) -> FetchResponse {
        let sent = answers.iter().map(sent);
        let topics = wanted.iter().map(|wanted| wanted.topic.clone());
        let (session_id, listed) = match context {
            FetchContext::Sessionless => (0, None),
            FetchContext::Opening => {
                let answered = wanted.iter().cloned().zip(sent).collect();
                (self.sessions.open(by_id, answered), None)
            }
            FetchContext::Continuing(id, session) => {
                let keys = wanted.iter().map(|w| (w.topic.clone(), w.partition));
                let by_key: HashMap<_, _> = keys.zip(sent).collect();
                (id, Some(session.lock().conclude(&by_key)))
            }
        };
        let listed = topics.zip(answers).filter(|(topic, answer)| {
            let key = || (topic.clone(), answer.partition_index);
            listed.as_ref().is_none_or(|listed: &HashSet<_>| listed.contains(&key()))
        });
        FetchResponse { session_id, responses: grouped(listed), ..FetchResponse::default() }
    }
}

fn sent(answer: &PartitionData) -> Sent {
    Sent {
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
        has_data: !answer.records.is_empty(),
        has_error: answer.error_code != 0 || answer.diverging_epoch != EpochEndOffset::default(),
    }
}

/// Consecutive partitions of one topic under one heading, in order.
fn grouped(
    answers: impl Iterator<Item = (TopicRef, PartitionData)>,
) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut current: Option<TopicRef> = None;
    for (topic, answer) in answers {
        if current.as_ref() != Some(&topic) {
            topics.push(match &topic {
                TopicRef::Name(name) => FetchableTopicResponse {
                    topic: Str::from(&**name),
                    ..FetchableTopicResponse::default()
                },
                TopicRef::Id(id) => FetchableTopicResponse {
                    topic_id: Uuid(*id),
                    ..FetchableTopicResponse::default()
                },
            });
            current = Some(topic);
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(answer);
        }
    }
    topics
}

fn wanted(by_id: bool, topics: Vec<FetchTopic>) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for topic in topics {
        let name = topic_ref(by_id, &topic.topic, topic.topic_id);
        wanted.extend(topic.partitions.into_iter().map(|partition| Wanted {
            topic: name.clone(),
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    wanted
}

fn forgotten(by_id: bool, topics: Vec<ForgottenTopic>) -> Vec<(TopicRef, i32)> {
    let mut forgotten = Vec::new();
    for topic in topics {
        let name = topic_ref(by_id, &topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|index| (name.clone(), *index)));
    }
    forgotten
}

fn topic_ref(by_id: bool, name: &str, id: Uuid) -> TopicRef {
    if by_id { TopicRef::Id(id.0) } else { TopicRef::Name(name.into()) }
}

fn refused(code: Code, session_id: i32) -> (FetchResponse, Claim) {
    let response = FetchResponse { error_code: code.get(), session_id, ..FetchResponse::default() };
    (response, Claim::default())
}

/// Resolves with the first of `waits`; never, if there is none. A log that can no longer wait
/// counts too: the next read says why.
async fn any(mut waits: Vec<Pin<Box<WaitFor>>>) {
    poll_fn(|cx| {
        let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_keep_their_order_and_share_a_heading_with_their_neighbour() {
        let answer = |name: &str, partition_index| {
            let data = PartitionData { partition_index, ..PartitionData::default() };
            (TopicRef::Name(name.into()), data)
        };
        let answers = [answer("a", 1), answer("a", 0), answer("b", 0), answer("a", 2)];
        let topics = grouped(answers.into_iter());
        let shape: Vec<_> = topics.iter().map(|t| (t.topic.as_str(), t.partitions.len())).collect();
        assert_eq!(shape, [("a", 2), ("b", 1), ("a", 1)]);
    }
}
