//! A writer is killed in the middle of its work, and everything it was told is there.
//!
//! The program runs itself a second time as the writer, reads the acknowledgements from its output,
//! kills it without warning, and opens the data directory.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::BatchBuilder;
use oncelog::{AppendOptions, Engine, EngineOptions, LogConfig, LogName};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Tells the second process where to write.
const DIRECTORY: &str = "ONCELOG_CRASH_AND_RECOVER";
const ACKNOWLEDGED: &str = "acknowledged offset ";

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var_os(DIRECTORY) {
        Some(directory) => write_until_killed(&EngineOptions::new(directory)),
        None => kill_and_recover(),
    }
}

fn write_until_killed(options: &EngineOptions) -> Result<(), Box<dyn Error>> {
    let engine = Engine::open(options.clone())?;
    let log = engine.open_log(&LogName::new("crash", 0)?, LogConfig::default())?;
    loop {
        let mut builder = BatchBuilder::new();
        builder.append(1_700_000_000_000, None, Some(b"still here"), &[])?;
        let appended = log.append(&builder.build()?, &AppendOptions::default())?.wait()?;
        println!("{ACKNOWLEDGED}{}", appended.last_offset);
    }
}

fn kill_and_recover() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut writer = Command::new(std::env::current_exe()?)
        // For a test harness that has this example as one of its tests; the example ignores them.
        .args(["crash_and_recover", "--exact", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(writer.stdout.take().ok_or("the writer has no output")?);
    let (mut last, mut count) = (-1_i64, 0);
    for line in output.lines() {
        if let Some((_, offset)) = line?.rsplit_once(ACKNOWLEDGED) {
            last = offset.parse()?;
            count += 1;
        }
        // What it acknowledged before it died is still in the pipe: read on to the end.
        if count == 50 {
            writer.kill()?;
        }
    }
    writer.wait()?;
    assert!(count >= 50, "the writer ended by itself");
    println!("killed after offset {last} was acknowledged");

    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let log = engine.log(&LogName::new("crash", 0)?)?;
    let mut next = 0;
    for stored in log.batches(log.offsets().log_start_offset, oncelog::Isolation::ReadUncommitted) {
        let stored = stored?;
        assert_eq!(stored.batch().base_offset().get(), next, "no hole, no repetition");
        next = stored.batch().next_offset().get();
    }
    println!("recovered in {:?}: the log ends at {next}", engine.recovery_time());
    for report in engine.recovery_reports() {
        println!("{report:?}");
        assert!(report.damaged.is_empty());
    }
    assert!(next > last, "an acknowledged record is missing");
    engine.close()?;
    Ok(())
}
