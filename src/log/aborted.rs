//! Which aborted transactions overlap what was read.

use super::LogInner;
use super::recover::rebuild_aborted;
use crate::error::Result;
use crate::index::AbortedIndex;
use crate::index::AbortedTxn;
use crate::segment::Segment;
use crate::types::Offset;
use std::sync::Arc;

impl LogInner {
    /// Aborted transactions that overlap `from..to`, sorted (T-15, T-21b).
    pub(super) fn aborted(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTxn>> {
        let mut found = Vec::new();
        if from >= to {
            return Ok(found);
        }
        let (segments, first) = {
            let state = self.state.lock();
            (state.segments.clone(), state.segment_for(from))
        };
        for index in first..segments.len() {
            let segment = &segments[index];
            let complete = if segment.end().is_some() {
                self.aborted_in(&segments[..=index])?.collect(from, to, &mut found)
            } else {
                self.collect_active(segment, from, to, &mut found)
            };
            if complete {
                break;
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The aborted transactions of the last of `segments`, found again if their file is of no use.
    fn aborted_in(&self, segments: &[Arc<Segment>]) -> Result<Arc<AbortedIndex>> {
        let segment = segments.last().expect("a read goes to at least one segment");
        if let Some(aborted) = segment.aborted()? {
            return Ok(aborted);
        }
        let limits = Self::limits(&self.shared, &self.state.lock().config);
        let rebuilt = segment.set_aborted(rebuild_aborted(segments, limits)?);
        self.store_aborted(segment, &rebuilt);
        Ok(rebuilt)
    }

    fn collect_active(
        &self,
        segment: &Segment,
        from: Offset,
        to: Offset,
        found: &mut Vec<AbortedTxn>,
    ) -> bool {
        let state = self.state.lock();
        let mut parts = state.rolled.iter().chain([&state.active]);
        let index: Option<&AbortedIndex> =
            parts.find(|part| part.segment.base() == segment.base()).map(|part| &part.aborted);
        index.is_some_and(|index| index.collect(from, to, found))
    }
}
