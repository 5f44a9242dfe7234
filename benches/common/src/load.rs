//! Writers that append to logs of an engine and wait for each acknowledgement.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use crate::Outcome;
use crate::stats::Sample;
use bytes::Bytes;
use oncelog::batch::{BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::{
    AppendOptions, Engine, EngineOptions, LeaderEpoch, Log, LogConfig, LogName, Offset,
    ProducerEpoch, ProducerId,
};
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
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The options of every engine that is measured: the defaults.
#[must_use]
pub fn engine_options(dir: &Path) -> EngineOptions {
    EngineOptions::new(dir)
}

/// The configuration of every log that is measured: the defaults, but a record of 1 MiB fits, and
/// records of long ago stay.
#[must_use]
pub fn log_config() -> LogConfig {
    let mut config = LogConfig::default();
    config.max_message_bytes = 32 << 20;
    config.retention_ms = -1;
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

/// What [`drive_log`] does, with `writers` tasks of one thread in the place of threads: each awaits its
/// ticket before it appends again.
///
/// # Errors
/// The first error of a writer.
pub fn drive_log_tasks(
    log: &Log,
    batch: &Bytes,
    writers: usize,
    duration: Duration,
) -> Outcome<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let started = Instant::now();
    let outcomes: Vec<Outcome<Vec<u64>>> = runtime.block_on(async {
        let tasks: Vec<_> = (0..writers)
            .map(|_| runtime.spawn(append_until(log.clone(), batch.clone(), started + duration)))
            .collect();
        let mut outcomes = Vec::with_capacity(writers);
        for task in tasks {
            outcomes
                .push(task.await.map_err(Into::into).and_then(|nanos| nanos.map_err(Into::into)));
        }
        outcomes
    });
    let elapsed = started.elapsed();
    let nanos: Outcome<Vec<Vec<u64>>> = outcomes.into_iter().collect();
    Ok(Sample::new(nanos?.concat(), elapsed))
}

/// Appends, one after the other, until `end`; how long each took to be acknowledged.
async fn append_until(log: Log, batch: Bytes, end: Instant) -> oncelog::Result<Vec<u64>> {
    let options = AppendOptions::default();
    let mut nanos = Vec::new();
    let mut now = Instant::now();
    while now < end {
        log.append(&batch, &options)?.await?;
        let after = Instant::now();
        nanos.push(u64::try_from((after - now).as_nanos()).unwrap_or(u64::MAX));
        now = after;
    }
    Ok(nanos)
}

/// A producer whose next batch is the last one with another sequence.
#[derive(Debug)]
pub struct Producer {
    batch: Vec<u8>,
    id: i64,
    sent: usize,
}

/// Where a batch's header has these fields.
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const FIRST_TIMESTAMP_AT: usize = 27;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const SEQUENCE_AT: usize = 53;

impl Producer {
    /// Batches of one record with `len` bytes, idempotent and, if asked, in transactions.
    ///
    /// # Errors
    /// If they are too long.
    pub fn new(id: i64, len: usize, transactional: bool) -> Outcome<Self> {
        let mut producer = Self { batch: batch(len)?.to_vec(), id, sent: 0 };
        if transactional {
            producer.put(ATTRIBUTES_AT, &16_i16.to_be_bytes());
        }
        producer.put(PRODUCER_EPOCH_AT, &0_i16.to_be_bytes());
        producer.become_producer(id);
        Ok(producer)
    }

    /// The same without a producer id.
    ///
    /// # Errors
    /// If they are too long.
    pub fn plain(len: usize) -> Outcome<Self> {
        Ok(Self { batch: batch(len)?.to_vec(), id: -1, sent: 0 })
    }

    /// Goes on as another producer, which begins with sequence 0.
    pub fn become_producer(&mut self, id: i64) {
        self.id = id;
        self.sent = 0;
        self.put(PRODUCER_ID_AT, &id.to_be_bytes());
    }

    /// Goes on with another epoch.
    pub fn next_epoch(&mut self, epoch: i16) {
        self.put(PRODUCER_EPOCH_AT, &epoch.to_be_bytes());
    }

    /// The next batch. A plain one is sealed like the others, with another timestamp.
    #[expect(clippy::should_implement_trait, reason = "an iterator lends nothing")]
    pub fn next(&mut self) -> &[u8] {
        let nth = i32::try_from(self.sent).unwrap_or(i32::MAX);
        self.sent += 1;
        if self.id >= 0 {
            self.put(SEQUENCE_AT, &nth.to_be_bytes());
        } else {
            let time = (TIMESTAMP_MS + i64::from(nth % 1000)).to_be_bytes();
            self.put(FIRST_TIMESTAMP_AT, &time);
            self.put(FIRST_TIMESTAMP_AT + 8, &time);
        }
        let crc = crc32c::crc32c(self.batch.get(ATTRIBUTES_AT..).unwrap_or_default());
        self.put(CRC_AT, &crc.to_be_bytes());
        &self.batch
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// How many batches it gave.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.batch[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// A commit marker of a producer.
#[must_use]
pub fn marker(producer: i64) -> Bytes {
    let commit = EndMarker::new(MarkerKind::Commit, 0);
    let (id, epoch) = (ProducerId::new(producer), ProducerEpoch::new(0));
    let bytes = marker_batch(Offset::ZERO, LeaderEpoch::NONE, id, epoch, commit, TIMESTAMP_MS);
    Bytes::copy_from_slice(&bytes)
}
