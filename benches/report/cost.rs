//! What deduplication, transactions, many producers and many logs cost, against one plain log.

use crate::Run;
use oncelog::{AppendOptions, Durability, Engine, Log, Origin};
use oncelog_bench::Outcome;
use oncelog_bench::load::{Producer, batch, create_log, drive, drive_log, engine_options, marker};
use oncelog_bench::stats::{Sample, median, range};

/// Alternates `plain` and `other`, and prints what the second costs per acknowledgement.
fn compare(
    run: &Run,
    what: &str,
    mut plain: impl FnMut() -> Outcome<Sample>,
    mut other: impl FnMut() -> Outcome<Sample>,
) -> Outcome {
    let (mut first, mut second) = (Sample::default(), Sample::default());
    let mut ratios = Vec::new();
    for _ in 0..run.pairs {
        let (a, b) = (plain()?, other()?);
        ratios.push(a.rate() / b.rate());
        first.extend(&a);
        second.extend(&b);
    }
    let (low, high) = range(&ratios);
    println!(
        "{what:<34} {:>9.0} {:>9.0} {:>6.3} {:>13} {:>7.0} {:>7.0}",
        first.rate(),
        second.rate(),
        median(&ratios),
        format!("[{low:.2} {high:.2}]"),
        first.percentile_us(50),
        second.percentile_us(50),
    );
    Ok(())
}

fn head() {
    println!(
        "{:<34} {:>9} {:>9} {:>6} {:>13} {:>7} {:>7}",
        "", "plain/s", "other/s", "cost", "[min max]", "p50 us", "p50 us"
    );
}

/// Idempotent and transactional appends against plain ones, staged only and durable.
pub(crate) fn dedup(run: &Run) -> Outcome {
    const MARKER_EVERY: usize = 100;
    head();
    let size = run.numbers("sizes", &[1 << 10])?.first().copied().unwrap_or(1 << 10);
    for (level, writers) in
        [(Durability::Staged, 1), (Durability::Durable, 1), (Durability::Durable, 16)]
    {
        for transactional in [false, true] {
            let engine = Engine::open(engine_options(
                &run.place.join(&format!("dedup-{level:?}-{writers}-{transactional}")),
            ))?;
            let logs = (create_log(&engine, "plain", 0)?, create_log(&engine, "other", 0)?);
            let mut options = AppendOptions::default();
            options.durability = Some(level);
            let mut control = AppendOptions::default();
            control.durability = Some(Durability::Staged);
            control.origin = Origin::Coordinator;
            let batches: Vec<_> = (0..writers)
                .map(|writer| Producer::new(i64::try_from(writer)?, size, transactional))
                .collect::<Outcome<_>>()?;
            let producers: Vec<_> = batches.into_iter().map(std::sync::Mutex::new).collect();
            let slice = if level == Durability::Staged { run.slice / 10 } else { run.slice };
            let settle = |log: &Log| -> Outcome {
                log.append(&batch(1)?, &AppendOptions::default())?.wait()?;
                Ok(())
            };
            // A plain batch is sealed again before each append too: the client's work, not the log's.
            let plain = || {
                let sample = drive(
                    writers,
                    slice,
                    |_| Producer::plain(size),
                    |batch| {
                        let batch = batch.as_mut().map_err(|e| e.to_string())?;
                        logs.0.append(batch.next(), &options)?.wait()?;
                        Ok(())
                    },
                )?;
                settle(&logs.0)?;
                Ok(sample)
            };
            let other = || {
                let sample = drive(
                    writers,
                    slice,
                    |writer| &producers[writer],
                    |producer: &mut &std::sync::Mutex<Producer>| {
                        let mut producer =
                            producer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        logs.1.append(producer.next(), &options)?.wait()?;
                        if transactional && producer.sent().is_multiple_of(MARKER_EVERY) {
                            logs.1.append(&marker(producer.id()), &control)?.wait()?;
                        }
                        Ok(())
                    },
                )?;
                settle(&logs.1)?;
                Ok(sample)
            };
            let kind = if transactional { "in transactions" } else { "idempotent" };
            compare(run, &format!("{kind}, {level:?}, {writers} writers"), plain, other)?;
            engine.close()?;
        }
    }
    Ok(())
}

/// One producer against a million that the log remembers.
pub(crate) fn producers(run: &Run) -> Outcome {
    head();
    let many = run.numbers("producers", &[1_000_000])?.first().copied().unwrap_or(1_000_000);
    let engine = Engine::open(engine_options(&run.place.join("producers")))?;
    let logs = (create_log(&engine, "one", 0)?, create_log(&engine, "many", 0)?);
    let mut staged = AppendOptions::default();
    staged.durability = Some(Durability::Staged);
    let mut producer = Producer::new(0, 1, false)?;
    for id in 0..many {
        producer.become_producer(i64::try_from(id)?);
        append_when_there_is_room(&logs.1, producer.next(), &staged)?;
    }
    logs.1.append(&batch(1)?, &AppendOptions::default())?.wait()?;
    for (level, writers) in [(Durability::Durable, 1), (Durability::Durable, 16)] {
        let mut options = AppendOptions::default();
        options.durability = Some(level);
        let round = std::sync::atomic::AtomicI64::new(i64::try_from(writers)? * 1_000_000);
        let one = || {
            let fresh = round.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
            drive(
                writers,
                run.slice,
                |writer| {
                    Producer::new(
                        10_000_000 + fresh + i64::try_from(writer).unwrap_or(0),
                        1024,
                        false,
                    )
                },
                |producer| {
                    let producer = producer.as_mut().map_err(|e| e.to_string())?;
                    logs.0.append(producer.next(), &options)?.wait()?;
                    Ok(())
                },
            )
        };
        // Every append is a different producer's, all over the table.
        let each = i64::try_from(many / writers)?;
        let turn = std::sync::atomic::AtomicI64::new(i64::try_from(writers)?);
        let other = || {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            drive(
                writers,
                run.slice,
                |writer| {
                    (
                        Producer::new(0, 1024, false),
                        i64::try_from(writer).unwrap_or(0) * each,
                        0_i64,
                    )
                },
                |(producer, first, nth)| {
                    let producer = producer.as_mut().map_err(|e| e.to_string())?;
                    *nth += 1;
                    producer.become_producer(*first + (*nth * 7919 + turn) % each);
                    producer.next_epoch(i16::try_from(turn)?);
                    logs.1.append(producer.next(), &options)?.wait()?;
                    Ok(())
                },
            )
        };
        compare(run, &format!("{many} producers, {writers} writers"), one, other)?;
    }
    engine.close()?;
    Ok(())
}

fn append_when_there_is_room(log: &Log, batch: &[u8], options: &AppendOptions) -> Outcome {
    loop {
        match log.append(batch, options) {
            Ok(ticket) => {
                ticket.wait()?;
                return Ok(());
            }
            Err(e) if matches!(e.kind(), oncelog::ErrorKind::Busy) => std::thread::yield_now(),
            Err(e) => return Err(e.into()),
        }
    }
}

/// One log against many, every append to another one.
pub(crate) fn logs(run: &Run) -> Outcome {
    head();
    let batch = batch(1 << 10)?;
    for count in run.numbers("logs", &[100, 10_000])? {
        let mut options = engine_options(&run.place.join(&format!("logs-{count}")));
        options.backend = run.backend();
        let engine = Engine::open(options)?;
        let one = create_log(&engine, "one", 0)?;
        let mut many = Vec::new();
        for partition in 0..count {
            many.push(create_log(&engine, "many", i32::try_from(partition)?)?);
        }
        let options = AppendOptions::default();
        // Every log has been written to before: a file's first blocks are no running cost.
        for _ in 0..run.numbers("warm", &[2])?.first().copied().unwrap_or(2) {
            let mut tickets = Vec::new();
            for log in &many {
                tickets.push(log.append(&batch, &options)?);
            }
            for ticket in tickets {
                ticket.wait()?;
            }
        }
        for writers in run.numbers("writers", &[1, 16])? {
            let turn = std::sync::atomic::AtomicUsize::new(0);
            compare(
                run,
                &format!("{count} logs, {writers} writers"),
                || drive_log(&one, &batch, writers, run.slice),
                || {
                    drive(
                        writers,
                        run.slice,
                        |_| (),
                        |()| {
                            let nth = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            many[nth * 7919 % count].append(&batch, &options)?.wait()?;
                            Ok(())
                        },
                    )
                },
            )?;
        }
        engine.close()?;
    }
    Ok(())
}
