//! Reading a log from end to end, in every mode, against a plain walk over a map of its file.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and opens files")]

use crate::Run;
use bytes::Bytes;
use oncelog::batch::Batch;
use oncelog::io::os::StdStorage;
use oncelog::io::{OpenMode, Storage};
use oncelog::{AppendOptions, Durability, Engine, Isolation, Log, LogName, Offset, ReadOptions};
use oncelog_bench::Outcome;
use oncelog_bench::load::{batch, create_log, engine_options};
use oncelog_bench::stats::{median, range};
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

/// Everything in the log, `max_bytes` at a time; the bytes that were read.
fn scan(log: &Log, verify: bool) -> Outcome<u64> {
    let mut options = ReadOptions::default();
    options.isolation = Isolation::ReadUncommitted;
    options.verify = verify;
    let (mut at, mut bytes) = (log.offsets().log_start_offset, 0);
    loop {
        let outcome = log.read(at, &options)?;
        if outcome.slices.is_empty() {
            return Ok(bytes);
        }
        for slice in &outcome.slices {
            // A reader looks at the headers at least.
            let mut rest = slice.as_ref();
            while let Ok((batch, after)) = Batch::parse(rest) {
                black_box(batch.last_offset());
                rest = after;
            }
            bytes += slice.len() as u64;
        }
        at = outcome.next_offset;
    }
}

/// A map of a file, as the engine makes one of a sealed segment.
fn map(path: &Path) -> Outcome<Bytes> {
    let file = StdStorage::new("walk").open(path, OpenMode::Read, false)?;
    Ok(file.map(usize::try_from(file.len()?)?)?.ok_or("no maps here")?)
}

/// The same over a map, with nothing between: the bound of what a scan can reach.
fn walk(map: &[u8], verify: bool) -> Outcome<u64> {
    let mut rest = map;
    let mut bytes = 0;
    while let Ok((batch, after)) = Batch::parse(rest) {
        black_box(batch.last_offset());
        if verify && !black_box(batch.is_crc_valid()) {
            return Err("a wrong checksum".into());
        }
        bytes += batch.size() as u64;
        rest = after;
    }
    Ok(bytes)
}

/// Asks the kernel to forget a file's pages.
fn forget(path: &Path) -> Outcome {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

fn row(
    what: &str,
    pairs: usize,
    mut plain: impl FnMut() -> Outcome<u64>,
    mut ours: impl FnMut() -> Outcome<u64>,
) -> Outcome {
    let timed = |run: &mut dyn FnMut() -> Outcome<u64>| -> Outcome<f64> {
        let before = Instant::now();
        let bytes = run()?;
        Ok(f64::from(u32::try_from(bytes >> 10)?) * 1024.0 / before.elapsed().as_secs_f64() / 1e9)
    };
    let (mut plains, mut all, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (a, b) = (timed(&mut plain)?, timed(&mut ours)?);
        plains.push(a);
        all.push(b);
        ratios.push(b / a);
    }
    let (low, high) = range(&ratios);
    println!(
        "{what:<34} {:>9.2} {:>9.2} {:>6.2} {:>13}",
        median(&plains),
        median(&all),
        median(&ratios),
        format!("[{low:.2} {high:.2}]")
    );
    Ok(())
}

/// Fills a log with `mib` MiB of batches of `size` bytes.
pub(crate) fn fill(log: &Log, size: usize, mib: usize) -> Outcome {
    let batch = batch(size)?;
    let mut options = AppendOptions::default();
    for nth in 1..=(mib << 20) / batch.len() {
        let level = if nth.is_multiple_of(64) { Durability::Durable } else { Durability::Staged };
        options.durability = Some(level);
        log.append(&batch, &options)?.wait()?;
    }
    log.append(&batch, &AppendOptions::default())?.wait()?;
    Ok(())
}

/// Every mode.
pub(crate) fn read(run: &Run) -> Outcome {
    let mib = run.numbers("mib", &[512])?.first().copied().unwrap_or(512);
    println!(
        "{:<34} {:>9} {:>9} {:>6} {:>13}  GB/s, {mib} MiB",
        "", "walk", "oncelog", "ratio", "[min max]"
    );
    for size in run.numbers("sizes", &[1 << 10, 16 << 10, 64 << 10])? {
        let dir = run.place.join(&format!("read-{size}"));
        let engine = Engine::open(engine_options(&dir))?;
        let log = create_log(&engine, "read", 0)?;
        fill(&log, size, mib)?;
        log.roll();
        engine.tick();
        let path = dir.join("read-0").join(format!("{:020}.log", 0));
        let mapped = map(&path)?;
        for verify in [false, true] {
            let kind = if verify { "verified" } else { "not verified" };
            row(
                &format!("mapped, warm, {size} B, {kind}"),
                run.pairs,
                || walk(&mapped, verify),
                || scan(&log, verify),
            )?;
        }
        engine.close()?;
        drop((mapped, log, engine));
        row(
            &format!("mapped, cold, {size} B, with open"),
            3,
            || {
                forget(&path)?;
                walk(&map(&path)?, true)
            },
            || {
                forget(&path)?;
                let engine = Engine::open(engine_options(&dir))?;
                let bytes = scan(&engine.log(&LogName::new("read", 0)?)?, true)?;
                engine.close()?;
                Ok(bytes)
            },
        )?;
        // Not rolled: the same bytes in the active segment, copied out of its file.
        let dir = run.place.join(&format!("copied-{size}"));
        let engine = Engine::open(engine_options(&dir))?;
        let log = create_log(&engine, "read", 0)?;
        fill(&log, size, mib)?;
        let copy = dir.join("read-0").join(format!("{:020}.log", 0));
        let mapped = map(&copy)?;
        row(
            &format!("copied, warm, {size} B"),
            run.pairs,
            || walk(&mapped, true),
            || scan(&log, true),
        )?;
        drop(mapped);
        row(
            &format!("copied, cold, {size} B"),
            3,
            || {
                forget(&copy)?;
                walk(&map(&copy)?, true)
            },
            || {
                forget(&copy)?;
                scan(&log, true)
            },
        )?;
        tail(run, &log, size, &map(&copy)?)?;
        engine.close()?;
    }
    Ok(())
}

/// The last mebibyte, which is in memory, over and over.
fn tail(run: &Run, log: &Log, size: usize, mapped: &[u8]) -> Outcome {
    let end = log.offsets().high_watermark.get();
    let from = end - i64::try_from((1 << 20) / (size + 80))?;
    let mut options = ReadOptions::default();
    options.max_bytes = 8 << 20;
    row(
        &format!("tail, {size} B"),
        run.pairs,
        || walk(mapped, true),
        || {
            let mut bytes = 0;
            for _ in 0..200 {
                let outcome = log.read(Offset::new(from), &options)?;
                bytes += outcome.slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
            }
            Ok(bytes)
        },
    )
}
