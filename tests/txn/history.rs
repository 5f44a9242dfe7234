//! One seeded history: transactions over several logs, faults, power cuts and kills at any moment.

use crate::common::{batch, load, name, read};
use crate::oracle::{Fate, Oracle, Shown, Txn};
use crate::rng::Rng;
use oncelog::io::sim::{Crash, Fault, FaultKind, SimDisk};
use oncelog::planted::Planted;
use oncelog::{
    AppendOptions, CommitTicket, Engine, EngineOptions, Error, ErrorKind, Isolation, Log,
    LogConfig, Offset, Transaction,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const LOGS: usize = 3;
const GROUPS: usize = 2;

/// What a history is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) planted: Planted,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, steps: 60, planted: Planted::default() }
    }
}

/// What a history went through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) crashes: u64,
    pub(crate) committed: u64,
    /// Commits that a crash overtook, by how they turned out.
    pub(crate) overtaken: [u64; 2],
}

type Verdict = Result<(), String>;

pub(crate) struct History {
    rng: Rng,
    disk: Arc<SimDisk>,
    options: EngineOptions,
    engine: Engine,
    logs: Vec<Log>,
    oracle: Oracle,
    open: Vec<(usize, Transaction)>,
    tickets: Vec<(usize, CommitTicket)>,
    next_value: i64,
    /// An I/O error was planned in this life of the engine.
    faulty: bool,
    outcome: Outcome,
}

impl History {
    pub(crate) fn run(plan: &Plan) -> Result<Outcome, String> {
        let mut rng = Rng::new(plan.seed);
        let disk = SimDisk::new(plan.seed);
        let options = options(plan, rng.percent(50));
        let engine = Engine::open_with(options.clone(), disk.io()).map_err(|e| format!("{e:?}"))?;
        let create = |index| engine.create_log(&name(index), [7; 16], options.log.clone());
        let logs = (0..LOGS).map(create).collect::<Result<_, _>>();
        let mut history = Self {
            rng,
            disk,
            options: options.clone(),
            logs: logs.map_err(|e| format!("create: {e:?}"))?,
            engine,
            oracle: Oracle::default(),
            open: Vec::new(),
            tickets: Vec::new(),
            next_value: 0,
            faulty: false,
            outcome: Outcome::default(),
        };
        for _ in 0..plan.steps {
            history.step()?;
        }
        history.crash()?;
        history.outcome.trace = history.disk.trace_hash();
        Ok(history.outcome)
    }

    fn step(&mut self) -> Verdict {
        match self.rng.below(100) {
            0..12 => self.begin(),
            12..40 => self.append(),
            40..50 => self.store_position(),
            50..70 => self.commit(),
            70..75 => self.abort(),
            75..83 => self.append_plain(),
            83..86 => self.answer_all(),
            86..90 => self.check(false),
            90 => {
                self.logs[self.rng.below(LOGS)].roll();
                Ok(())
            }
            91 => {
                self.engine.tick();
                Ok(())
            }
            92 => self.trim(),
            93 => self.reopen(),
            94..96 => self.fail_soon(),
            _ => self.crash_soon(),
        }
    }

    fn begin(&mut self) -> Verdict {
        if self.open.len() == 4 {
            return Ok(());
        }
        match self.engine.begin() {
            Ok(txn) => {
                self.oracle.txns.push(Txn::default());
                self.open.push((self.oracle.txns.len() - 1, txn));
                Ok(())
            }
            Err(error) => self.after_error(&error),
        }
    }

    fn append(&mut self) -> Verdict {
        if self.open.is_empty() {
            return self.begin();
        }
        let (at, log) = (self.rng.below(self.open.len()), self.rng.below(LOGS));
        let value = self.value();
        let (index, txn) = &mut self.open[at];
        match txn.append(&self.logs[log], batch(&[&value])) {
            Ok(appended) => {
                let record = (log, appended.base_offset.get(), value);
                self.oracle.txns[*index].records.push(record);
                Ok(())
            }
            Err(error) => self.after_error(&error),
        }
    }

    fn store_position(&mut self) -> Verdict {
        if self.open.is_empty() {
            return self.begin();
        }
        let at = self.rng.below(self.open.len());
        let key = (self.rng.below(GROUPS), self.rng.below(LOGS));
        self.next_value += 1;
        let next = self.next_value;
        let (index, txn) = &mut self.open[at];
        match txn.store_position(&group(key.0), &self.logs[key.1], Offset::new(next)) {
            Ok(()) => {
                self.oracle.txns[*index].positions.insert(key, next);
                Ok(())
            }
            Err(error) => self.after_error(&error),
        }
    }

    fn commit(&mut self) -> Verdict {
        if self.open.is_empty() {
            return self.begin();
        }
        let (index, txn) = self.open.swap_remove(self.rng.below(self.open.len()));
        self.oracle.commit(index);
        let ticket = match txn.commit() {
            Ok(ticket) => ticket,
            Err(error) => {
                self.oracle.txns[index].fate = Fate::Aborted;
                return self.after_error(&error);
            }
        };
        match self.rng.below(10) {
            0..6 => self.answer(index, ticket),
            6..8 => {
                self.tickets.push((index, ticket));
                Ok(())
            }
            8 => {
                drop(ticket);
                Ok(())
            }
            _ => {
                self.tickets.push((index, ticket));
                self.check(false)
            }
        }
    }

    fn answer(&mut self, index: usize, ticket: CommitTicket) -> Verdict {
        match ticket.wait() {
            Ok(()) => {
                self.oracle.txns[index].fate = Fate::Committed;
                self.outcome.committed += 1;
                Ok(())
            }
            Err(error) => self.after_error(&error),
        }
    }

    fn answer_all(&mut self) -> Verdict {
        while let Some((index, ticket)) = self.tickets.pop() {
            let lives = self.outcome.crashes;
            self.answer(index, ticket)?;
            if self.outcome.crashes > lives {
                break;
            }
        }
        Ok(())
    }

    fn abort(&mut self) -> Verdict {
        if !self.open.is_empty() {
            let (_, txn) = self.open.swap_remove(self.rng.below(self.open.len()));
            if self.rng.percent(50) {
                txn.abort();
            } else {
                drop(txn);
            }
        }
        Ok(())
    }

    fn append_plain(&mut self) -> Verdict {
        let log = self.rng.below(LOGS);
        let value = self.value();
        let bytes = batch(&[&value]).build().unwrap();
        let ticket = match self.logs[log].append(&bytes, &AppendOptions::default()) {
            Ok(ticket) => ticket,
            Err(error) => return self.after_error(&error),
        };
        let offset = ticket.appended().base_offset.get();
        if self.rng.percent(50) {
            return match ticket.wait() {
                Ok(_) => {
                    self.oracle.plain.push((log, offset, value));
                    Ok(())
                }
                Err(error) => self.after_error(&error),
            };
        }
        Ok(())
    }

    fn trim(&mut self) -> Verdict {
        let log = &self.logs[self.rng.below(LOGS)];
        let offsets = log.offsets();
        let span = offsets.high_watermark.get() - offsets.log_start_offset.get();
        let keep = i64::try_from(self.rng.below(usize::try_from(span).unwrap() + 1)).unwrap();
        let target = Offset::new(offsets.high_watermark.get() - keep);
        match log.trim_before(target) {
            Ok(_) => Ok(()),
            Err(error) => self.after_error(&error),
        }
    }

    fn reopen(&mut self) -> Verdict {
        if let Err(error) = self.engine.close() {
            return self.after_error(&error);
        }
        // The close has finished every commit.
        for txn in &mut self.oracle.txns {
            if txn.fate == Fate::Unknown {
                txn.fate = Fate::Committed;
            }
        }
        self.open_and_judge()
    }

    fn fail_soon(&mut self) -> Verdict {
        let kind = [FaultKind::Flush, FaultKind::Write][self.rng.below(2)];
        let place = ["", "t-0", "t-1", "t-2", "__oncelog"][self.rng.below(5)];
        self.faulty = true;
        self.disk.fail(Fault::new(kind, self.rng.next() % 4).on(place));
        Ok(())
    }

    fn crash_soon(&mut self) -> Verdict {
        self.disk.crash_after(self.disk.operations() + 1 + self.rng.next() % 12);
        Ok(())
    }

    fn after_error(&mut self, error: &Error) -> Verdict {
        match error.kind() {
            ErrorKind::Poisoned | ErrorKind::Io | ErrorKind::Closed => self.crash(),
            ErrorKind::TransactionAborted
            | ErrorKind::TransactionUnseen
            | ErrorKind::TransactionInDoubt => self.crash(),
            _ => Err(format!("unexpected: {error:?}")),
        }
    }

    /// Ends this life of the engine: a kill, or a power cut of some kind.
    fn crash(&mut self) -> Verdict {
        self.outcome.crashes += 1;
        self.disk = match self.rng.below(6) {
            // After a failed flush what the system shows is not what the device has.
            0 if self.disk.is_powered() && !self.faulty => self.disk.kill(),
            1 => self.disk.crash(&Crash::LoseAll),
            2 => self.disk.crash(&Crash::KeepAll),
            _ => self.disk.crash(&Crash::Random { seed: self.rng.next(), garbage: false }),
        };
        self.open_and_judge()
    }

    /// Opens the engine, through further crashes if the seed says so.
    fn open_and_judge(&mut self) -> Verdict {
        self.open.clear();
        self.tickets.clear();
        self.disk.heal();
        self.faulty = false;
        for _ in 0..3 {
            if !self.rng.percent(30) {
                break;
            }
            self.disk.crash_after(self.disk.operations() + 1 + self.rng.next() % 30);
            if Engine::open_with(self.options.clone(), self.disk.io()).is_ok() {
                break;
            }
            self.outcome.crashes += 1;
            let crash = Crash::Random { seed: self.rng.next(), garbage: false };
            self.disk = self.disk.crash(&crash);
        }
        self.disk = match self.disk.is_powered() {
            // Whatever the last attempt left open is over: its lock, its planned crash.
            true => self.disk.kill(),
            false => self.disk.crash(&Crash::KeepAll),
        };
        self.engine = Engine::open_with(self.options.clone(), self.disk.io())
            .map_err(|e| format!("open: {e:?}"))?;
        self.logs = load(&self.engine, LOGS);
        let overtaken: Vec<usize> = self.oracle.unknown().collect();
        self.check(true)?;
        for index in overtaken {
            let committed = self.oracle.txns[index].fate == Fate::Committed;
            self.outcome.overtaken[usize::from(committed)] += 1;
        }
        for log in &self.logs {
            let offsets = log.offsets();
            if offsets.last_stable_offset != offsets.high_watermark {
                return Err(format!("{log:?} is held back: {offsets:?}"));
            }
        }
        Ok(())
    }

    fn check(&mut self, settled: bool) -> Verdict {
        if !self.disk.is_powered() {
            return self.crash();
        }
        let mut shown = Shown { settled, ..Shown::default() };
        for log in &self.logs {
            let values: BTreeSet<String> =
                read(log, Isolation::ReadCommitted).into_iter().collect();
            shown.values.push(values);
            let offsets = log.offsets();
            shown.starts.push(offsets.log_start_offset.get());
            shown.stable.push(offsets.last_stable_offset.get());
        }
        for group_index in 0..GROUPS {
            for (index, log) in self.logs.iter().enumerate() {
                let position = self.engine.position(&group(group_index), log);
                match position {
                    Ok(Some(next)) => {
                        shown.positions.insert((group_index, index), next.get());
                    }
                    Ok(None) => {}
                    Err(error) => return self.after_error(&error),
                }
            }
        }
        self.oracle.judge(&shown)
    }

    fn value(&mut self) -> String {
        self.next_value += 1;
        format!("{}{}", self.next_value, "x".repeat(self.rng.below(500)))
    }
}

fn group(index: usize) -> String {
    format!("group-{index}")
}

fn options(plan: &Plan, two_directories: bool) -> EngineOptions {
    let mut options = EngineOptions::new("/d");
    if two_directories {
        options.directories.push("/e".into());
    }
    options.background = false;
    options.reserve_bytes = 0;
    options.planted = plan.planted;
    // The transaction log is restated every few commits.
    options.checkpoint_bytes = 4_000;
    let mut log = LogConfig::default();
    log.segment_bytes = 12 << 10;
    log.index_interval_bytes = 600;
    log.retention_ms = -1;
    options.log = log;
    options
}
