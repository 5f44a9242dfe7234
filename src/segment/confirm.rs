//! Index files carry no checksum (they are Kafka's), so what one says is believed only after the
//! batch it points at said the same. What does not hold makes the indexes be built again from the
//! data, once; a batch that is still wrong then is damage of its own.

use super::scan::{self, Scanner, Step};
use super::{Indexes, Segment};
use crate::error::{Error, Result};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

impl Segment {
    /// Where a walk to `offset` may begin: no batch before it reaches `offset`.
    ///
    /// # Complexity
    /// O(log n), and one batch of an index that was read from its file.
    pub(crate) fn locate(&self, offset: Offset, index_interval_bytes: u32) -> Result<u64> {
        let indexes = self.indexes(index_interval_bytes)?;
        let (_, position) = indexes.offsets.lookup(offset);
        let position = u64::from(position);
        if position == 0 || indexes.is_own || self.begins_before(position, offset)? {
            return Ok(position);
        }
        let indexes = self.rebuild(index_interval_bytes)?;
        Ok(u64::from(indexes.offsets.lookup(offset).1))
    }

    /// An offset that every record later than `timestamp_ms` lies behind, `None` for the whole
    /// segment.
    pub(crate) fn time_floor(
        &self,
        timestamp_ms: i64,
        index_interval_bytes: u32,
    ) -> Result<Option<Offset>> {
        let indexes = self.indexes(index_interval_bytes)?;
        let Some(entry) = indexes.times.lookup(timestamp_ms) else { return Ok(None) };
        if indexes.is_own || self.is_entry_right(&indexes, entry)? {
            return Ok(Some(entry.1));
        }
        let indexes = self.rebuild(index_interval_bytes)?;
        Ok(indexes.times.lookup(timestamp_ms).map(|(_, offset)| offset))
    }

    /// The largest record timestamp as the batches have it. Retention asks before it removes the
    /// segment for its age, a search by time before it passes the segment over: a damaged index must
    /// not cost data, or hide it.
    ///
    /// # Complexity
    /// Once per segment that was found on disk: the batches behind its last time index entry, or
    /// all of them if that entry is missing or wrong.
    pub(crate) fn confirm_largest_timestamp(&self, index_interval_bytes: u32) -> Result<i64> {
        if !self.is_timestamp_confirmed() {
            let indexes = self.indexes(index_interval_bytes)?;
            let largest = match indexes.times.last() {
                Some(entry) if self.is_entry_right(&indexes, entry)? => {
                    let (_, position) = indexes.offsets.lookup(entry.1);
                    self.largest_from(u64::from(position))?.max(entry.0)
                }
                _ => self.largest_from(0)?,
            };
            self.set_largest_timestamp_ms(largest, true);
        }
        Ok(self.largest_timestamp_ms())
    }

    /// Whether a right batch at `position` begins at or before `offset`.
    fn begins_before(&self, position: u64, offset: Offset) -> Result<bool> {
        let mut scanner = Scanner::new(self.file()?, position, self.size()).with_small_window();
        Ok(match scanner.step().map_err(|e| self.failed(e))? {
            Step::Batch { batch, .. } => batch.base_offset() <= offset,
            Step::End | Step::Bad => false,
        })
    }

    /// Whether the batch that holds an entry's offset has the entry's timestamp.
    fn is_entry_right(&self, indexes: &Indexes, entry: (i64, Offset)) -> Result<bool> {
        let (timestamp_ms, offset) = entry;
        let (_, position) = indexes.offsets.lookup(offset);
        let mut scanner = Scanner::new(self.file()?, u64::from(position), self.size());
        loop {
            match scanner.step().map_err(|e| self.failed(e))? {
                Step::Batch { batch, .. } if batch.last_offset() < offset => {}
                Step::Batch { batch, .. } => {
                    return Ok(
                        batch.base_offset() <= offset && batch.max_timestamp_ms() == timestamp_ms
                    );
                }
                Step::End | Step::Bad => return Ok(false),
            }
        }
    }

    /// The largest timestamp of the readable batches from `position` on.
    fn largest_from(&self, position: u64) -> Result<i64> {
        let mut scanner = Scanner::new(self.file()?, position, self.size());
        let mut largest = -1;
        let mut expected = self.base();
        loop {
            match scanner.step().map_err(|e| self.failed(e))? {
                Step::Batch { batch, .. } => {
                    largest = largest.max(batch.max_timestamp_ms());
                    expected = batch.last_offset().next();
                }
                Step::End => return Ok(largest),
                Step::Bad => {
                    let found = scan::resync(&mut scanner, expected);
                    if found.map_err(|e| self.failed(e))?.is_none() {
                        return Ok(largest);
                    }
                }
            }
        }
    }

    fn rebuild(&self, index_interval_bytes: u32) -> Result<Arc<Indexes>> {
        let rebuilt = Arc::new(scan::rebuild_indexes(self, index_interval_bytes)?);
        self.set_indexes(&rebuilt);
        Ok(rebuilt)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("read segment {}", self.base()), error)
    }
}
