//! Durable appends of oncelog, raft-engine and RocksDB's write-ahead log, turn by turn with the
//! physical limit: `cargo run --release -- [sizes=…] [writers=…] [pairs=…] [ms=…]` in this directory.
//!
//! Every one acknowledges an append only after a flush that was issued after its write. Compression
//! is off and the values are incompressible.

use oncelog::{Engine, Log};
use oncelog_bench::limit::{Blocks, Limit};
use oncelog_bench::load::{batch, create_log, drive, drive_log, engine_options, noise};
use oncelog_bench::place::Place;
use oncelog_bench::stats::{Sample, median};
use oncelog_bench::{Outcome, foreign::Usage};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LIMIT_BYTES: u64 = 1 << 30;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = |name: &str, default: &[usize]| -> Outcome<Vec<usize>> {
        let given = args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        let Some(given) = given else { return Ok(default.to_vec()) };
        Ok(given.split(',').map(str::parse).collect::<Result<_, _>>()?)
    };
    let first = |numbers: Vec<usize>| numbers.first().copied().unwrap_or(1);
    let pairs = first(numbers("pairs", &[5])?);
    let slice = Duration::from_millis(u64::try_from(first(numbers("ms", &[200])?))?);
    let place = Place::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target"), "rivals")?;
    let mut limit = Limit::new(place.path(), LIMIT_BYTES, Blocks::Written)?;
    println!(
        "{:>8} {:>7} {:>12} {:>10} {:>7} {:>9} {:>9} {:>7}",
        "bytes", "writers", "", "acks/s", "ratio", "p50 us", "p99 us", "others"
    );
    for size in numbers("sizes", &[100, 1 << 10, 16 << 10, 64 << 10, 1 << 20])? {
        for writers in numbers("writers", &[1, 16])? {
            round(&place, &mut limit, size, writers, pairs, slice)?;
        }
    }
    Ok(())
}

/// One size with one number of writers: everybody in turn, `pairs` times.
fn round(
    place: &Place,
    limit: &mut Limit,
    size: usize,
    writers: usize,
    pairs: usize,
    slice: Duration,
) -> Outcome {
    let dir = |name: &str| place.join(&format!("{name}-{size}-{writers}"));
    let mut rivals: Vec<(&str, Box<dyn Rival>)> = vec![
        ("oncelog", Box::new(Oncelog::open(&dir("oncelog"), size)?)),
        ("raft-engine", Box::new(Raft::open(&dir("raft-engine"), size)?)),
        ("rocksdb", Box::new(Rocks::open(&dir("rocksdb"), size)?)),
    ];
    let mut samples = vec![(Sample::default(), Vec::new()); rivals.len()];
    let mut bounds = Sample::default();
    let usage = Usage::now();
    for _ in 0..pairs {
        for ((_, rival), (sample, ratios)) in rivals.iter_mut().zip(&mut samples) {
            let bound = limit.run(size, slice / 2)?;
            let got = rival.run(writers, slice)?;
            ratios.push(got.rate() / bound.rate());
            sample.extend(&got);
            bounds.extend(&bound);
        }
    }
    let others = usage.percent_of_others();
    let limit = ("limit", &bounds, 1.0);
    let named = rivals.iter().zip(&samples);
    let rows = named.map(|((name, _), (sample, ratios))| (*name, sample, median(ratios)));
    for (name, sample, ratio) in std::iter::once(limit).chain(rows) {
        println!(
            "{size:>8} {writers:>7} {name:>12} {:>10.0} {ratio:>7.2} {:>9.0} {:>9.0} {others:>6}%",
            sample.rate(),
            sample.percentile_us(50),
            sample.percentile_us(99),
        );
    }
    Ok(())
}

/// Something that appends durably.
trait Rival {
    fn run(&mut self, writers: usize, slice: Duration) -> Outcome<Sample>;
}

struct Oncelog {
    log: Log,
    batch: bytes::Bytes,
    _engine: Engine,
}

impl Oncelog {
    fn open(dir: &Path, size: usize) -> Outcome<Self> {
        let engine = Engine::open(engine_options(dir))?;
        Ok(Self { log: create_log(&engine, "log", 0)?, batch: batch(size)?, _engine: engine })
    }
}

impl Rival for Oncelog {
    fn run(&mut self, writers: usize, slice: Duration) -> Outcome<Sample> {
        drive_log(&self.log, &self.batch, writers, slice)
    }
}

/// raft-engine with its files prepared ahead, which is its faster setting for small records.
struct Raft {
    engine: raft_engine::Engine,
    value: Vec<u8>,
    next: AtomicU64,
}

impl Raft {
    fn open(dir: &Path, size: usize) -> Outcome<Self> {
        let config = raft_engine::Config {
            dir: dir.to_string_lossy().into_owned(),
            batch_compression_threshold: raft_engine::ReadableSize(0),
            enable_log_recycle: true,
            prefill_for_recycle: true,
            prefill_limit: Some(raft_engine::ReadableSize::gb(1)),
            ..Default::default()
        };
        let engine = raft_engine::Engine::open(config)?;
        Ok(Self { engine, value: noise(size), next: AtomicU64::new(0) })
    }
}

impl Rival for Raft {
    fn run(&mut self, writers: usize, slice: Duration) -> Outcome<Sample> {
        drive(writers, slice, |_| (), |()| {
            let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let mut batch = raft_engine::LogBatch::default();
            batch.put(1, key.to_vec(), self.value.clone())?;
            self.engine.write(&mut batch, true)?;
            Ok(())
        })
    }
}

/// RocksDB, of which only the write-ahead log is of interest.
struct Rocks {
    db: rocksdb::DB,
    value: Vec<u8>,
    next: AtomicU64,
}

impl Rocks {
    fn open(dir: &Path, size: usize) -> Outcome<Self> {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        options.set_write_buffer_size(256 << 20);
        Ok(Self { db: rocksdb::DB::open(&options, dir)?, value: noise(size), next: AtomicU64::new(0) })
    }
}

impl Rival for Rocks {
    fn run(&mut self, writers: usize, slice: Duration) -> Outcome<Sample> {
        let mut options = rocksdb::WriteOptions::default();
        options.set_sync(true);
        let options = &options;
        drive(writers, slice, |_| (), |()| {
            let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            self.db.put_opt(key, &self.value, options)?;
            Ok(())
        })
    }
}
