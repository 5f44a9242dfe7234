//! The transaction log read back, and every transaction that a crash interrupted brought to its end.
//!
//! ```text
//! read the transaction log          decisions, verdicts, positions
//! decision without a verdict        committed if every log named holds its data, else aborted
//! write these verdicts, flush       before any append: new records must not pass for lost ones
//! open transaction in a log         the decision that names its producer and first offset says how
//!                                   it ends; what none names is aborted
//! stage the markers, flush
//! ```
//!
//! A slot's producer id is used again, so a decision that has its markers may meet a later
//! transaction of the same producer. They are told apart by where it began.
//!
//! A log that is gone, or another one under the same name, counts as holding its data: it was removed
//! after the transaction had ended ([`Coordinator::settle`] comes first), or by somebody else. So does
//! one that was trimmed. A crash in the middle of all this leaves what leads here again.
//!
//! [`Coordinator::settle`]: super::coordinator::Coordinator::settle

use super::positions::Positions;
use super::record::{Decision, Participant, Record, Verdict};
use crate::batch::{BatchBuilder, DecodeLimits, MarkerKind};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Isolation, Log};
use crate::options::LogName;
use crate::planted::Planted;
use crate::producer::OpenTxn;
use crate::producer::reserved::Owner;
use crate::types::{Offset, ProducerId};
use std::collections::BTreeMap;

/// Finds a log of the engine by name, loading it if need be.
pub(crate) type FindLog<'a> = &'a dyn Fn(&LogName) -> Result<Option<Log>>;

/// What the coordinator goes on with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) next_number: i64,
    pub(super) positions: Positions,
}

/// What the records say.
#[derive(Debug, Default)]
struct Replayed {
    next_number: i64,
    positions: Positions,
    decisions: BTreeMap<i64, Replay>,
}

#[derive(Debug)]
struct Replay {
    decision: Decision,
    committed: Option<bool>,
}

/// # Errors
/// [`ErrorKind::Corrupt`] if the transaction log is damaged: then nothing was decided and nothing
/// changed. [`ErrorKind::NewerFormat`], [`ErrorKind::Io`], [`ErrorKind::Poisoned`].
pub(super) fn recover(
    log: &Log,
    loaded: &[Log],
    find: FindLog<'_>,
    owner: Owner,
    planted: Planted,
) -> Result<Recovered> {
    let mut replayed = replay(log)?;
    let verdicts = replayed.judge(find, planted)?;
    if !verdicts.is_empty() && !planted.txn_forget_verdicts {
        let mut batch = BatchBuilder::new();
        batch.append(log.now_ms(), None, Some(&Record::Verdicts(verdicts).encode()), &[])?;
        let appended = log.stage_record(&batch.build()?)?;
        log.durable(appended.last_offset.next()).wait()?;
    }
    end_all(loaded, |id| owner.owns(id), |log, open| replayed.is_committed(log, open, planted))?;
    Ok(replayed.finish())
}

/// Aborts every open transaction of producers that are ours; durable when this returns.
pub(super) fn abort_all(logs: &[Log], is_ours: impl Fn(ProducerId) -> bool) -> Result<()> {
    end_all(logs, is_ours, |_, _| false)
}

fn end_all(
    logs: &[Log],
    is_ours: impl Fn(ProducerId) -> bool,
    is_committed: impl Fn(&Log, &OpenTxn) -> bool,
) -> Result<()> {
    let mut markers = Vec::new();
    for log in logs {
        for open in log.open_transactions_of(&is_ours) {
            let commit = is_committed(log, &open);
            let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
            markers.push((log, log.stage_marker(open.producer_id, kind)?.last_offset.next()));
        }
    }
    // All are staged before the first is waited for: one round for all of them.
    markers.into_iter().try_for_each(|(log, end)| log.durable(end).wait())
}

/// Reads every record of the transaction log.
fn replay(log: &Log) -> Result<Replayed> {
    let mut replayed = Replayed::default();
    let start = log.offsets().log_start_offset;
    for stored in log.batches(start, Isolation::ReadUncommitted) {
        let stored = stored?;
        let batch = stored.batch();
        for record in &batch.records(&DecodeLimits::default())? {
            let record = record?;
            let value = record.value().unwrap_or_default();
            let decoded = Record::decode(value).map_err(|error| match error.kind() {
                ErrorKind::NewerFormat => {
                    let context = format!("record {} of {}", record.offset(), log.name());
                    Error::with_source(ErrorKind::NewerFormat, context, error)
                }
                _ => {
                    let (first, next) = (record.offset(), record.offset().next());
                    let context = format!("record {first} of {} cannot be read", log.name());
                    Error::with_source(ErrorKind::Corrupt { first, next }, context, error)
                }
            })?;
            replayed.apply(decoded);
        }
    }
    Ok(replayed)
}

impl Replayed {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Decision(decision) => {
                self.see(decision.number);
                for number in &decision.committed {
                    self.settle(*number, true);
                }
                // A restated one is there already, with its verdict.
                let replay = |decision| Replay { decision, committed: None };
                self.decisions.entry(decision.number).or_insert_with(|| replay(decision));
            }
            Record::Verdicts(verdicts) => {
                for verdict in verdicts {
                    self.settle(verdict.number, verdict.committed);
                }
            }
            Record::Positions(positions) => {
                for numbered in positions {
                    self.see(numbered.number);
                    self.positions.store(numbered.number, &numbered.position);
                }
            }
        }
    }

    fn see(&mut self, number: i64) {
        self.next_number = self.next_number.max(number + 1);
    }

    fn settle(&mut self, number: i64, committed: bool) {
        self.see(number);
        if let Some(replay) = self.decisions.get_mut(&number) {
            replay.committed = Some(committed);
        }
    }

    /// Decides what is undecided.
    fn judge(&mut self, find: FindLog<'_>, planted: Planted) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for (number, replay) in &mut self.decisions {
            if replay.committed.is_some() {
                continue;
            }
            let mut committed = true;
            for participant in &replay.decision.logs {
                committed &= planted.txn_trust_decision || holds(participant, find)?;
            }
            replay.committed = Some(committed);
            verdicts.push(Verdict { number: *number, committed });
        }
        Ok(verdicts)
    }

    fn is_committed(&self, log: &Log, open: &OpenTxn, planted: Planted) -> bool {
        let names = |participant: &Participant| {
            participant.log == *log.name()
                && participant.id == log.id()
                && ((participant.first..=participant.last).contains(&open.first_offset)
                    || planted.txn_ignore_first_offset)
        };
        self.decisions.values().any(|replay| {
            replay.committed == Some(true)
                && replay.decision.producer == open.producer_id
                && replay.decision.logs.iter().any(names)
        })
    }

    /// The positions of all that is committed, in the order of the decisions.
    fn finish(mut self) -> Recovered {
        for (number, replay) in &self.decisions {
            if replay.committed == Some(true) {
                for position in &replay.decision.positions {
                    self.positions.store(*number, position);
                }
            }
        }
        Recovered { next_number: self.next_number, positions: self.positions }
    }
}

/// Whether a log holds its part, or cannot any more.
fn holds(participant: &Participant, find: FindLog<'_>) -> Result<bool> {
    let Some(log) = find(&participant.log)? else { return Ok(true) };
    let end: Offset = log.offsets().log_end_offset;
    Ok(log.id() != participant.id || end > participant.last)
}
