//! Durable appends against flushed writes of the same size.

use crate::Run;
use oncelog::Engine;
use oncelog_bench::Outcome;
use oncelog_bench::foreign::Usage;
use oncelog_bench::limit::{Blocks, Limit};
use oncelog_bench::load::{batch, create_log, drive_log, drive_log_tasks, engine_options};
use oncelog_bench::stats::{Sample, median, range};

const SIZES: [usize; 5] = [100, 1 << 10, 16 << 10, 64 << 10, 1 << 20];
const WRITERS: [usize; 4] = [1, 4, 16, 64];
const LIMIT_BYTES: u64 = 1 << 30;

/// The disk by itself, with the blocks of the file in three states.
pub(crate) fn limits(run: &Run) -> Outcome {
    const STATES: [Blocks; 3] = [Blocks::Written, Blocks::Allocated, Blocks::Missing];
    println!("{:>9} {:>12} {:>12} {:>12}  writes/s", "bytes", "written", "allocated", "missing");
    for size in run.numbers("sizes", &SIZES)? {
        let mut files = Vec::new();
        for blocks in STATES {
            files.push(Limit::new(run.place.path(), LIMIT_BYTES * 4, blocks)?);
        }
        let mut rates = [const { Vec::new() }; STATES.len()];
        for _ in 0..run.pairs {
            for (file, rates) in files.iter_mut().zip(&mut rates) {
                rates.push(file.run(size, run.slice)?.rate());
            }
        }
        let [written, allocated, missing] = rates.map(|rates| median(&rates));
        println!("{size:>9} {written:>12.0} {allocated:>12.0} {missing:>12.0}");
    }
    Ok(())
}

/// Every size with every number of writers, against the limit of one writer.
pub(crate) fn durable(run: &Run) -> Outcome {
    let mut limit = Limit::new(run.place.path(), LIMIT_BYTES, Blocks::Written)?;
    let mut options = engine_options(&run.place.join("data"));
    options.backend = run.backend();
    let engine = Engine::open(options)?;
    let info = engine.storage_info();
    println!("backend {} ({})", info.backend, info.reason);
    println!(
        "{:>8} {:>7} {:>9} {:>9} {:>6} {:>13} {:>8} {:>8} {:>8} {:>8} {:>7} {:>6}",
        "bytes",
        "writers",
        "limit/s",
        "acks/s",
        "ratio",
        "[min max]",
        "lim p50",
        "lim p99",
        "p50 us",
        "p99 us",
        "MB/s",
        "others"
    );
    // Threads that block, or tasks of one thread that await.
    let drive = if run.word("as") == Some("tasks") { drive_log_tasks } else { drive_log };
    let mut partition = 0;
    for size in run.numbers("sizes", &SIZES)? {
        let batch = batch(size)?;
        for writers in run.numbers("writers", &WRITERS)? {
            let log = create_log(&engine, "durable", partition)?;
            partition += 1;
            let (mut ours, mut theirs) = (Sample::default(), Sample::default());
            let mut ratios = Vec::new();
            drive(&log, &batch, writers, run.slice / 2)?;
            let usage = Usage::now();
            for _ in 0..run.pairs {
                let bound = limit.run(size, run.slice)?;
                let got = drive(&log, &batch, writers, run.slice)?;
                ratios.push(got.rate() / bound.rate());
                theirs.extend(&bound);
                ours.extend(&got);
            }
            let (low, high) = range(&ratios);
            println!(
                "{size:>8} {writers:>7} {:>9.0} {:>9.0} {:>6.2} {:>13} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>7.0} {:>5}%",
                theirs.rate(),
                ours.rate(),
                median(&ratios),
                format!("[{low:.2} {high:.2}]"),
                theirs.percentile_us(50),
                theirs.percentile_us(99),
                ours.percentile_us(50),
                ours.percentile_us(99),
                ours.rate() * f64::from(u32::try_from(size)?) / 1e6,
                usage.percent_of_others(),
            );
            engine.delete_log(log.name())?;
        }
    }
    engine.close()?;
    Ok(())
}
