//! What every transaction of a history did, how it may have ended, and whether what an engine shows
//! agrees with that.

use std::collections::{BTreeMap, BTreeSet};

/// How a transaction ended, as far as the history knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Open, or ended by nothing but a crash: nobody may see it.
    Aborted,
    /// Commit was called and not answered: all or nothing.
    Unknown,
    /// Answered, or seen: it stays.
    Committed,
}

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Txn {
    pub(crate) fate: Fate,
    /// When commit was called, among all commits.
    pub(crate) order: u64,
    /// Log, offset and value of each record.
    pub(crate) records: Vec<(usize, i64, String)>,
    /// The position stored under each key; no two transactions store the same.
    pub(crate) positions: BTreeMap<Key, i64>,
}

/// Group and log of a position.
pub(crate) type Key = (usize, usize);

impl Default for Txn {
    fn default() -> Self {
        Self { fate: Fate::Aborted, order: 0, records: Vec::new(), positions: BTreeMap::new() }
    }
}

/// What an engine shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// What read-committed readers see of each log.
    pub(crate) values: Vec<BTreeSet<String>>,
    /// Where each log begins, and how far such readers see.
    pub(crate) starts: Vec<i64>,
    pub(crate) stable: Vec<i64>,
    pub(crate) positions: BTreeMap<Key, i64>,
    /// It was opened just now: nothing is under way.
    pub(crate) settled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) txns: Vec<Txn>,
    /// Log, offset and value of records outside of transactions that were acknowledged.
    pub(crate) plain: Vec<(usize, i64, String)>,
    orders: u64,
}

impl Oracle {
    /// Commit is being called.
    pub(crate) fn commit(&mut self, txn: usize) {
        self.orders += 1;
        self.txns[txn].order = self.orders;
        self.txns[txn].fate = Fate::Unknown;
    }

    /// Transactions that may have ended either way.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = usize> {
        let indexed = self.txns.iter().enumerate();
        indexed.filter(|(_, txn)| txn.fate == Fate::Unknown).map(|(index, _)| index)
    }

    /// Holds what is shown against what is known, and learns from it what was unknown.
    pub(crate) fn judge(&mut self, shown: &Shown) -> Result<(), String> {
        for (log, offset, value) in &self.plain {
            // Behind an open transaction it is there and not seen.
            let bounds = shown.starts[*log]..shown.stable[*log];
            if bounds.contains(offset) && !shown.values[*log].contains(value) {
                return Err(format!("acknowledged record {value} of log {log} is gone"));
            }
        }
        for (index, txn) in self.txns.iter_mut().enumerate() {
            let seen = txn.seen(shown);
            if seen.anything && txn.fate == Fate::Unknown {
                txn.fate = Fate::Committed;
            }
            let fate = txn.fate;
            let wrong = match fate {
                Fate::Aborted => seen.anything,
                // While it is under way its logs need not show it at the same moment.
                Fate::Committed => seen.missing && (shown.settled || !seen.under_way),
                Fate::Unknown => false,
            };
            if wrong {
                return Err(format!("transaction {index} shows {seen:?}: {txn:?}\n  {shown:?}"));
            }
            if shown.settled && txn.fate == Fate::Unknown {
                txn.fate = Fate::Aborted;
            }
        }
        self.judge_positions(shown)
    }

    /// The latest committed transaction that stored a position is the one whose position is shown.
    fn judge_positions(&mut self, shown: &Shown) -> Result<(), String> {
        let keys: BTreeSet<Key> =
            self.txns.iter().flat_map(|txn| txn.positions.keys().copied()).collect();
        for key in keys {
            let latest = self
                .txns
                .iter()
                .filter(|txn| txn.fate == Fate::Committed && txn.positions.contains_key(&key))
                .max_by_key(|txn| txn.order);
            let expected = latest.map(|txn| txn.positions[&key]);
            let found = shown.positions.get(&key).copied();
            if found != expected {
                return Err(format!("position {key:?} is {found:?}, not {expected:?}"));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Seen {
    /// A record or position of it is shown.
    anything: bool,
    /// A record that would have to be there is not.
    missing: bool,
    /// It may still be on its way.
    under_way: bool,
}

impl Txn {
    fn seen(&self, shown: &Shown) -> Seen {
        let mut seen =
            Seen { anything: false, missing: false, under_way: self.fate == Fate::Unknown };
        for (log, offset, value) in &self.records {
            // Behind an open transaction it is there and not seen.
            if (shown.starts[*log]..shown.stable[*log]).contains(offset) {
                let there = shown.values[*log].contains(value);
                seen.anything |= there;
                seen.missing |= !there;
            }
        }
        let stored = self.positions.iter();
        seen.anything |= { stored }.any(|(key, next)| shown.positions.get(key) == Some(next));
        seen
    }
}
