//! The verdict: one log's answers against its model.

use crate::model::{Model, Staged};
use oncelog::batch::{Batch, DecodeLimits};
use oncelog::{AppendOptions, Isolation, Log, Offset, ReadOptions};

/// After a recovery: the log is what the model allows, reads and retries are answered as it says.
pub(crate) fn after_recovery(log: &Log, model: &mut Model) -> Result<(), String> {
    let offsets = log.offsets();
    model.recover_to(offsets.log_start_offset.get(), offsets.log_end_offset.get())?;
    reads(log, model, model.start)?;
    batches(log, model)?;
    for pid in 1..=4 {
        let last_five: Vec<Staged> = model.data_of(pid).rev().take(5).cloned().collect();
        for batch in last_five {
            let appended = log
                .append(&batch.bytes, &AppendOptions::default())
                .map_err(|e| format!("after recovery, retry of {batch:?}: {e:?}"))?
                .appended();
            if !appended.duplicate || appended.base_offset.get() != batch.base {
                return Err(format!("after recovery, retry of {batch:?} gave {appended:?}"));
            }
        }
    }
    Ok(())
}

/// Readers of both kinds see from `from` on what the model says.
pub(crate) fn reads(log: &Log, model: &mut Model, from: i64) -> Result<(), String> {
    let offsets = log.offsets();
    let start = offsets.log_start_offset.get();
    let high_watermark = offsets.high_watermark.get();
    model.seen_end = model.seen_end.max(high_watermark);
    let last_stable = model.last_stable(high_watermark, start);
    if offsets.last_stable_offset.get() != last_stable {
        return Err(format!("{offsets:?}, but the last stable offset is {last_stable}"));
    }
    let bounds =
        [(Isolation::ReadUncommitted, high_watermark), (Isolation::ReadCommitted, last_stable)];
    for (isolation, bound) in bounds {
        let committed = isolation == Isolation::ReadCommitted;
        let expected = model.values(from, bound, committed);
        let found = values(log, from, isolation)?;
        if found != expected {
            let short = |v: &[(i64, String)]| -> Vec<i64> { v.iter().map(|x| x.0).collect() };
            return Err(format!(
                "{isolation:?} from {from} to {bound}: read {:?}, expected {:?}",
                short(&found),
                short(&expected)
            ));
        }
    }
    Ok(())
}

/// Every stored batch, markers too, has the bytes that were appended: all behind the base offset,
/// the length and the leader epoch, which are the log's to set.
fn batches(log: &Log, model: &Model) -> Result<(), String> {
    /// The attributes follow magic and checksum; everything from the magic on is the producer's.
    const OWN_BYTES: usize = 16;
    let (start, high_watermark) = (model.start, log.offsets().high_watermark.get());
    let mut expected = model.batches.iter().filter(|b| b.last >= start && b.base < high_watermark);
    let mut from = start;
    loop {
        let outcome = log
            .read(Offset::new(from), &ReadOptions::default())
            .map_err(|e| format!("read at {from}: {e:?}"))?;
        if outcome.slices.is_empty() {
            return expected.next().map_or(Ok(()), |missing| Err(format!("missing {missing:?}")));
        }
        for slice in &outcome.slices {
            let mut rest = slice.as_ref();
            while let Ok((batch, after)) = Batch::parse(rest) {
                let Some(staged) = expected.next() else {
                    return Err(format!("a batch too many at {}", batch.base_offset()));
                };
                let same = batch.as_bytes()[OWN_BYTES..] == staged.bytes[OWN_BYTES..];
                if batch.base_offset().get() != staged.base || !same {
                    return Err(format!("{staged:?} has other bytes"));
                }
                rest = after;
            }
        }
        from = outcome.next_offset.get();
    }
}

/// What a reader of `isolation` sees from `from` on.
pub(crate) fn values(
    log: &Log,
    from: i64,
    isolation: Isolation,
) -> Result<Vec<(i64, String)>, String> {
    let mut out = Vec::new();
    let failed = |e: oncelog::Error| format!("{isolation:?} read from {from}: {e:?}");
    for stored in log.batches(Offset::new(from), isolation) {
        let stored = stored.map_err(failed)?;
        let records = stored.batch().records(&DecodeLimits::default()).map_err(failed)?;
        for record in records.iter() {
            let record = record.map_err(failed)?;
            let value = record.value().unwrap_or_default().to_vec();
            out.push((record.offset().get(), String::from_utf8(value).map_err(|e| e.to_string())?));
        }
    }
    Ok(out)
}
