//! Building the index of aborted transactions of one segment again, from the batches.
//!
//! A transaction may have begun in any earlier segment. How far back the walk must go is known from
//! Kafka's snapshot of the producers at a segment's beginning, which Kafka leaves at every one; or from
//! the last aborted transaction before the segment: its last stable offset says that nothing which
//! ended later began before it (T-9), so replaying from there with no producers known finds every
//! beginning. Without either the walk begins with the log; and a segment in which nothing was aborted
//! needs no walk but its own.

use crate::batch::MarkerKind;
use crate::error::{Error, Result};
use crate::index::{AbortedEntry, AbortedIndex};
use crate::log::append::stored_facts;
use crate::producer::{CompletedTxn, ProducerLimits, ProducerTable, RestoreAt};
use crate::segment::Segment;
use crate::segment::scan::{Scanner, Step, resync};
use crate::types::Offset;
use std::sync::Arc;

/// The index of the last of `segments`, which are the log's from its first one on.
///
/// # Complexity
/// The bytes from the oldest transaction that was open when the segment began.
pub(in crate::log) fn rebuild_aborted(
    segments: &[Arc<Segment>],
    limits: ProducerLimits,
) -> Result<AbortedIndex> {
    let Some(target) = segments.last() else { return Ok(AbortedIndex::new(Offset::ZERO)) };
    if !holds_abort(target)? {
        return Ok(AbortedIndex::new(target.base()));
    }
    let (from, mut producers) = beginning(segments, limits)?;
    let first = segments.partition_point(|s| s.base() <= from).saturating_sub(1);
    let mut aborted = AbortedIndex::new(target.base());
    for segment in &segments[first..] {
        aborted = replay(segment, from, &mut producers)?;
        // Only open transactions matter here; ended ones would pile up.
        producers.on_high_watermark(segment.end().unwrap_or(from));
    }
    Ok(aborted)
}

/// The last offset from which a replay finds the beginning of every transaction that ends in the last
/// segment, and the producers known there.
fn beginning(segments: &[Arc<Segment>], limits: ProducerLimits) -> Result<(Offset, ProducerTable)> {
    let nobody = || ProducerTable::new(limits);
    let at = RestoreAt { now_ms: 0, log_start: Offset::ZERO };
    for (back, segment) in segments.iter().rev().enumerate() {
        let known = if back == 0 { None } else { segment.aborted()? };
        if let Some(last) = known.as_ref().and_then(|aborted| aborted.entries().last()) {
            return Ok((last.last_stable_offset, nobody()));
        }
        let snapshot = segment.snapshot()?;
        let restored = snapshot.map(|s| ProducerTable::restore_snapshot(limits, &s, at));
        if let Some(Ok(producers)) = restored {
            return Ok((segment.base(), producers));
        }
    }
    Ok((Offset::ZERO, nobody()))
}

/// The index entry of an aborted transaction.
pub(super) fn aborted_entry(txn: &CompletedTxn) -> AbortedEntry {
    AbortedEntry {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
        last_offset: txn.last_offset,
        last_stable_offset: txn.last_stable_offset,
    }
}

fn holds_abort(segment: &Segment) -> Result<bool> {
    let mut found = false;
    walk(segment, |batch| {
        let marker = if batch.is_control() { batch.end_marker()? } else { None };
        found |= marker.is_some_and(|marker| marker.kind == MarkerKind::Abort);
        Ok(!found)
    })?;
    Ok(found)
}

/// The aborted transactions that end in `segment`, given the producers as of its beginning.
fn replay(segment: &Segment, from: Offset, producers: &mut ProducerTable) -> Result<AbortedIndex> {
    let mut aborted = AbortedIndex::new(segment.base());
    walk(segment, |batch| {
        let facts = stored_facts(batch)?;
        if facts.base_offset >= from
            && let Some(txn) = producers.apply(&facts, 0).filter(|txn| txn.aborted)
        {
            // Out of order only if the batches are, which the walk has ruled out.
            match aborted.append(aborted_entry(&txn)) {
                Ok(()) | Err(_) => {}
            }
        }
        Ok(true)
    })?;
    Ok(aborted)
}

/// Every right batch of a segment in order, until `visit` has seen enough.
pub(super) fn walk(
    segment: &Segment,
    mut visit: impl FnMut(&crate::batch::Batch<'_>) -> Result<bool>,
) -> Result<()> {
    let failed = |e| Error::io("rebuild a transaction index", e);
    let mut scanner = Scanner::new(segment.file()?, 0, segment.size());
    let mut expected = segment.base();
    loop {
        let at = scanner.position();
        let wants_more = match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } if batch.base_offset() >= expected => {
                expected = batch.last_offset().next();
                visit(&batch)?
            }
            Step::End => return Ok(()),
            Step::Batch { .. } | Step::Bad => {
                scanner.seek(at);
                resync(&mut scanner, expected).map_err(failed)?.is_some()
            }
        };
        if !wants_more {
            return Ok(());
        }
    }
}
