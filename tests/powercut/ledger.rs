//! What the child was told, and whether a log that was opened again agrees.

use crate::child::Unfinished;
use crate::work::{self, FIRST_IDEMPOTENT, FIRST_TRANSACTIONAL, LOGS};
use oncelog::batch::DecodeLimits;
use oncelog::{Engine, Isolation, Log, Offset};
use std::collections::{BTreeMap, BTreeSet};

/// Everything from the magic on is the producer's; what lies before is the log's to set.
const OWN_BYTES: usize = 16;

/// Producer and number of a batch.
type Batch = (i64, u64);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    reported: u64,
    /// Where each acknowledged batch is.
    acknowledged: [BTreeMap<Batch, i64>; LOGS],
    /// Transactions whose end is acknowledged.
    ended: BTreeSet<Batch>,
    /// Batches that a reader was given: base offset to next offset and checksum.
    read: [BTreeMap<i64, (i64, u32)>; LOGS],
    newest_transactional: Option<i64>,
}

/// One log as it was found.
#[derive(Debug, Default)]
struct Found {
    /// Base offset to next offset, checksum and batch.
    at: BTreeMap<i64, (i64, u32, Batch)>,
    committed: BTreeSet<Batch>,
}

impl Ledger {
    /// Acknowledgements so far.
    pub(crate) fn reported(&self) -> u64 {
        self.reported
    }

    /// Takes one line of the child; lines of the test harness around it are none of ours.
    pub(crate) fn report(&mut self, line: &str) -> Result<(), String> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Option<Vec<i64>> = rest.split(' ').map(|word| word.parse().ok()).collect();
        match (kind, numbers.as_deref()) {
            ("A", Some(&[pid, number, log, base])) => {
                let batch = (pid, u64::try_from(number).unwrap());
                self.acknowledged[usize::try_from(log).unwrap()].insert(batch, base);
                self.reported += 1;
                if pid >= FIRST_TRANSACTIONAL {
                    self.newest_transactional = Some(pid);
                }
            }
            ("E", Some(&[pid, number])) => {
                self.ended.insert((pid, u64::try_from(number).unwrap()));
                self.reported += 1;
            }
            ("R", Some(&[log, base, next, checksum])) => {
                let seen = (next, u32::try_from(checksum).unwrap());
                self.read[usize::try_from(log).unwrap()].insert(base, seen);
            }
            ("X", _) => return Err(format!("the child: {rest}")),
            _ => {}
        }
        Ok(())
    }

    /// Where the next life of the child goes on.
    pub(crate) fn unfinished(&self) -> Unfinished {
        let mut next = [0; LOGS];
        for (log, next) in next.iter_mut().enumerate() {
            let pid = FIRST_IDEMPOTENT + i64::try_from(log).unwrap();
            let range = self.acknowledged[log].range((pid, 0)..(pid + 1, 0));
            *next = range.last().map_or(0, |((_, number), _)| number + 1);
        }
        Unfinished { next, transactional: self.newest_transactional }
    }

    /// Holds every log to what was reported; what was checked, in words.
    pub(crate) fn judge(&mut self, engine: &Engine) -> Result<String, String> {
        if let Some(report) = engine.recovery_reports().iter().find(|r| !r.damaged.is_empty()) {
            return Err(format!("damage where there is none: {report:?}"));
        }
        let mut found = Vec::new();
        for log in 0..LOGS {
            let told = &self.acknowledged[log];
            match engine.log(&work::name(log)) {
                Err(_) if told.is_empty() => found.push(Found::default()),
                Err(e) => return Err(format!("log {log}: {e:?}")),
                Ok(handle) => found.push(Found::read(&handle, log)?),
            }
        }
        for (log, found) in found.iter().enumerate() {
            self.judge_log(log, found).map_err(|what| format!("log {log}: {what}"))?;
        }
        self.judge_transactions(&found)?;
        let stored: usize = found.iter().map(|found| found.at.len()).sum();
        let told: usize = self.acknowledged.iter().map(BTreeMap::len).sum();
        let read: usize = self.read.iter().map(BTreeMap::len).sum();
        Ok(format!("{stored} batches, {told} acknowledged, {read} read before"))
    }

    fn judge_log(&self, log: usize, found: &Found) -> Result<(), String> {
        for (batch, base) in &self.acknowledged[log] {
            match found.at.get(base) {
                Some((_, _, stored)) if stored == batch => {}
                other => return Err(format!("{batch:?} was acknowledged at {base}: {other:?}")),
            }
        }
        for (base, (next, checksum)) in &self.read[log] {
            match found.at.get(base) {
                Some((n, c, _)) if (n, c) == (next, checksum) => {}
                other => return Err(format!("a reader saw {base}..{next}, now {other:?}")),
            }
        }
        // Nothing twice, and of each producer everything up to the last one that is there.
        let mut next: BTreeMap<i64, u64> = BTreeMap::new();
        for (base, (_, _, (pid, number))) in &found.at {
            let expected = next.entry(*pid).or_default();
            if number != expected {
                return Err(format!("at {base} is {pid}/{number}, expected {pid}/{expected}"));
            }
            *expected += 1;
        }
        Ok(())
    }

    /// An acknowledged commit shows in both logs, an acknowledged abort in none.
    fn judge_transactions(&self, found: &[Found]) -> Result<(), String> {
        let mut written: BTreeMap<i64, [u64; LOGS]> = BTreeMap::new();
        for (pid, number) in &self.ended {
            let (logs, commit) = work::transaction(*number);
            let written = written.entry(*pid).or_default();
            for log in logs {
                let shows = found[log].committed.contains(&(*pid, written[log]));
                if shows != commit {
                    return Err(format!("transaction {pid}/{number}, log {log}: shows {shows}"));
                }
                written[log] += 1;
            }
        }
        Ok(())
    }
}

impl Found {
    fn read(log: &Log, index: usize) -> Result<Self, String> {
        let mut found = Self::default();
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            for stored in log.batches(Offset::ZERO, isolation) {
                let stored = stored.map_err(|e| format!("log {index}: {e:?}"))?;
                let batch = stored.batch();
                let records = batch.records(&DecodeLimits::default());
                let records = records.map_err(|e| format!("{e:?}"))?;
                let first = records.iter().next().ok_or("an empty batch")?;
                let first = first.map_err(|e| format!("{e:?}"))?;
                let id = work::parse(first.value().unwrap_or_default());
                let id = id.ok_or("a record nobody wrote")?;
                if isolation == Isolation::ReadCommitted {
                    found.committed.insert(id);
                    continue;
                }
                if batch.as_bytes()[OWN_BYTES..] != work::batch(id.0, id.1)[OWN_BYTES..] {
                    return Err(format!("log {index}: {id:?} has other bytes"));
                }
                let checksum = work::checksum(batch.as_bytes());
                let entry = (batch.next_offset().get(), checksum, id);
                found.at.insert(batch.base_offset().get(), entry);
            }
        }
        Ok(found)
    }
}
