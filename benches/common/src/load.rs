//! Writers that append to logs of an engine and wait for each acknowledgement.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use crate::Outcome;
use crate::stats::Sample;
use bytes::Bytes;
use oncelog::batch::BatchBuilder;
use oncelog::{AppendOptions, Engine, EngineOptions, Log, LogConfig, LogName};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A batch of one record whose value has `len` bytes that no codec could shrink.
///
/// # Errors
/// If it is too long.
pub fn batch(len: usize) -> Outcome<Bytes> {
    let mut builder = BatchBuilder::new();
    builder.append(TIMESTAMP_MS, None, Some(&noise(len)), &[])?;
    Ok(builder.build()?)
}

/// The time of every record.
pub const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// `len` bytes that look random, the same every time.
#[must_use]
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The options of every engine that is measured: the defaults.
#[must_use]
pub fn engine_options(dir: &Path) -> EngineOptions {
    EngineOptions::new(dir)
}

/// The configuration of every log that is measured: the defaults, but a record of 1 MiB fits.
#[must_use]
pub fn log_config() -> LogConfig {
    let mut config = LogConfig::default();
    config.max_message_bytes = 32 << 20;
    config
}

/// A fresh log.
///
/// # Errors
/// Those of the engine.
pub fn create_log(engine: &Engine, topic: &str, partition: i32) -> Outcome<Log> {
    Ok(engine.create_log(&LogName::new(topic, partition)?, [1; 16], log_config())?)
}

/// `writers` threads that each call `append` until `duration` is over. `append` is given the number
/// of its writer and returns when the append is acknowledged.
///
/// # Errors
/// The first error of a writer.
pub fn drive<S>(
    writers: usize,
    duration: Duration,
    setup: impl Fn(usize) -> S + Sync,
    append: impl Fn(&mut S) -> Outcome + Sync,
) -> Outcome<Sample> {
    let barrier = Barrier::new(writers);
    let run = |writer: usize| -> Outcome<(Vec<u64>, Duration)> {
        let mut state = setup(writer);
        let mut nanos = Vec::with_capacity(1 << 16);
        barrier.wait();
        let started = Instant::now();
        let mut now = started;
        while now - started < duration {
            append(&mut state)?;
            let after = Instant::now();
            nanos.push(u64::try_from((after - now).as_nanos())?);
            now = after;
        }
        Ok((nanos, now - started))
    };
    if writers == 1 {
        let (nanos, elapsed) = run(0)?;
        return Ok(Sample::new(nanos, elapsed));
    }
    let run = &run;
    let outcomes: Vec<Outcome<(Vec<u64>, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || run(writer))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_panic| Err("a writer panicked".into())));
        joined.collect()
    });
    let mut nanos = Vec::new();
    let mut elapsed = Duration::ZERO;
    for outcome in outcomes {
        let (part, took) = outcome?;
        nanos.extend(part);
        elapsed = elapsed.max(took);
    }
    Ok(Sample::new(nanos, elapsed))
}

/// [`drive`] with every writer appending `batch` to `log` at its default durability.
///
/// # Errors
/// The first error of a writer.
pub fn drive_log(log: &Log, batch: &Bytes, writers: usize, duration: Duration) -> Outcome<Sample> {
    let options = AppendOptions::default();
    drive(
        writers,
        duration,
        |_| (),
        |()| {
            log.append(batch, &options)?.wait()?;
            Ok(())
        },
    )
}
