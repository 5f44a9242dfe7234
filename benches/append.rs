//! Appends under criterion: the limit, durable appends, written and staged ones.
//!
//! For ratios and percentiles see the bench `report`, which alternates with the limit.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oncelog::{AppendOptions, Durability, Engine, Log};
use oncelog_bench::limit::{Blocks, Limit};
use oncelog_bench::load::{batch, create_log, engine_options};
use oncelog_bench::place::Place;
use std::thread;
use std::time::{Duration, Instant};

const SIZES: [usize; 5] = [100, 1 << 10, 16 << 10, 64 << 10, 1 << 20];
const WRITERS: [u64; 4] = [1, 4, 16, 64];

/// `count` appends by `writers` threads together; how long that took.
fn append(log: &Log, batch: &[u8], level: Durability, writers: u64, count: u64) -> Duration {
    let mut options = AppendOptions::default();
    options.durability = Some(level);
    let some = |count: u64| {
        for _ in 0..count {
            // Refused while too much is staged: the caller's turn to wait for the disk.
            while log.append(batch, &options).and_then(oncelog::AppendTicket::wait).is_err() {
                thread::yield_now();
            }
        }
    };
    let started = Instant::now();
    thread::scope(|scope| {
        for writer in 0..writers {
            let share = count / writers + u64::from(writer < count % writers);
            scope.spawn(move || some(share));
        }
    });
    started.elapsed()
}

fn appends(criterion: &mut Criterion) {
    let place = Place::new(env!("CARGO_TARGET_TMPDIR"), "append").expect("a directory on a disk");
    let engine = Engine::open(engine_options(&place.join("data"))).expect("an engine");
    let mut limit = Limit::new(place.path(), 1 << 30, Blocks::Written).expect("a file");
    for size in SIZES {
        let batch = batch(size).expect("a batch");
        let mut group = criterion.benchmark_group(format!("append/{size}"));
        group.sample_size(10).measurement_time(Duration::from_secs(1));
        group.warm_up_time(Duration::from_millis(200));
        group.throughput(Throughput::Bytes(size as u64));
        let block = oncelog::io::buf::AlignedBuf::new(size.next_multiple_of(4096));
        group.bench_function("limit", |bench| {
            bench.iter(|| limit.write(&block).expect("a write"));
        });
        let mut run = |level: Durability, writers: u64| {
            let log = create_log(&engine, "append", 0).expect("a log");
            group.bench_function(BenchmarkId::new(format!("{level:?}"), writers), |bench| {
                bench.iter_custom(|count| append(&log, &batch, level, writers, count));
            });
            engine.delete_log(log.name()).expect("the log was there");
        };
        WRITERS.into_iter().for_each(|writers| run(Durability::Durable, writers));
        run(Durability::Written, 1);
        run(Durability::Staged, 1);
        group.finish();
    }
    engine.close().expect("a clean end");
}

criterion_group!(benches, appends);
criterion_main!(benches);
