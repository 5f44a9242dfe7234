//! Reads and opens under criterion; for ratios to a plain walk see the bench `report`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oncelog::{Engine, Isolation, Log, LogName, Offset, ReadOptions};
use oncelog_bench::load::{batch, create_log, engine_options};
use oncelog_bench::place::Place;
use std::hint::black_box;
use std::time::Duration;

const BATCH_BYTES: usize = 16 << 10;
const BATCHES: usize = 4096;

fn scan(log: &Log, verify: bool) -> usize {
    let mut options = ReadOptions::default();
    options.isolation = Isolation::ReadUncommitted;
    options.verify = verify;
    let (mut at, mut bytes) = (Offset::ZERO, 0);
    loop {
        let outcome = log.read(at, &options).expect("a read");
        if outcome.slices.is_empty() {
            return bytes;
        }
        bytes += outcome.slices.iter().map(bytes::Bytes::len).sum::<usize>();
        at = outcome.next_offset;
    }
}

fn reads(criterion: &mut Criterion) {
    let place = Place::new(env!("CARGO_TARGET_TMPDIR"), "read").expect("a directory on a disk");
    let engine = Engine::open(engine_options(&place.join("data"))).expect("an engine");
    let log = create_log(&engine, "read", 0).expect("a log");
    let batch = batch(BATCH_BYTES).expect("a batch");
    let mut last = None;
    for _ in 0..BATCHES {
        last = Some(log.append(&batch, &oncelog::AppendOptions::default()).expect("an append"));
    }
    last.expect("some").wait().expect("a flush");
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes((batch.len() * BATCHES) as u64));
    group.bench_function("copied", |bench| bench.iter(|| black_box(scan(&log, true))));
    log.roll();
    engine.tick();
    group.bench_function("mapped", |bench| bench.iter(|| black_box(scan(&log, true))));
    group.bench_function("mapped, not verified", |bench| {
        bench.iter(|| black_box(scan(&log, false)));
    });
    group.finish();
    engine.close().expect("a clean end");
}

fn opens(criterion: &mut Criterion) {
    let place = Place::new(env!("CARGO_TARGET_TMPDIR"), "open").expect("a directory on a disk");
    let dir = place.join("data");
    let engine = Engine::open(engine_options(&dir)).expect("an engine");
    let log = create_log(&engine, "open", 0).expect("a log");
    let batch = batch(BATCH_BYTES).expect("a batch");
    log.append(&batch, &oncelog::AppendOptions::default())
        .expect("an append")
        .wait()
        .expect("on disk");
    engine.close().expect("a clean end");
    drop((log, engine));
    let name = LogName::new("open", 0).expect("a name");
    criterion.bench_function("open after a clean close, and close", |bench| {
        bench.iter(|| {
            let engine = Engine::open(engine_options(&dir)).expect("an engine");
            black_box(engine.log(&name).expect("the log"));
            engine.close().expect("a clean end");
        });
    });
}

criterion_group!(benches, reads, opens);
criterion_main!(benches);
