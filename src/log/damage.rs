//! Damage that a read is the first to meet: from where to where it reaches.
//!
//! The walk that met it knows only that no right batch begins where one should. A caller needs to know
//! where to go on, and the way there must not lead through the damage again. So the next right batch
//! is looked for in the file, as recovery does, and the range between is remembered.

use super::LogInner;
use super::inner::DamagedRange;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::Segment;
use crate::segment::scan::{Scanner, Step, resync};
use crate::types::Offset;
use std::ops::Range;

impl LogInner {
    /// `met`, with the range that the damage takes of what is between two positions of the segment's
    /// file; as it is, if there is none. The range ends above `offset`: a reader who goes on there
    /// gets somewhere.
    pub(super) fn measured(
        &self,
        met: Error,
        segment: &Segment,
        positions: Range<u64>,
        offset: Offset,
    ) -> Error {
        if !matches!(met.kind(), ErrorKind::Corrupt { .. }) {
            return met;
        }
        // If looking fails, the read's own words are the best there is.
        let Ok(Some(range)) = measure(segment, positions, offset) else { return met };
        let mut state = self.state.lock();
        let at = state.damaged.partition_point(|known| known.next <= range.first);
        if state.damaged.get(at).is_none_or(|known| known.first >= range.next) {
            state.damaged.insert(at, range);
        }
        drop(state);
        let DamagedRange { first, next, .. } = range;
        let context =
            format!("the stored bytes of {} from {first} to {next} are damaged", self.name);
        Error::new(ErrorKind::Corrupt { first, next }, context)
    }
}

/// From where the batches that a walk finds right end to where the next one behind that begins.
fn measure(
    segment: &Segment,
    positions: Range<u64>,
    offset: Offset,
) -> Result<Option<DamagedRange>> {
    let failed = |e| Error::io("look behind damage", e);
    let mut scanner = Scanner::new(segment.file()?, positions.start, positions.end);
    let mut first = if positions.start == 0 { segment.base() } else { offset };
    loop {
        match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } => first = batch.next_offset(),
            Step::Bad if first <= offset => break,
            // Every batch up to the offset is right now.
            Step::Bad | Step::End => return Ok(None),
        }
    }
    let position = scanner.position();
    let (next, end_position) = match resync(&mut scanner, first).map_err(failed)? {
        Some(next) => (next, scanner.position()),
        None => match segment.end() {
            Some(end) => (end, positions.end),
            // What follows is in memory; where it begins is not known here.
            None => return Ok(None),
        },
    };
    let segment_base = segment.base();
    let range = DamagedRange { first, next, segment_base, position, end_position };
    Ok(Some(range).filter(|range| range.next > offset))
}
