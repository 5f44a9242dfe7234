//! From walked segments to the log's rolled and active ones; what lies behind a torn tail goes.

use super::damage::{leftover_bytes, trailer_behind};
use super::loader::Loader;
use super::walk::Walk;
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, Result};
use crate::io::{BLOCK_BYTES, OpenMode};
use crate::log::inner::Active;
use crate::log::tail::{Tail, block_floor};
use crate::segment::Segment;
use crate::segment::name::{FileKind, segment_file};
use crate::segment::trailer::{TRAILER_BYTES, Trailer, padded_end};
use crate::types::Offset;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

impl Loader {
    /// Removes segments that begin behind a torn tail: nothing in them was acknowledged.
    pub(super) fn drop_segments(&mut self, bases: &[Offset]) -> Result<()> {
        for base in bases.iter().rev() {
            let storage = Arc::clone(&self.source.shared.io.storage);
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let failed = |e| Error::io(format!("remove {}", path.display()), e);
            let len = storage.open(&path, OpenMode::Read, false).and_then(|f| f.len());
            self.report.cut_bytes += len.map_err(failed)?;
            Segment::active(storage, Arc::clone(&self.source.path), *base, None)
                .remove_files()
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Removes snapshots of batches that are not there. A snapshot that ran ahead of the disk was not
    /// believed, and after the next orderly close it would be.
    pub(super) fn drop_snapshots(&self, snapshots: &[Offset]) -> Result<()> {
        let storage = &self.source.shared.io.storage;
        let failed = |e| Error::io(format!("remove a snapshot of {}", self.source.name), e);
        let ahead = snapshots.partition_point(|offset| *offset <= self.expected);
        for offset in &snapshots[ahead..] {
            let name = segment_file(*offset, FileKind::Snapshot);
            storage.remove_file(&self.source.path.join(name)).map_err(failed)?;
        }
        if ahead < snapshots.len() {
            storage.sync_dir(&self.source.path).map_err(failed)?;
        }
        Ok(())
    }

    /// A walked segment that is not the last one.
    pub(super) fn finish_rolled(&mut self, mut walk: Walk, end: Offset) {
        walk.indexer.close();
        let largest = walk.indexer.max_timestamp().map_or(-1, |(timestamp, _)| timestamp);
        let segment = Arc::new(Segment::active(
            Arc::clone(&self.source.shared.io.storage),
            Arc::clone(&self.source.path),
            walk.base,
            Some(Arc::clone(&walk.file)),
        ));
        segment.set_size(walk.end);
        segment.set_largest_timestamp_ms(largest, walk.indexer.is_max_timestamp_confirmed());
        let (indexes, aborted) = walk.into_indexes();
        segment.roll(end, indexes, aborted);
        self.expected = self.expected.max(end);
        self.to_seal.push(Arc::clone(&segment));
        self.segments.push(segment);
    }

    /// Sees to it that something says behind the last batch that everything before it is durable, and
    /// returns where that ends.
    ///
    /// The trailers that told damage from a torn end lie in what is cut. Without one the next recovery
    /// would take a bit that rots meanwhile for the torn end, and all behind it would be lost.
    fn restate_end(&self, walk: &Walk) -> Result<u64> {
        let failed = |e| Error::io(format!("recover {}", self.source.name), e);
        if self.durable_to >= self.expected {
            // A state file says so.
            return Ok(walk.end);
        }
        let end = padded_end(walk.end);
        let stated = trailer_behind(walk.file.as_ref(), walk.base, walk.end).map_err(failed)?;
        let is_stated = stated.is_some_and(|trailer| trailer.durable_end >= self.expected);
        if is_stated && walk.len > end {
            return Ok(end);
        }
        if walk.len == end {
            // The length may be one whose flush failed: only a change makes the next flush keep it.
            walk.file.set_len(walk.end).map_err(failed)?;
        }
        self.make_durable()?;
        let trailer = Trailer {
            segment_base: walk.base,
            durable_end: self.expected,
            group_end: self.expected,
            group_end_position: walk.end,
        };
        let len = usize::try_from(end - walk.end).unwrap_or(0);
        let mut padding = vec![0; len];
        padding[len - TRAILER_BYTES..].copy_from_slice(&trailer.encode());
        let path = self.source.path.join(segment_file(walk.base, FileKind::Log));
        let storage = &self.source.shared.io.storage;
        let file = storage.open(&path, OpenMode::Write, false).map_err(failed)?;
        file.write_at(&padding, walk.end).and_then(|()| file.sync()).map_err(failed)?;
        Ok(end)
    }

    /// The walked last segment becomes the active one; what lies behind its data goes.
    pub(super) fn finish_active(&mut self, walk: Walk) -> Result<Active> {
        let failed = |e| Error::io(format!("recover {}", self.source.name), e);
        if walk.end < walk.len {
            self.report.cut_bytes += leftover_bytes(&walk).map_err(failed)?;
        }
        let kept = self.restate_end(&walk)?;
        if kept < walk.len {
            // Durable before the first append (by `make_durable`): what is cut must not come back
            // behind it.
            walk.file.set_len(kept).map_err(failed)?;
        }
        let prefix_start = block_floor(walk.end);
        let mut prefix = vec![0; usize::try_from(walk.end - prefix_start).unwrap_or(0)];
        let mut filled = 0;
        while filled < prefix.len() {
            let at = prefix_start + filled as u64;
            match walk.file.read_at(&mut prefix[filled..], at).map_err(failed)? {
                0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                read => filled += read,
            }
        }
        let segment = Arc::new(Segment::active(
            Arc::clone(&self.source.shared.io.storage),
            Arc::clone(&self.source.path),
            walk.base,
            Some(Arc::clone(&walk.file)),
        ));
        segment.set_size(walk.end);
        // Who appends opens it again; a log that is only there holds no descriptor.
        segment.release();
        self.segments.push(Arc::clone(&segment));
        Ok(Active {
            segment,
            tail: Tail::new(walk.end, Bytes::from(prefix)),
            written: walk.end,
            durable: walk.end,
            prepared: walk.end.next_multiple_of(BLOCK_BYTES as u64),
            first_timestamp_ms: walk.first_timestamp_ms,
            created_ms: self.source.shared.io.clock.now_ms(),
            indexer: walk.indexer,
            aborted: walk.aborted,
        })
    }

    /// The log start offset lies behind the log's end: nothing in it is of use any more.
    pub(super) fn restart_at(&mut self, log_start: Offset) -> Result<Active> {
        let failed = |e| Error::io(format!("restart {}", self.source.name), e);
        for segment in self.segments.drain(..) {
            segment.remove_files().map_err(failed)?;
        }
        self.producers.clear();
        self.epochs = LeaderEpochCache::default();
        self.damaged.clear();
        self.to_seal.clear();
        self.expected = log_start;
        self.fresh_active(log_start)
    }

    pub(super) fn fresh_active(&mut self, base: Offset) -> Result<Active> {
        let failed = |e| Error::io(format!("create a segment of {}", self.source.name), e);
        let storage = Arc::clone(&self.source.shared.io.storage);
        let dir = Arc::clone(&self.source.path);
        let segment = Arc::new(Segment::active(storage, dir, base, None));
        segment.create_file().map_err(failed)?;
        segment.release();
        self.source.shared.io.storage.sync_dir(&self.source.path).map_err(failed)?;
        self.segments.push(Arc::clone(&segment));
        let now_ms = self.source.shared.io.clock.now_ms();
        Ok(Active::empty(segment, self.source.config.index_interval_bytes, now_ms))
    }
}
