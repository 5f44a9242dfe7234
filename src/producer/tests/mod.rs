//! The producer rules, scenario by scenario, and against a naive model.

mod model;
mod scenarios;
mod stored;
mod transactions;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::index::AbortedSum;
use crate::types::Origin;

const DAY_MS: i64 = 86_400_000;

fn limits() -> ProducerLimits {
    ProducerLimits::new(1000, DAY_MS)
}

/// A table behind a log that is only a counter: accepted batches get the next offsets.
struct Bench {
    table: ProducerTable,
    next_offset: i64,
    now_ms: i64,
    guard: Option<VerificationGuard>,
}

impl Bench {
    fn new() -> Self {
        Self::with(limits())
    }

    fn with(limits: ProducerLimits) -> Self {
        Self { table: ProducerTable::new(limits), next_offset: 0, now_ms: 1000, guard: None }
    }

    fn send(&mut self, batch: Batch) -> Result<Admission> {
        self.send_as(Origin::Client, batch)
    }

    fn send_as(&mut self, origin: Origin, batch: Batch) -> Result<Admission> {
        let facts = batch.at(self.next_offset, self.now_ms);
        let admission = self.table.admit(origin, &facts, self.guard)?;
        if admission == Admission::Accept {
            self.table.apply(&facts, self.now_ms);
            self.next_offset = facts.last_offset.next().get();
        }
        Ok(admission)
    }

    /// A marker of the coordinator, accepted.
    fn end(&mut self, batch: Batch) -> Option<CompletedTxn> {
        let facts = batch.at(self.next_offset, self.now_ms);
        let admission = self.table.admit(Origin::Coordinator, &facts, None).unwrap();
        assert_eq!(admission, Admission::Accept);
        self.next_offset += 1;
        self.table.apply(&facts, self.now_ms)
    }

    fn error(&mut self, batch: Batch) -> ErrorKind {
        let before = state::encode(&self.table, Offset::ZERO);
        let kind = self.send(batch).unwrap_err().kind().clone();
        assert_eq!(state::encode(&self.table, Offset::ZERO), before, "a refusal changes nothing");
        kind
    }

    fn described(&self, id: i64) -> Option<ProducerDescription> {
        self.table.describe().into_iter().find(|p| p.producer_id.get() == id)
    }

    fn restarted(&self) -> ProducerTable {
        let bytes = state::encode(&self.table, Offset::new(self.next_offset));
        let at = RestoreAt { now_ms: self.now_ms, log_start: Offset::ZERO };
        let (table, end, _) = ProducerTable::restore_state(self.table.limits, &bytes, at).unwrap();
        assert_eq!(end.get(), self.next_offset);
        table
    }
}

/// A batch without its place in the log.
#[derive(Clone, Copy)]
struct Batch {
    id: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
    transactional: bool,
    control: ControlKind,
}

fn data(id: i64, epoch: i16, sequence: i32) -> Batch {
    Batch { id, epoch, sequence, records: 1, transactional: false, control: ControlKind::None }
}

fn marker(id: i64, epoch: i16, commit: bool, coordinator_epoch: i32) -> Batch {
    let control = ControlKind::Marker { commit, coordinator_epoch, epoch_must_rise: false };
    Batch { control, ..data(id, epoch, -1).in_txn() }
}

impl Batch {
    fn in_txn(self) -> Self {
        Self { transactional: true, ..self }
    }

    fn records(self, records: i32) -> Self {
        Self { records, ..self }
    }

    fn at(self, offset: i64, timestamp_ms: i64) -> BatchFacts {
        let delta = self.records - 1;
        let base_sequence = Sequence::new(self.sequence);
        let last_sequence =
            if self.sequence < 0 { Sequence::NONE } else { base_sequence.advance(delta) };
        BatchFacts {
            base_offset: Offset::new(offset),
            last_offset: Offset::new(offset + i64::from(delta)),
            base_sequence,
            last_sequence,
            last_offset_delta: delta,
            producer_id: ProducerId::new(self.id),
            producer_epoch: ProducerEpoch::new(self.epoch),
            transactional: self.transactional,
            control: self.control,
            max_timestamp_ms: timestamp_ms,
        }
    }
}

fn duplicate(base: i64, last: i64, timestamp_ms: i64) -> Admission {
    Admission::Duplicate {
        base_offset: Offset::new(base),
        last_offset: Offset::new(last),
        timestamp_ms,
    }
}

fn out_of_order(expected: i32, found: i32) -> ErrorKind {
    ErrorKind::OutOfOrderSequence { expected: Sequence::new(expected), found: Sequence::new(found) }
}

fn fenced(current: i16, found: i16) -> ErrorKind {
    ErrorKind::InvalidProducerEpoch {
        current: ProducerEpoch::new(current),
        found: ProducerEpoch::new(found),
    }
}
