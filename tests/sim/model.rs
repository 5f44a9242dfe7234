//! The oracle: what a log must hold and answer, told by the history of operations alone.

use oncelog::batch::{BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use std::collections::BTreeMap;

/// A batch that was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) pid: i64,
    pub(crate) sequence: i32,
    pub(crate) transactional: bool,
    /// `Some(commit)` for an end marker.
    pub(crate) marker: Option<bool>,
    pub(crate) values: Vec<String>,
    pub(crate) acknowledged: bool,
}

impl Staged {
    /// The bytes a producer sends (or a coordinator, for a marker).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (pid, epoch) = (ProducerId::new(self.pid), ProducerEpoch::new(0));
        if let Some(commit) = self.marker {
            let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
            let marker = EndMarker::new(kind, 0);
            let none = LeaderEpoch::NONE;
            return marker_batch(Offset::ZERO, none, pid, epoch, marker, TIME_MS).to_vec();
        }
        let mut builder = BatchBuilder::new();
        if self.pid >= 0 {
            builder = builder.producer(pid, epoch, Sequence::new(self.sequence));
        }
        if self.transactional {
            builder = builder.transactional();
        }
        for value in &self.values {
            builder.append(TIME_MS, None, Some(value.as_bytes()), &[]).unwrap();
        }
        builder.build().unwrap().to_vec()
    }
}

/// The time of every record: histories do not depend on it.
pub(crate) const TIME_MS: i64 = 1_700_000_000_000;

/// One log as it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) batches: Vec<Staged>,
    /// Acknowledged log start offset, and the largest one asked for.
    pub(crate) start: i64,
    pub(crate) start_asked: i64,
    /// The furthest a reader has seen.
    pub(crate) seen_end: i64,
}

impl Model {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.last + 1)
    }

    pub(crate) fn next_sequence(&self, pid: i64) -> i32 {
        let last = self.data_of(pid).last();
        last.map_or(0, |b| b.sequence + i32::try_from(b.values.len()).unwrap())
    }

    /// The data batches of a producer, oldest first.
    pub(crate) fn data_of(&self, pid: i64) -> impl DoubleEndedIterator<Item = &Staged> {
        self.batches.iter().filter(move |b| b.pid == pid && b.marker.is_none())
    }

    /// First offsets of open transactions.
    fn open(&self) -> BTreeMap<i64, i64> {
        let mut open = BTreeMap::new();
        for batch in &self.batches {
            if batch.marker.is_some() {
                open.remove(&batch.pid);
            } else if batch.transactional {
                open.entry(batch.pid).or_insert(batch.base);
            }
        }
        open
    }

    pub(crate) fn last_stable(&self, high_watermark: i64, log_start: i64) -> i64 {
        let first = self.open().into_values().min();
        first.map_or(high_watermark, |first| first.max(log_start).min(high_watermark))
    }

    /// What readers see at or after `from`, before `bound`.
    pub(crate) fn values(&self, from: i64, bound: i64, committed: bool) -> Vec<(i64, String)> {
        let mut out = Vec::new();
        if from >= bound {
            return out;
        }
        for (index, batch) in self.batches.iter().enumerate() {
            if batch.marker.is_some() || batch.last < from || batch.base >= bound {
                continue;
            }
            if committed && batch.transactional && !self.is_committed(index) {
                continue;
            }
            let offsets = batch.base..;
            out.extend(offsets.zip(batch.values.iter().cloned()));
        }
        out
    }

    fn is_committed(&self, index: usize) -> bool {
        let pid = self.batches[index].pid;
        let later = self.batches[index..].iter().find(|b| b.pid == pid && b.marker.is_some());
        later.is_some_and(|marker| marker.marker == Some(true))
    }

    /// Takes over what a recovery made of the log, if it may have.
    pub(crate) fn recover_to(&mut self, start: i64, end: i64) -> Result<(), String> {
        let kept = self.batches.iter().take_while(|b| b.last < end).count();
        let boundary = self.batches[..kept].last().map_or(0, |b| b.last + 1);
        if boundary != end && !(kept == 0 && end == start) {
            return Err(format!("the log ends at {end}, inside or beyond what was staged"));
        }
        if let Some(lost) = self.batches[kept..].iter().find(|b| b.acknowledged) {
            return Err(format!(
                "acknowledged offset {} is gone; the log ends at {end}",
                lost.base
            ));
        }
        if end < self.seen_end {
            return Err(format!("a reader saw up to {}, the log ends at {end}", self.seen_end));
        }
        if !(self.start..=self.start_asked.max(self.start)).contains(&start) {
            return Err(format!("the log starts at {start}, acknowledged was {}", self.start));
        }
        self.batches.truncate(kept);
        // What was kept is durable now: no later crash may take it.
        self.batches.iter_mut().for_each(|b| b.acknowledged = true);
        self.start = start;
        self.start_asked = start;
        Ok(())
    }
}
