//! Producers as of the end of segments that retention takes.
//!
//! Mostly they were written down when the last of those segments was sealed. They were not for a segment that a
//! recovery completed or that Kafka wrote, and where there are very many producers: then they are found
//! once more, from the nearest state before and the batches behind it, while the batches are there.

use super::STATE_BYTES_MAX;
use super::aborted::walk;
use super::states::restore;
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::log::LogInner;
use crate::log::append::stored_facts;
use crate::producer::{ProducerLimits, ProducerTable, RestoreAt};
use crate::segment::Segment;
use crate::segment::name::{FileKind, Suffix, parse_file_name, segment_file};
use crate::types::Offset;
use std::sync::Arc;

/// The bytes of a `.state` at `end`, where the last of `segments` ends; the first is the log's first.
///
/// # Complexity
/// The bytes between the nearest state and `end`.
pub(in crate::log) fn rebuild_state(
    log: &LogInner,
    segments: &[Arc<Segment>],
    end: Offset,
) -> Result<Vec<u8>> {
    let (limits, log_start) = {
        let state = log.state.lock();
        (LogInner::limits(&log.shared, &state.config), state.log_start)
    };
    let now_ms = log.clock().now_ms();
    let first = segments.first().map_or(end, |segment| segment.base());
    let (mut producers, from) = nearest(log, first, end, limits, RestoreAt { now_ms, log_start })?;
    for segment in segments.iter().filter(|segment| segment.end().is_some_and(|end| end > from)) {
        walk(segment, |batch| {
            let facts = stored_facts(batch)?;
            if facts.base_offset >= from {
                producers.apply(&facts, now_ms);
            }
            Ok(true)
        })?;
    }
    // Segments go below the log start, and that is replicated.
    producers.on_high_watermark(end);
    Ok(crate::producer::state::encode(&producers, end))
}

/// The newest whole state between `first` and `end`, and where it is as of.
fn nearest(
    log: &LogInner,
    first: Offset,
    end: Offset,
    limits: ProducerLimits,
    at: RestoreAt,
) -> Result<(ProducerTable, Offset)> {
    let failed = |e| Error::io(format!("read a state of {}", log.name), e);
    let mut candidates: Vec<(Offset, bool)> = Vec::new();
    for entry in log.storage().list_dir(&log.path).map_err(failed)? {
        match parse_file_name(&entry.name) {
            Some((offset, FileKind::State, Suffix::None)) => candidates.push((offset, true)),
            Some((offset, FileKind::Snapshot, Suffix::None)) => candidates.push((offset, false)),
            _ => {}
        }
    }
    candidates.retain(|(offset, _)| (first..=end).contains(offset));
    candidates.sort_unstable();
    while let Some((offset, ours)) = candidates.pop() {
        let kind = if ours { FileKind::State } else { FileKind::Snapshot };
        let path = log.path.join(segment_file(offset, kind));
        let bytes = checkpoint::read_file(log.storage().as_ref(), &path, STATE_BYTES_MAX);
        let Some(bytes) = bytes.map_err(failed)? else { continue };
        if let Some((table, _sums)) = restore(&bytes, (offset, ours), limits, at)? {
            return Ok((table, offset));
        }
    }
    Ok((ProducerTable::new(limits), first))
}
