//! One sweep of a fetch over its partitions, in the order of the request.
//!
//! ```text
//! partition ─► in memory? ─ yes ─► answered by the connection's own task
//!                    └─ no ─► this one and all behind it: one task where blocking is allowed
//! ```
//!
//! So a fetch at the end of its logs waits for no other thread, and a fetch of old data takes one
//! of those threads, however many partitions it names.

use super::fetch::Bounds;
use super::{Code, check_leader_epoch};
use crate::blocking::blocking;
use crate::fetch_session::{TopicRef, Wanted};
use crate::protocol::Records;
use crate::protocol::fetch::{AbortedTransaction, EpochEndOffset, PartitionData};
use crate::topics::Registry;
use oncelog::batch::Compression;
use oncelog::{Isolation, LeaderEpoch, Log, Offset, ReadOptions, ReadOutcome, WaitFor};
use std::pin::Pin;
use std::sync::Arc;
use tokio::task::yield_now;

/// After so much work in one go the connections of this thread get their turn.
const WORK_PER_TURN: usize = 4 << 20;
/// The work of looking at a partition, in bytes read.
const WORK_PER_PARTITION: usize = 16 << 10;

/// What was found.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) answers: Vec<PartitionData>,
    pub(super) bytes: usize,
    pub(super) failed: bool,
    /// What would make another pass worthwhile.
    pub(super) waits: Vec<Pin<Box<WaitFor>>>,
}

/// How far a read may go for its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Memory,
    Disk,
}

/// What is to be read.
#[derive(Clone)]
pub(super) struct Sweep {
    topics: Registry,
    wanted: Arc<Vec<Wanted>>,
    bounds: Bounds,
}

impl Sweep {
    pub(super) fn new(topics: &Registry, wanted: &Arc<Vec<Wanted>>, bounds: Bounds) -> Self {
        Self { topics: topics.clone(), wanted: Arc::clone(wanted), bounds }
    }

    /// Reads in the order of the request; the first partition with data gets a whole batch even if
    /// it is larger than any limit, the others share what is left (B-25).
    pub(super) async fn run(&self) -> Pass {
        let mut pass = Pass::default();
        let mut work = 0;
        for wanted in self.wanted.iter() {
            let bytes = pass.bytes;
            if !self.visit(wanted, &mut pass, Reach::Memory) {
                return self.run_on_disk(pass).await;
            }
            work += pass.bytes - bytes + WORK_PER_PARTITION;
            if work >= WORK_PER_TURN {
                work = 0;
                yield_now().await;
            }
        }
        pass
    }

    /// The rest of a pass, on a thread that may wait for the disk.
    async fn run_on_disk(&self, pass: Pass) -> Pass {
        let sweep = self.clone();
        let rest = blocking(move || {
            let mut pass = pass;
            for wanted in sweep.wanted.iter().skip(pass.answers.len()) {
                sweep.visit(wanted, &mut pass, Reach::Disk);
            }
            Ok(pass)
        });
        match rest.await {
            Ok(pass) => pass,
            Err(error) => {
                let mut pass = Pass::default();
                let code = Code::from(&error);
                self.wanted.iter().for_each(|wanted| pass.fail(wanted, code));
                pass
            }
        }
    }

    /// Answers one partition; false if that takes a further reach.
    fn visit(&self, wanted: &Wanted, pass: &mut Pass, reach: Reach) -> bool {
        match self.read_one(wanted, pass, reach) {
            Ok(Some(answer)) => pass.answer(wanted, answer),
            Ok(None) => return false,
            Err(code) => pass.fail(wanted, code),
        }
        true
    }

    fn read_one(
        &self,
        wanted: &Wanted,
        pass: &mut Pass,
        reach: Reach,
    ) -> Result<Option<PartitionData>, Code> {
        let Some(log) = self.log(wanted, reach)? else { return Ok(None) };
        check_leader_epoch(&log, wanted.leader_epoch)?;
        if let Some(diverging) = diverging(&log, wanted) {
            pass.failed = true;
            return Ok(Some(diverging));
        }
        let offsets = log.offsets();
        let from = Offset::new(wanted.offset);
        if from < offsets.log_start_offset || from > offsets.log_end_offset {
            return Err(Code::OffsetOutOfRange);
        }
        let isolation = self.bounds.isolation;
        let visible = match isolation {
            Isolation::ReadCommitted => offsets.last_stable_offset,
            _ => offsets.high_watermark,
        };
        let mut answer = PartitionData {
            high_watermark: offsets.high_watermark.get(),
            last_stable_offset: offsets.last_stable_offset.get(),
            log_start_offset: offsets.log_start_offset.get(),
            aborted_transactions: aborted(isolation, &[]),
            ..PartitionData::default()
        };
        if from >= visible {
            pass.waits.push(Box::pin(log.wait_for(from, isolation)));
            return Ok(Some(answer));
        }
        if pass.bytes > 0 && pass.bytes >= self.bounds.max_bytes {
            return Ok(Some(answer));
        }
        let Some(outcome) = self.read(&log, wanted, pass, reach)? else { return Ok(None) };
        let next = outcome.next_offset;
        pass.waits.push(Box::pin(log.wait_for(next.max(from), isolation)));
        answer.high_watermark = outcome.high_watermark.get();
        answer.last_stable_offset = outcome.last_stable_offset.get();
        answer.log_start_offset = outcome.log_start_offset.get();
        answer.aborted_transactions = aborted(isolation, &outcome.aborted);
        answer.records = Records(outcome.slices);
        pass.bytes += answer.records.len();
        Ok(Some(answer))
    }

    /// The log, if it is within reach: opening one needs the disk.
    fn log(&self, wanted: &Wanted, reach: Reach) -> Result<Option<Log>, Code> {
        let topic = match &wanted.topic {
            TopicRef::Name(name) => self.topics.find(name).ok_or(Code::UnknownTopicOrPartition)?,
            TopicRef::Id(id) => self.topics.find_id(*id).ok_or(Code::UnknownTopicId)?,
        };
        if !self.bounds.knows_zstd && topic.codec == Some(Compression::Zstd) {
            return Err(Code::UnsupportedCompression);
        }
        match reach {
            Reach::Memory => Ok(self.topics.opened(&topic, wanted.partition)),
            Reach::Disk => {
                let log = self.topics.log_blocking(&topic, wanted.partition);
                log.map(Some).map_err(|e| Code::from(&e))
            }
        }
    }

    fn read(
        &self,
        log: &Log,
        wanted: &Wanted,
        pass: &Pass,
        reach: Reach,
    ) -> Result<Option<ReadOutcome>, Code> {
        let mut options = ReadOptions::default();
        let left = self.bounds.max_bytes.saturating_sub(pass.bytes);
        options.max_bytes = wanted.bytes_max().min(left);
        options.min_one_batch = pass.bytes == 0;
        options.isolation = self.bounds.isolation;
        let from = Offset::new(wanted.offset);
        let outcome = match reach {
            Reach::Memory => {
                // Its checksum was right when it came in, and it has not left memory since.
                options.verify = false;
                log.read_resident(from, &options)
            }
            Reach::Disk => log.read(from, &options).map(Some),
        };
        outcome.map_err(|e| Code::from(&e))
    }
}

impl Pass {
    fn answer(&mut self, wanted: &Wanted, answer: PartitionData) {
        self.answers.push(PartitionData { partition_index: wanted.partition, ..answer });
    }

    fn fail(&mut self, wanted: &Wanted, code: Code) {
        self.failed = true;
        let error_code = code.get();
        let refused = PartitionData { error_code, high_watermark: -1, ..PartitionData::default() };
        self.answer(wanted, refused);
    }
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
