//! One seeded history: operations, faults, crashes, and the oracle's verdict after each recovery.

use crate::judge;
use crate::model::{Model, Staged};
use crate::rng::Rng;
use oncelog::io::sim::{Crash, Fault, FaultKind, SimDisk};
use oncelog::planted::Planted;
use oncelog::{
    AppendOptions, AppendTicket, Engine, EngineOptions, ErrorKind, Log, LogConfig, LogName, Offset,
    Origin,
};
use std::sync::Arc;
use std::time::Duration;

const LOGS: usize = 2;
const ID: [u8; 16] = [9; 16];

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
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) trace: u64,
    pub(crate) crashes: u64,
    pub(crate) cut_tails: u64,
}

type Verdict = Result<(), String>;

pub(crate) struct History {
    rng: Rng,
    disk: Arc<SimDisk>,
    engine: Engine,
    logs: Vec<Log>,
    models: Vec<Model>,
    /// Appends whose acknowledgement nobody has waited for yet.
    pending: Vec<(usize, usize, AppendTicket)>,
    planted: Planted,
    next_value: u64,
    /// An I/O error was planned in this life of the engine.
    faulty: bool,
    seen: Seen,
}

fn options(planted: Planted) -> EngineOptions {
    let mut options = EngineOptions::new("/d");
    options.background = false;
    options.planted = planted;
    options.checkpoint_bytes = 20_000;
    options.reserve_bytes = 0;
    options
}

fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.segment_bytes = 12 << 10;
    config.index_interval_bytes = 600;
    config.retention_ms = -1;
    config
}

fn name(index: usize) -> LogName {
    LogName::new("sim", i32::try_from(index).unwrap()).unwrap()
}

impl History {
    pub(crate) fn run(plan: &Plan) -> Result<Seen, String> {
        let disk = SimDisk::new(plan.seed);
        let engine = open(&disk, plan.planted)?;
        let mut logs = Vec::new();
        for index in 0..LOGS {
            let log = engine.create_log(&name(index), ID, config());
            logs.push(log.map_err(|e| format!("create: {e:?}"))?);
        }
        let mut history = Self {
            rng: Rng::new(plan.seed),
            disk,
            engine,
            logs,
            models: vec![Model::default(); LOGS],
            pending: Vec::new(),
            planted: plan.planted,
            next_value: 0,
            faulty: false,
            seen: Seen::default(),
        };
        for _ in 0..plan.steps {
            history.step()?;
        }
        history.crash()?;
        history.seen.trace = history.disk.trace_hash();
        Ok(history.seen)
    }

    fn step(&mut self) -> Verdict {
        let log = self.rng.below(LOGS);
        let op = self.rng.below(100);
        match op {
            0..55 => self.append(log),
            55..68 => self.end_transaction(log),
            68..78 => self.retry(log),
            78..84 => self.acknowledge_all(),
            84..88 => self.check_reads(log),
            88 => {
                self.logs[log].roll();
                Ok(())
            }
            89..91 => {
                self.engine.tick();
                Ok(())
            }
            91 => self.trim(log),
            92 => self.reopen(),
            93..95 => self.fail_a_flush(),
            _ => self.crash_soon(),
        }
    }

    fn append(&mut self, log: usize) -> Verdict {
        // −1 is no producer; 1 and 2 are idempotent; 3 and 4 write transactions.
        let pid = [-1, 1, 2, 3, 4][self.rng.below(5)];
        let count = 1 + self.rng.below(3);
        let mut values = Vec::new();
        for _ in 0..count {
            let padding = self.rng.below(700);
            values.push(format!("{}{}", self.next_value, "x".repeat(padding)));
            self.next_value += 1;
        }
        let model = &self.models[log];
        let base = model.end();
        let sequence = if pid < 0 { -1 } else { model.next_sequence(pid) };
        self.stage(log, Staged::data(base, pid, sequence, values))
    }

    fn end_transaction(&mut self, log: usize) -> Verdict {
        let base = self.models[log].end();
        let (pid, commit) = ([3, 4][self.rng.below(2)], self.rng.percent(50));
        self.stage(log, Staged::marker(base, pid, commit))
    }

    fn stage(&mut self, log: usize, staged: Staged) -> Verdict {
        let mut options = AppendOptions::default();
        if staged.marker.is_some() {
            options.origin = Origin::Coordinator;
        }
        match self.logs[log].append(&staged.bytes, &options) {
            Ok(ticket) => {
                let appended = ticket.appended();
                if appended.duplicate || appended.base_offset.get() != staged.base {
                    return Err(format!("appended {appended:?} for {staged:?}"));
                }
                self.models[log].batches.push(staged);
                let index = self.models[log].batches.len() - 1;
                if self.rng.percent(50) {
                    return self.acknowledge(log, index, ticket);
                }
                self.pending.push((log, index, ticket));
                Ok(())
            }
            Err(e) => self.after_error(&e),
        }
    }

    /// A log that failed is only of use again after a reopen.
    fn after_error(&mut self, error: &oncelog::Error) -> Verdict {
        match error.kind() {
            ErrorKind::Poisoned | ErrorKind::Io | ErrorKind::DiskFull => self.crash(),
            _ => Err(format!("unexpected: {error:?}")),
        }
    }

    fn acknowledge(&mut self, log: usize, index: usize, ticket: AppendTicket) -> Verdict {
        match ticket.wait() {
            Ok(_) => {
                self.models[log].batches[index].acknowledged = true;
                Ok(())
            }
            Err(e) => self.after_error(&e),
        }
    }

    fn acknowledge_all(&mut self) -> Verdict {
        for (log, index, ticket) in std::mem::take(&mut self.pending) {
            match ticket.wait() {
                Ok(_) => self.models[log].batches[index].acknowledged = true,
                // The other tickets of this moment fail or hold just the same.
                Err(e) => return self.after_error(&e),
            }
        }
        Ok(())
    }

    /// One of the last five batches again is a duplicate, an older one is out of order (P-5, P-6).
    fn retry(&mut self, log: usize) -> Verdict {
        let pid = [1, 2, 3, 4][self.rng.below(4)];
        let data: Vec<Staged> = self.models[log].data_of(pid).cloned().collect();
        if data.is_empty() {
            return Ok(());
        }
        let age = self.rng.below(data.len().min(7));
        let batch = &data[data.len() - 1 - age];
        let is_open = !self.models[log]
            .batches
            .iter()
            .any(|b| b.pid == pid && b.marker.is_some() && b.base > batch.base);
        if age >= 5 && !is_open {
            return Ok(());
        }
        match self.logs[log].append(&batch.bytes, &AppendOptions::default()) {
            Ok(ticket) => {
                let appended = ticket.appended();
                drop(ticket);
                if appended.duplicate && appended.base_offset.get() == batch.base && age < 5 {
                    return Ok(());
                }
                Err(format!("retry of age {age} of {batch:?} gave {appended:?}"))
            }
            Err(e) if age >= 5 && matches!(e.kind(), ErrorKind::OutOfOrderSequence { .. }) => {
                Ok(())
            }
            Err(e) if e.is_fatal() => self.after_error(&e),
            Err(e) => Err(format!("retry of age {age} of {batch:?}: {e:?}")),
        }
    }

    fn trim(&mut self, log: usize) -> Verdict {
        let high_watermark = self.logs[log].offsets().high_watermark.get();
        let start = self.models[log].start;
        if high_watermark <= start {
            return Ok(());
        }
        let span = usize::try_from(high_watermark - start).unwrap();
        let target = start + i64::try_from(self.rng.below(span) + 1).unwrap();
        self.models[log].start_asked = target;
        match self.logs[log].trim_before(Offset::new(target)) {
            Ok(_) => {
                self.models[log].start = target;
                Ok(())
            }
            Err(e) => self.after_error(&e),
        }
    }

    fn reopen(&mut self) -> Verdict {
        if let Err(e) = self.engine.close() {
            return self.after_error(&e);
        }
        // The clean close acknowledges everything.
        self.pending.clear();
        for model in &mut self.models {
            model.batches.iter_mut().for_each(|b| b.acknowledged = true);
        }
        self.open_and_judge()
    }

    fn fail_a_flush(&mut self) -> Verdict {
        let kind = [FaultKind::Flush, FaultKind::Write][self.rng.below(2)];
        self.faulty = true;
        self.disk.fail(Fault::new(kind, self.rng.next() % 4));
        Ok(())
    }

    fn crash_soon(&mut self) -> Verdict {
        let operations = self.disk.operations();
        self.disk.crash_after(operations + 1 + self.rng.next() % 12);
        Ok(())
    }

    /// Ends this life of the engine: a kill, or a power cut of some kind.
    fn crash(&mut self) -> Verdict {
        self.seen.crashes += 1;
        self.pending.clear();
        let how = self.rng.below(6);
        self.disk = match how {
            // A kill leaves the operating system up; after a cut there is none, and after a failed
            // flush what it shows is not what the device has (docs/recovery.md).
            0 if self.disk.is_powered() && !self.faulty => self.disk.kill(),
            1 => self.disk.crash(&Crash::LoseAll),
            2 => self.disk.crash(&Crash::KeepAll),
            _ => {
                // Sectors are atomic in this model, as docs/recovery.md assumes of the device: the last
                // block of a log is written again with every group, with an identical prefix.
                self.disk.crash(&Crash::Random { seed: self.rng.next(), garbage: false })
            }
        };
        self.open_and_judge()
    }

    /// Opens the engine, through further crashes if the seed says so, and judges every log.
    fn open_and_judge(&mut self) -> Verdict {
        self.disk.heal();
        self.faulty = false;
        for _ in 0..3 {
            if !self.rng.percent(25) {
                break;
            }
            let operations = self.disk.operations();
            self.disk.crash_after(operations + 1 + self.rng.next() % 20);
            if open(&self.disk, self.planted).and_then(|e| load(&e).map(|_| ())).is_ok() {
                break;
            }
            self.seen.crashes += 1;
            let seed = self.rng.next();
            self.disk = self.disk.crash(&Crash::Random { seed, garbage: false });
        }
        if !self.disk.is_powered() {
            self.disk = self.disk.crash(&Crash::KeepAll);
        } else {
            // Whatever the last attempt left open is over: its lock, its planned crash.
            self.disk = self.disk.kill();
        }
        self.engine = open(&self.disk, self.planted)?;
        self.logs = load(&self.engine)?;
        for report in self.engine.recovery_reports() {
            self.seen.cut_tails += u64::from(report.cut_bytes > 0);
            if !report.damaged.is_empty() {
                return Err(format!("damage where there is none: {report:?}"));
            }
        }
        for log in 0..LOGS {
            judge::after_recovery(&self.logs[log], &mut self.models[log])?;
        }
        Ok(())
    }

    fn check_reads(&mut self, log: usize) -> Verdict {
        let offsets = self.logs[log].offsets();
        let start = offsets.log_start_offset.get();
        let span = usize::try_from(offsets.high_watermark.get() - start).unwrap();
        let from = start + i64::try_from(self.rng.below(span + 1)).unwrap();
        match judge::reads(&self.logs[log], &mut self.models[log], from) {
            Err(_) if !self.disk.is_powered() => return self.crash(),
            verdict => verdict?,
        }
        self.disk.clock().advance(Duration::from_millis(7));
        Ok(())
    }
}

fn open(disk: &Arc<SimDisk>, planted: Planted) -> Result<Engine, String> {
    let mut options = options(planted);
    options.log = config();
    Engine::open_with(options, disk.io()).map_err(|e| format!("open: {e:?}"))
}

fn load(engine: &Engine) -> Result<Vec<Log>, String> {
    (0..LOGS).map(|i| engine.log(&name(i)).map_err(|e| format!("load: {e:?}"))).collect()
}
