//! Fetch: reads the wanted partitions in order, and waits while there is too little.
//!
//! ```text
//! session ─► read all ─┬─ enough bytes, an error, or time is up ─► answer
//!                      └─ otherwise: until any log passes what was read, then read again
//! ```

use super::offsets::isolation;
use super::{Broker, Code, check_leader_epoch};
use crate::answer_budget::Claim;
use crate::blocking::blocking;
use crate::fetch_session::{FetchContext, Sent, SessionError, TopicRef, Wanted};
use crate::protocol::fetch::{
    AbortedTransaction, EpochEndOffset, FetchTopic, FetchableTopicResponse, ForgottenTopic,
    PartitionData,
};
use crate::protocol::{FetchRequest, FetchResponse, Records, Str, Uuid};
use oncelog::batch::Compression;
use oncelog::{Isolation, LeaderEpoch, Log, Offset, ReadOptions, ReadOutcome, WaitFor};
use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose clients know zstd (B-29).
const ZSTD_SINCE: i16 = 10;
/// Longest wait that is granted.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// One pass over the wanted partitions.
#[derive(Default)]
struct Pass {
    answers: Vec<PartitionData>,
    bytes: usize,
    failed: bool,
    /// What would make another pass worthwhile.
    waits: Vec<Pin<Box<WaitFor>>>,
}

/// How far one fetch may go.
#[derive(Clone, Copy)]
struct Bounds {
    /// Whether the client's version knows zstd.
    knows_zstd: bool,
    isolation: Isolation,
    max_bytes: usize,
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
        let (answers, claim) = self.read_until_enough(&wanted, bounds).await;
        (self.conclude(context, by_id, wanted, answers), claim)
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
        wanted: &[Wanted],
        bounds: Bounds,
    ) -> (Vec<PartitionData>, Claim) {
        let partitions: usize = wanted.iter().map(Wanted::bytes_max).sum();
        let wish = bounds.max_bytes.min(partitions);
        loop {
            let mut claim = self.answers.claim(wish);
            let is_short = claim.bytes() < wish;
            let bounded = Bounds { max_bytes: wish.min(claim.bytes()), ..bounds };
            let pass = self.read_all(wanted, bounded).await;
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

    /// Reads in the order of the request; the first partition with data gets a whole batch even if
    /// it is larger than any limit, the others share what is left (B-25).
    async fn read_all(&self, wanted: &[Wanted], bounds: Bounds) -> Pass {
        let mut pass = Pass::default();
        for wanted in wanted {
            let answer = match self.read_one(wanted, bounds, &mut pass).await {
                Ok(answer) => answer,
                Err(code) => {
                    pass.failed = true;
                    PartitionData {
                        error_code: code.get(),
                        high_watermark: -1,
                        ..PartitionData::default()
                    }
                }
            };
            pass.answers.push(PartitionData { partition_index: wanted.partition, ..answer });
        }
        pass
    }

    async fn read_one(
        &self,
        wanted: &Wanted,
        bounds: Bounds,
        pass: &mut Pass,
    ) -> Result<PartitionData, Code> {
        let log = self.wanted_log(wanted, bounds).await?;
        check_leader_epoch(&log, wanted.leader_epoch)?;
        if let Some(diverging) = diverging(&log, wanted) {
            pass.failed = true;
            return Ok(diverging);
        }
        let offsets = log.offsets();
        let from = Offset::new(wanted.offset);
        if from < offsets.log_start_offset || from > offsets.log_end_offset {
            return Err(Code::OffsetOutOfRange);
        }
        let visible = match bounds.isolation {
            Isolation::ReadCommitted => offsets.last_stable_offset,
            _ => offsets.high_watermark,
        };
        let left = bounds.max_bytes.saturating_sub(pass.bytes);
        let mut answer = PartitionData {
            high_watermark: offsets.high_watermark.get(),
            last_stable_offset: offsets.last_stable_offset.get(),
            log_start_offset: offsets.log_start_offset.get(),
            aborted_transactions: aborted(bounds.isolation, &[]),
            ..PartitionData::default()
        };
        if from >= visible {
            pass.waits.push(Box::pin(log.wait_for(from, bounds.isolation)));
            return Ok(answer);
        }
        if pass.bytes > 0 && left == 0 {
            return Ok(answer);
        }
        let outcome = read(&log, wanted, bounds.isolation, left, pass.bytes == 0).await?;
        let next = outcome.next_offset;
        pass.waits.push(Box::pin(log.wait_for(next.max(from), bounds.isolation)));
        answer.high_watermark = outcome.high_watermark.get();
        answer.last_stable_offset = outcome.last_stable_offset.get();
        answer.log_start_offset = outcome.log_start_offset.get();
        answer.aborted_transactions = aborted(bounds.isolation, &outcome.aborted);
        answer.records = Records(outcome.slices);
        pass.bytes += answer.records.len();
        Ok(answer)
    }

    async fn wanted_log(&self, wanted: &Wanted, bounds: Bounds) -> Result<Log, Code> {
        let topic = match &wanted.topic {
            TopicRef::Name(name) => self.topics.find(name).ok_or(Code::UnknownTopicOrPartition)?,
            TopicRef::Id(id) => self.topics.find_id(*id).ok_or(Code::UnknownTopicId)?,
        };
        if !bounds.knows_zstd && topic.codec == Some(Compression::Zstd) {
            return Err(Code::UnsupportedCompression);
        }
        self.topics.log(&topic, wanted.partition).await.map_err(|e| Code::from(&e))
    }

    fn conclude(
        &self,
        context: FetchContext,
        by_id: bool,
        wanted: Vec<Wanted>,
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

async fn read(
    log: &Log,
    wanted: &Wanted,
    isolation: Isolation,
    left: usize,
    first: bool,
) -> Result<ReadOutcome, Code> {
    let mut options = ReadOptions::default();
    options.max_bytes = wanted.bytes_max().min(left);
    options.min_one_batch = first;
    options.isolation = isolation;
    let (log, from) = (log.clone(), Offset::new(wanted.offset));
    blocking(move || log.read(from, &options)).await.map_err(|e| Code::from(&e))
}

/// Where the consumer's history parts from the log's, if it does (R-21).
fn diverging(log: &Log, wanted: &Wanted) -> Option<PartitionData> {
    if wanted.last_fetched_epoch < 0 {
        return None;
    }
    let (epoch, end) = log.end_offset_for_epoch(LeaderEpoch::new(wanted.last_fetched_epoch))?;
    if epoch.get() == wanted.last_fetched_epoch && end.get() >= wanted.offset {
        return None;
    }
    let offsets = log.offsets();
    Some(PartitionData {
        high_watermark: offsets.high_watermark.get(),
        last_stable_offset: offsets.last_stable_offset.get(),
        log_start_offset: offsets.log_start_offset.get(),
        diverging_epoch: EpochEndOffset { epoch: epoch.get(), end_offset: end.get() },
        ..PartitionData::default()
    })
}

/// Null unless read_committed, then a list that may be empty (T-13).
fn aborted(
    isolation: Isolation,
    transactions: &[oncelog::AbortedTxn],
) -> Option<Vec<AbortedTransaction>> {
    let list = || {
        transactions.iter().map(|txn| AbortedTransaction {
            producer_id: txn.producer_id.get(),
            first_offset: txn.first_offset.get(),
        })
    };
    (isolation == Isolation::ReadCommitted).then(|| list().collect())
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
