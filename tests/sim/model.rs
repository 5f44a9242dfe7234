//! The oracle: what a log must hold and answer, told by the history of operations alone.

use oncelog::batch::{BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A batch that was staged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) pid: i64,
    pub(crate) sequence: i32,
    pub(crate) transactional: bool,
    /// `Some(commit)` for an end marker.
    pub(crate) marker: Option<bool>,
    pub(crate) values: Arc<[String]>,
    /// What a producer sends (or a coordinator, for a marker).
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) acknowledged: bool,
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, last, pid, sequence, marker, acknowledged, .. } = self;
        write!(f, "[{base}..={last} of {pid} #{sequence} {marker:?} acked {acknowledged}]")
    }
}

impl Staged {
    /// A batch of `pid`: −1 is no producer, and those from [`FIRST_TRANSACTIONAL`] on write
    /// transactions.
    pub(crate) fn data(base: i64, pid: i64, sequence: i32, values: Vec<String>) -> Self {
        let transactional = pid >= FIRST_TRANSACTIONAL;
        let mut builder = BatchBuilder::new();
        if pid >= 0 {
            let (pid, epoch) = (ProducerId::new(pid), ProducerEpoch::new(0));
            builder = builder.producer(pid, epoch, Sequence::new(sequence));
        }
        if transactional {
            builder = builder.transactional();
        }
        for value in &values {
            builder.append(TIME_MS, None, Some(value.as_bytes()), &[]).unwrap();
        }
        Self {
            base,
            last: base + i64::try_from(values.len()).unwrap() - 1,
            pid,
            sequence,
            transactional,
            marker: None,
            values: values.into(),
            bytes: builder.build().unwrap().as_ref().into(),
            acknowledged: false,
        }
    }

    /// The marker that ends the transaction of `pid`.
    pub(crate) fn marker(base: i64, pid: i64, commit: bool) -> Self {
        let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
        let bytes = marker_batch(
            Offset::ZERO,
            LeaderEpoch::NONE,
            ProducerId::new(pid),
            ProducerEpoch::new(0),
            EndMarker::new(kind, 0),
            TIME_MS,
        );
        Self {
            base,
            last: base,
            pid,
            sequence: -1,
            transactional: true,
            marker: Some(commit),
            values: Arc::new([]),
            bytes: bytes.as_ref().into(),
            acknowledged: false,
        }
    }
}

/// Producers from this one on write transactions.
pub(crate) const FIRST_TRANSACTIONAL: i64 = 3;

/// The time of every record: histories do not depend on it.
pub(crate) const TIME_MS: i64 = 1_700_000_000_000;

/// One log as it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) batches: Vec<Staged>,
    /// Acknowledged log start offset, and the largest one asked for.
    pub(crate) start: i64,
    pub(crate) start_asked: i64,
    /// Where a truncation cuts that was asked for and not acknowledged.
    pub(crate) cut_asked: Option<i64>,
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

    /// First offsets of transactions that are open for readers up to `high_watermark`: not ended,
    /// or ended by a marker that such a reader does not see yet.
    fn open(&self, high_watermark: i64) -> BTreeMap<i64, i64> {
        let mut open = BTreeMap::new();
        for batch in &self.batches {
            if batch.marker.is_none() && batch.transactional {
                open.entry(batch.pid).or_insert(batch.base);
            } else if batch.marker.is_some() && batch.base < high_watermark {
                open.remove(&batch.pid);
            }
        }
        open
    }

    pub(crate) fn last_stable(&self, high_watermark: i64, log_start: i64) -> i64 {
        let first = self.open(high_watermark).into_values().min();
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

    /// A truncation to `offset` was acknowledged: every batch that reaches it is gone.
    pub(crate) fn truncated(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.last < offset);
        self.seen_end = self.seen_end.min(self.end());
        self.cut_asked = None;
    }

    /// Takes over what a recovery made of the log, if it may have.
    pub(crate) fn recover_to(&mut self, start: i64, end: i64) -> Result<(), String> {
        let kept = self.batches.iter().take_while(|b| b.last < end).count();
        let boundary = self.batches[..kept].last().map_or(0, |b| b.last + 1);
        if boundary != end && !(kept == 0 && end == start) {
            return Err(format!("the log ends at {end}, inside or beyond what was staged"));
        }
        let cut = self.cut_asked.unwrap_or(i64::MAX);
        let may_go = |batch: &Staged| !batch.acknowledged || batch.last >= cut;
        if let Some(lost) = self.batches[kept..].iter().find(|b| !may_go(b)) {
            return Err(format!("acknowledged {lost:?} is gone; the log ends at {end}"));
        }
        let cut_end = self.batches.iter().take_while(|b| b.last < cut).last();
        let seen_end = self.seen_end.min(cut_end.map_or(0, |b| b.last + 1));
        if end < seen_end {
            return Err(format!("a reader saw up to {seen_end}, the log ends at {end}"));
        }
        if !(self.start..=self.start_asked.max(self.start)).contains(&start) {
            return Err(format!("the log starts at {start}, acknowledged was {}", self.start));
        }
        self.batches.truncate(kept);
        // What was kept is durable now: no later crash may take it.
        self.batches.iter_mut().for_each(|b| b.acknowledged = true);
        self.start = start;
        self.start_asked = start;
        self.cut_asked = None;
        self.seen_end = end;
        Ok(())
    }
}
