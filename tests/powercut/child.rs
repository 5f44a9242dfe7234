//! The process under the power cut. It writes and reads until its disk is gone, and reports what it
//! was told, one line per answer, before it asks for anything else.
//!
//! ```text
//! A pid number log base     a batch is acknowledged as durable
//! E pid number              both markers of a transaction are
//! R log base next checksum  a reader at the default isolation was given this batch
//! B backend                 the backend that the engine runs on
//! X reason                  something other than the disk went wrong
//! ```

use crate::ledger::Ledger;
use crate::work::{self, FIRST_IDEMPOTENT, FIRST_TRANSACTIONAL, LOGS};
use oncelog::{
    AppendOptions, AppendTicket, Backend, Engine, ErrorKind, Isolation, Log, Offset, Origin,
};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const ENVIRONMENT: &str = "ONCELOG_POWER_CUT_CHILD";
/// Batches that an idempotent producer has under way: as many as a log remembers.
const IN_FLIGHT: u64 = 5;

/// What one life of the child is told.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) backend: Backend,
    pub(crate) plant_early_acks: bool,
}

impl Life {
    fn to_text(&self) -> String {
        let backend = if self.backend == Backend::Std { "std" } else { "auto" };
        format!("{} {backend} {}", self.number, self.plant_early_acks)
    }

    pub(crate) fn from_environment() -> Option<Self> {
        let text = std::env::var(ENVIRONMENT).ok()?;
        let mut words = text.split(' ');
        Some(Self {
            number: words.next()?.parse().ok()?,
            backend: if words.next()? == "std" { Backend::Std } else { Backend::Auto },
            plant_early_acks: words.next()?.parse().ok()?,
        })
    }
}

/// Where a life goes on: the first batch of each idempotent producer that was not acknowledged, and
/// the transactional producer of the life before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unfinished {
    pub(crate) next: [u64; LOGS],
    pub(crate) transactional: Option<i64>,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    lines: BufReader<ChildStdout>,
    backend: String,
}

impl Child {
    pub(crate) fn start(life: &Life, data: &Path, unfinished: &Unfinished) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--include-ignored", "--nocapture"])
            .env(ENVIRONMENT, life.to_text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin: ChildStdin = process.stdin.take().unwrap();
        let next: Vec<String> = unfinished.next.iter().map(u64::to_string).collect();
        let transactional = unfinished.transactional.unwrap_or(-1);
        writeln!(stdin, "{}", data.display()).unwrap();
        writeln!(stdin, "{} {transactional}", next.join(" ")).unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines, backend: String::new() }
    }

    /// What its engine ran on.
    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    /// Passes on what the child reports until `reported` answers are in the ledger.
    pub(crate) fn report_until(
        &mut self,
        ledger: &mut Ledger,
        reported: u64,
    ) -> Result<(), String> {
        while ledger.reported() < reported {
            if !self.report_one(ledger)? {
                drop(self.process.wait());
                return Err("the child ended by itself".to_owned());
            }
        }
        Ok(())
    }

    /// Kills the child. What it reported meanwhile counts: it was told so.
    pub(crate) fn kill(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        self.process.kill().map_err(|e| e.to_string())?;
        while self.report_one(ledger)? {}
        self.process.wait().map(drop).map_err(|e| e.to_string())
    }

    fn report_one(&mut self, ledger: &mut Ledger) -> Result<bool, String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).map_err(|e| e.to_string())?;
        // The kill may have cut the last line short.
        if !line.ends_with('\n') {
            return Ok(false);
        }
        match line.trim_end().split_once("B ") {
            Some(("", backend)) => self.backend = backend.to_owned(),
            _ => ledger.report(line.trim_end())?,
        }
        Ok(true)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// One whole line in one call: a kill leaves it out or in.
fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The child's whole life; ends when its disk fails, and would never end otherwise.
pub(crate) fn live(life: &Life) {
    let mut lines = std::io::stdin().lines();
    let data = PathBuf::from(lines.next().unwrap().unwrap());
    let second = lines.next().unwrap().unwrap();
    let numbers: Vec<i64> = second.split(' ').map(|word| word.parse().unwrap()).collect();
    let engine = Engine::open(work::options(life, &data)).unwrap();
    report(&format!("B {}", engine.storage_info().backend));
    let logs: Vec<Log> = (0..LOGS).map(|log| open(&engine, log)).collect();
    let outcome: Result<(), Stop> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (log, handle) in logs.iter().enumerate() {
            let first = u64::try_from(numbers[log]).unwrap();
            threads.push(scope.spawn(move || write_idempotent(log, handle, first)));
            threads.push(scope.spawn(move || read(log, handle)));
        }
        let all = &logs;
        let old = numbers[LOGS];
        threads.push(scope.spawn(move || write_transactions(life.number, all, old)));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    });
    if let Err(Stop::Wrong(what)) = outcome {
        report(&format!("X {what}"));
    }
}

fn open(engine: &Engine, log: usize) -> Log {
    let name = work::name(log);
    match engine.log(&name) {
        Err(e) if *e.kind() == ErrorKind::NotFound => {
            let config = work::options(&Life::default(), Path::new("/")).log;
            engine.create_log(&name, work::ID, config).unwrap()
        }
        found => found.unwrap(),
    }
}

impl Default for Life {
    fn default() -> Self {
        Self { number: 0, backend: Backend::Auto, plant_early_acks: false }
    }
}

enum Stop {
    /// The disk is gone.
    Gone,
    Wrong(String),
}

impl From<oncelog::Error> for Stop {
    fn from(error: oncelog::Error) -> Self {
        match error.kind() {
            ErrorKind::Poisoned | ErrorKind::Io => Self::Gone,
            _ => Self::Wrong(format!("{error:?}")),
        }
    }
}

/// Appends batch after batch, a few at a time, the first ones perhaps for the second time.
fn write_idempotent(log: usize, handle: &Log, first: u64) -> Result<(), Stop> {
    let pid = FIRST_IDEMPOTENT + i64::try_from(log).unwrap();
    let mut number = first;
    loop {
        let burst = 1 + number % IN_FLIGHT;
        let tickets: Vec<AppendTicket> = (number..number + burst)
            .map(|n| handle.append(&work::batch(pid, n), &AppendOptions::default()))
            .collect::<Result<_, _>>()?;
        for ticket in tickets {
            let base = ticket.wait()?.base_offset;
            report(&format!("A {pid} {number} {log} {base}"));
            number += 1;
        }
    }
}

/// Ends what the life before left open, then writes transactions over two logs each.
fn write_transactions(life: u64, logs: &[Log], old: i64) -> Result<(), Stop> {
    if old >= 0 {
        for log in logs {
            append_marker(log, old, false)?.wait()?;
        }
    }
    let pid = FIRST_TRANSACTIONAL + i64::try_from(life).unwrap();
    // Batches are numbered by log, since sequences are.
    let mut written = [0_u64; LOGS];
    for number in 0.. {
        let (chosen, commit) = work::transaction(number);
        let mut tickets = Vec::new();
        for log in chosen {
            let bytes = work::batch(pid, written[log]);
            tickets.push((log, logs[log].append(&bytes, &AppendOptions::default())?));
        }
        for (log, ticket) in tickets {
            let base = ticket.wait()?.base_offset;
            report(&format!("A {pid} {} {log} {base}", written[log]));
            written[log] += 1;
        }
        let markers: Vec<AppendTicket> = chosen
            .iter()
            .map(|log| append_marker(&logs[*log], pid, commit))
            .collect::<Result<_, _>>()?;
        for ticket in markers {
            ticket.wait()?;
        }
        report(&format!("E {pid} {number}"));
    }
    Ok(())
}

fn append_marker(log: &Log, pid: i64, commit: bool) -> oncelog::Result<AppendTicket> {
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    log.append(&work::marker(pid, commit), &options)
}

/// Follows a log and reports what it is given.
fn read(log: usize, handle: &Log) -> Result<(), Stop> {
    let mut reader = handle.batches(Offset::ZERO, Isolation::ReadUncommitted);
    reader.seek(handle.offsets().log_end_offset);
    loop {
        if let Some(stored) = reader.next_timeout(Duration::from_secs(5))? {
            let batch = stored.batch();
            let checksum = work::checksum(batch.as_bytes());
            report(&format!("R {log} {} {} {checksum}", batch.base_offset(), batch.next_offset()));
        }
    }
}
