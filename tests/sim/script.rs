//! One scripted workload, a step at a time, with the oracle beside it.
//!
//! The script has everything that writes: several logs and producers, transactions, groups that span
//! logs, rolls, checkpoints, trims, truncations, epochs, a log created and one deleted on the way, a
//! clean close. It is short enough to be cut at every one of its I/O operations.

use crate::judge;
use crate::model::{Model, Staged};
use oncelog::io::sim::SimDisk;
use oncelog::planted::Planted;
use oncelog::{
    AppendOptions, AppendTicket, Engine, EngineOptions, Error, ErrorKind, LeaderEpoch, Log,
    LogConfig, LogName, Offset, Origin,
};
use std::path::Path;
use std::sync::Arc;

/// Logs that a script may name.
const LOGS: usize = 3;
pub(crate) const DIRECTORY: &str = "/d";
const ID: [u8; 16] = [9; 16];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Create(usize),
    Delete(usize),
    /// A batch of `count` records of about `bytes` bytes; nobody waits for it yet.
    Data {
        log: usize,
        pid: i64,
        count: usize,
        bytes: usize,
    },
    /// An end marker; nobody waits for it yet.
    End {
        log: usize,
        pid: i64,
        commit: bool,
    },
    /// Waits for the oldest append of this log that nobody waited for, which leads a group of
    /// everything that is staged in any log.
    Wait(usize),
    /// Waits for all of them.
    WaitAll,
    /// Sends the batch before the last `age` ones of a producer again.
    Retry {
        log: usize,
        pid: i64,
        age: usize,
    },
    Roll(usize),
    /// Maintenance: seals, checkpoints, removes what was trimmed.
    Tick,
    /// Trims before the offset that this share, in percent, of the log lies below.
    Trim(usize, i64),
    /// Cuts off this many batches.
    Truncate(usize, usize),
    Epoch(usize, i32),
    Read(usize),
    /// Closes in order and opens again.
    Reopen,
}

/// Whether a log is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    Absent,
    /// Its creation was asked for, and nobody answered.
    Begun,
    Exists,
    /// Its deletion was asked for, and nobody answered.
    Doomed,
}

/// What must hold, whatever happens next.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    existence: [Existence; LOGS],
    pub(crate) models: [Model; LOGS],
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            existence: [Existence::Absent; LOGS],
            models: std::array::from_fn(|_| Model::default()),
        }
    }
}

/// Why a script ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The engine answered with an error: rightly, if the disk failed.
    Refused(Error),
    /// The engine broke a promise.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

/// What the engine is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) planted: Planted,
    pub(crate) segment_bytes: u32,
    pub(crate) reserve_bytes: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { planted: Planted::default(), segment_bytes: 8 << 10, reserve_bytes: 0 }
    }
}

impl Setup {
    pub(crate) fn open(&self, disk: &Arc<SimDisk>) -> oncelog::Result<Engine> {
        let mut options = EngineOptions::new(DIRECTORY);
        options.background = false;
        options.planted = self.planted;
        options.checkpoint_bytes = 4_000;
        options.reserve_bytes = self.reserve_bytes;
        options.log = self.config();
        Engine::open_with(options, disk.io())
    }

    fn config(&self) -> LogConfig {
        let mut config = LogConfig::default();
        config.segment_bytes = self.segment_bytes;
        config.index_interval_bytes = 600;
        config.retention_ms = -1;
        config
    }
}

/// A run of a script: engine, oracle, and who still waits.
pub(crate) struct Run {
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) oracle: Oracle,
    setup: Setup,
    engine: Engine,
    logs: [Option<Log>; LOGS],
    /// Log, index of the batch in its model, ticket.
    pending: Vec<(usize, usize, AppendTicket)>,
    next_value: u64,
}

pub(crate) fn name(index: usize) -> LogName {
    LogName::new("sim", i32::try_from(index).unwrap()).unwrap()
}

impl Run {
    /// Opens an engine on `disk`.
    pub(crate) fn open(disk: &Arc<SimDisk>, setup: Setup) -> oncelog::Result<Self> {
        Ok(Self {
            disk: Arc::clone(disk),
            oracle: Oracle::default(),
            setup,
            engine: setup.open(disk)?,
            logs: [const { None }; LOGS],
            pending: Vec::new(),
            next_value: 0,
        })
    }

    /// Runs a script to its end or to the first error, and then lets everybody who still waits have
    /// an answer: one that says "stored" counts.
    pub(crate) fn execute(&mut self, script: &[Step]) -> Result<(), Stop> {
        for step in script {
            match self.step(*step) {
                Ok(()) => {}
                Err(Stop::Wrong(what)) => return Err(Stop::Wrong(format!("{step:?}: {what}"))),
                Err(refused) => {
                    for (log, index, ticket) in std::mem::take(&mut self.pending) {
                        if ticket.wait().is_ok() {
                            self.oracle.models[log].batches[index].acknowledged = true;
                        }
                    }
                    return Err(refused);
                }
            }
        }
        Ok(())
    }

    /// [`open`](Self::open) and [`execute`](Self::execute), for a caller who needs the oracle only.
    pub(crate) fn of(
        disk: &Arc<SimDisk>,
        setup: Setup,
        script: &[Step],
    ) -> (Oracle, Result<(), Stop>) {
        match Self::open(disk, setup) {
            Err(error) => (Oracle::default(), Err(error.into())),
            Ok(mut run) => {
                let outcome = run.execute(script);
                (run.oracle, outcome)
            }
        }
    }

    pub(crate) fn log(&self, index: usize) -> &Log {
        self.logs[index].as_ref().expect("the script creates a log before it uses it")
    }

    fn step(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::Create(log) => self.create(log),
            Step::Delete(log) => self.delete(log),
            Step::Data { log, pid, count, bytes } => self.data(log, pid, count, bytes),
            Step::End { log, pid, commit } => {
                let base = self.oracle.models[log].end();
                self.stage(log, Staged::marker(base, pid, commit))
            }
            Step::Wait(log) => self.wait(log),
            Step::WaitAll => self.wait_all(),
            Step::Retry { log, pid, age } => self.retry(log, pid, age),
            Step::Roll(log) => {
                self.log(log).roll();
                Ok(())
            }
            Step::Tick => {
                self.engine.tick();
                Ok(())
            }
            Step::Trim(log, percent) => self.trim(log, percent),
            Step::Truncate(log, batches) => self.truncate(log, batches),
            Step::Epoch(log, epoch) => {
                Ok(self.log(log).begin_leader_epoch(LeaderEpoch::new(epoch))?)
            }
            Step::Read(log) => self.read(log),
            Step::Reopen => self.reopen(),
        }
    }

    fn create(&mut self, log: usize) -> Result<(), Stop> {
        self.oracle.existence[log] = Existence::Begun;
        self.logs[log] = Some(self.engine.create_log(&name(log), ID, self.setup.config())?);
        self.oracle.existence[log] = Existence::Exists;
        Ok(())
    }

    fn delete(&mut self, log: usize) -> Result<(), Stop> {
        self.oracle.existence[log] = Existence::Doomed;
        self.engine.delete_log(&name(log))?;
        self.oracle.existence[log] = Existence::Absent;
        self.oracle.models[log] = Model::default();
        self.logs[log] = None;
        Ok(())
    }

    fn data(&mut self, log: usize, pid: i64, count: usize, bytes: usize) -> Result<(), Stop> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(format!("{}{}", self.next_value, "x".repeat(bytes)));
            self.next_value += 1;
        }
        let model = &self.oracle.models[log];
        let sequence = if pid < 0 { -1 } else { model.next_sequence(pid) };
        self.stage(log, Staged::data(model.end(), pid, sequence, values))
    }

    fn stage(&mut self, log: usize, staged: Staged) -> Result<(), Stop> {
        let mut options = AppendOptions::default();
        if staged.marker.is_some() {
            options.origin = Origin::Coordinator;
        }
        let ticket = self.log(log).append(&staged.bytes, &options)?;
        let appended = ticket.appended();
        if appended.duplicate || appended.base_offset.get() != staged.base {
            return Err(format!("appended {appended:?} for {staged:?}").into());
        }
        let batches = &mut self.oracle.models[log].batches;
        batches.push(staged);
        self.pending.push((log, batches.len() - 1, ticket));
        Ok(())
    }

    fn wait(&mut self, log: usize) -> Result<(), Stop> {
        let oldest = self.pending.iter().position(|(of, ..)| *of == log);
        let (log, index, ticket) = self.pending.remove(oldest.expect("nobody to wait for"));
        ticket.wait()?;
        self.acknowledged(log, index)
    }

    fn wait_all(&mut self) -> Result<(), Stop> {
        while let Some((log, ..)) = self.pending.first() {
            self.wait(*log)?;
        }
        Ok(())
    }

    fn acknowledged(&mut self, log: usize, index: usize) -> Result<(), Stop> {
        self.oracle.models[log].batches[index].acknowledged = true;
        let protected = self.protect(log);
        if self.disk.is_powered() { Ok(protected?) } else { Ok(()) }
    }

    /// Tells the disk which bytes are final (INV-DURABLE-PREFIX).
    fn protect(&self, log: usize) -> Result<(), String> {
        let handle = self.log(log);
        let offsets = handle.offsets();
        let segments = handle.segments();
        for (nth, (base, size)) in segments.iter().enumerate() {
            let is_active = nth + 1 == segments.len();
            if is_active && offsets.high_watermark < offsets.log_end_offset {
                continue;
            }
            let file = format!("{DIRECTORY}/{}/{:020}.log", name(log), base.get());
            let size = usize::try_from(*size).unwrap();
            if let Err(e) = self.disk.protect(Path::new(&file), size) {
                // A segment gets its file with the first write.
                if size > 0 {
                    return Err(format!("protect {file}: {e}"));
                }
            }
        }
        Ok(())
    }

    fn retry(&mut self, log: usize, pid: i64, age: usize) -> Result<(), Stop> {
        let batch = self.oracle.models[log].data_of(pid).rev().nth(age).cloned();
        let batch = batch.expect("the script retries what it appended");
        let appended = self.log(log).append(&batch.bytes, &AppendOptions::default())?.appended();
        if appended.duplicate && appended.base_offset.get() == batch.base {
            return Ok(());
        }
        Err(format!("retry of {batch:?} gave {appended:?}").into())
    }

    fn trim(&mut self, log: usize, percent: i64) -> Result<(), Stop> {
        let high_watermark = self.log(log).offsets().high_watermark.get();
        let model = &mut self.oracle.models[log];
        let target = model.start + (high_watermark - model.start) * percent / 100;
        model.start_asked = target;
        self.log(log).trim_before(Offset::new(target))?;
        self.oracle.models[log].start = target;
        Ok(())
    }

    fn truncate(&mut self, log: usize, batches: usize) -> Result<(), Stop> {
        let model = &mut self.oracle.models[log];
        let cut = model.batches[model.batches.len() - batches].base;
        model.cut_asked = Some(cut);
        self.log(log).truncate_to(Offset::new(cut))?;
        self.oracle.models[log].truncated(cut);
        let end = self.log(log).offsets().log_end_offset.get();
        if end != cut {
            return Err(format!("truncated to {cut}, and the log ends at {end}").into());
        }
        Ok(())
    }

    fn read(&mut self, log: usize) -> Result<(), Stop> {
        let start = self.log(log).offsets().log_start_offset.get();
        let handle = self.logs[log].as_ref().expect("created");
        Ok(judge::reads(handle, &mut self.oracle.models[log], start)?)
    }

    /// Closes in order, which acknowledges everything.
    pub(crate) fn close(&mut self) -> Result<(), Stop> {
        self.engine.close()?;
        self.pending.clear();
        for model in &mut self.oracle.models {
            model.batches.iter_mut().for_each(|b| b.acknowledged = true);
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Stop> {
        self.close()?;
        self.engine = self.setup.open(&self.disk)?;
        for log in 0..LOGS {
            if self.oracle.existence[log] == Existence::Exists {
                self.logs[log] = Some(self.engine.log(&name(log))?);
            }
        }
        Ok(())
    }

    /// Every log either takes an append, which counts, or refuses it for good: a log that failed
    /// once stays out of use until it is opened again.
    pub(crate) fn probe(&mut self) -> Result<(), String> {
        for log in 0..LOGS {
            if self.logs[log].is_none() {
                continue;
            }
            let mut refusals = 0;
            for _ in 0..3 {
                match self.data(log, -1, 1, 10).and_then(|()| self.wait_all()) {
                    Ok(()) if refusals == 0 => {}
                    Ok(()) => return Err(format!("log {log} failed and went on")),
                    Err(Stop::Refused(error)) => {
                        self.pending.clear();
                        let fatal = error.is_fatal() || *error.kind() == ErrorKind::DiskFull;
                        if !fatal {
                            return Err(format!("log {log}: {error:?}"));
                        }
                        refusals += u32::from(error.is_fatal());
                    }
                    Err(Stop::Wrong(what)) => return Err(what),
                }
            }
        }
        Ok(())
    }
}

/// Opens what a crash left on `disk` and holds it to the oracle, which takes over what it finds.
/// Every log must work again afterwards.
pub(crate) fn judge_recovery(
    disk: &Arc<SimDisk>,
    setup: Setup,
    oracle: &mut Oracle,
) -> Result<Engine, String> {
    let engine = setup.open(disk).map_err(|e| format!("open: {e:?}"))?;
    let mut logs = Vec::new();
    for index in 0..LOGS {
        let log = match engine.log(&name(index)) {
            Ok(log) => Some(log),
            Err(e) if *e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(format!("load log {index}: {e:?}")),
        };
        match (oracle.existence[index], &log) {
            (Existence::Absent, None) => {}
            (Existence::Absent, Some(_)) => return Err(format!("log {index} should be gone")),
            (Existence::Exists, None) => return Err(format!("log {index} is gone")),
            (_, None) => {
                oracle.existence[index] = Existence::Absent;
                oracle.models[index] = Model::default();
            }
            (_, Some(_)) => oracle.existence[index] = Existence::Exists,
        }
        if let Some(log) = log {
            let model = &mut oracle.models[index];
            judge::after_recovery(&log, model).map_err(|what| format!("log {index}: {what}"))?;
            logs.push((index, log));
        }
    }
    for report in engine.recovery_reports() {
        if !report.damaged.is_empty() {
            return Err(format!("damage where there is none: {report:?}"));
        }
    }
    for (index, log) in logs {
        let model = &mut oracle.models[index];
        still_works(&log, model).map_err(|what| format!("log {index}, appending: {what}"))?;
    }
    match disk.violations().first() {
        Some(changed) => Err(format!("durable bytes were changed: {changed:?}")),
        None => Ok(engine),
    }
}

/// One more append, acknowledged, and seen by readers.
fn still_works(log: &Log, model: &mut Model) -> Result<(), String> {
    let staged = Staged::data(model.end().max(model.start), -1, -1, vec!["again".to_owned()]);
    let ticket = log.append(&staged.bytes, &AppendOptions::default());
    let appended = ticket.and_then(AppendTicket::wait).map_err(|e| format!("{e:?}"))?;
    if appended.base_offset.get() != staged.base {
        return Err(format!("{appended:?} for {staged:?}"));
    }
    let from = staged.base;
    model.batches.push(Staged { acknowledged: true, ..staged });
    judge::reads(log, model, from)
}

/// The workload that is cut everywhere.
pub(crate) fn workload() -> Vec<Step> {
    use Step::{Create, Delete, Epoch, Read, Reopen, Retry, Roll, Tick, Trim, Truncate, Wait};
    let data = |log, pid, count, bytes| Step::Data { log, pid, count, bytes };
    let end = |log, pid, commit| Step::End { log, pid, commit };
    let mut script = vec![Create(0), Create(1), data(0, 1, 1, 20), Wait(0)];
    // Groups over both logs, transactions that span them, one committed and one aborted.
    script.extend([data(0, 3, 2, 300), data(1, 3, 1, 700), data(0, 1, 1, 90), Step::WaitAll]);
    script.extend([end(0, 3, true), end(1, 3, true), data(1, 2, 2, 50), Step::WaitAll, Read(0)]);
    script.extend([data(0, 4, 1, 1200), data(1, 4, 1, 10), Wait(1), data(0, 1, 3, 400), Wait(0)]);
    script.extend([Retry { log: 0, pid: 1, age: 2 }, end(0, 4, false), end(1, 4, false)]);
    script.extend([Step::WaitAll, Epoch(0, 1), Read(1)]);
    // Enough to roll by size; a group that lies in two segments; a checkpoint and a seal.
    for batch in 0..6 {
        script.extend([data(0, 2, 1, 900), data(0, 3, 1, 500), data(1, 1, 2, 30 + batch * 40)]);
        script.push(if batch % 2 == 0 { Wait(1) } else { Wait(0) });
    }
    script.extend([Step::WaitAll, Tick, Read(0), end(0, 3, true), Wait(0)]);
    // Trimmed into the first segment, then past it, which removes it.
    script.extend([Trim(0, 20), data(0, 1, 1, 60), Wait(0), Trim(0, 70), Tick, Read(0)]);
    // A roll by hand, a log of a later date, a batch larger than a block, a prefix that is rewritten.
    script.extend([Roll(1), data(1, 1, 1, 5000), Create(2), data(2, 1, 1, 10), Step::WaitAll]);
    for small in 0..5 {
        script.extend([data(2, 1, 1, small * 30), Wait(2)]);
    }
    // Cut within the active segment, and back into a sealed one; then on.
    script.extend([data(2, 2, 1, 40), Wait(2), Truncate(2, 3), data(2, 2, 1, 10), Wait(2)]);
    script.extend([Retry { log: 2, pid: 2, age: 0 }, Tick, Truncate(1, 4), Read(1)]);
    script.extend([data(1, 2, 1, 80), end(1, 3, false), Step::WaitAll]);
    // A clean close, and the same again on what it left.
    script.extend([data(0, 4, 2, 700), Reopen, Retry { log: 0, pid: 1, age: 3 }, Read(0)]);
    script.extend([data(0, 4, 1, 100), data(1, 4, 1, 100), Wait(0), end(0, 4, true), Wait(0)]);
    script.extend([end(1, 4, false), Wait(1), Roll(0), data(0, 2, 1, 2000), Wait(0), Tick]);
    script.extend([Delete(2), Trim(1, 50), data(1, 1, 1, 3000), Step::WaitAll, Tick, Read(1)]);
    script.push(Step::WaitAll);
    script
}
