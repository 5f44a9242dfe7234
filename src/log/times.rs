//! Finding records by their time: over the segments, then the time index, then the batches between
//! two entries.

use super::LogInner;
use super::api::{Isolation, ReadOptions, TimestampedOffset};
use crate::batch::{Batch, DecodeLimits};
use crate::error::Result;
use crate::segment::Segment;
use crate::types::Offset;
use std::ops::Range;

impl LogInner {
    /// The first visible record at or after a time; see
    /// [`Log::offset_for_timestamp`](super::Log::offset_for_timestamp).
    pub(super) fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>> {
        self.search_segments(timestamp_ms, isolation, false)
    }

    fn search_segments(
        &self,
        timestamp_ms: i64,
        isolation: Isolation,
        markers: bool,
    ) -> Result<Option<TimestampedOffset>> {
        let (segments, log_start, interval) = {
            let state = self.state.lock();
            let max = state.active.largest_timestamp_ms();
            state.active.segment.set_largest_timestamp_ms(max, true);
            (state.segments.clone(), state.log_start, state.config.index_interval_bytes)
        };
        for segment in segments {
            let past = segment.end().is_some_and(|end| end <= log_start);
            if past || segment.confirm_largest_timestamp(interval)? < timestamp_ms {
                continue;
            }
            let from = self.time_index_floor(&segment, timestamp_ms, interval)?.max(log_start);
            let end = segment.end().unwrap_or(Offset::new(i64::MAX));
            if let Some(found) = self.search_time(from..end, timestamp_ms, isolation, markers)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// An offset at or before the first record of the segment that is as late as `timestamp_ms`.
    fn time_index_floor(&self, segment: &Segment, ts: i64, interval: u32) -> Result<Offset> {
        // The entry's offset is the last of a batch that is early enough: what follows may not be.
        let floor = if segment.end().is_some() {
            segment.time_floor(ts.saturating_sub(1), interval)?
        } else {
            let state = self.state.lock();
            state.active.indexer.times().lookup(ts.saturating_sub(1)).map(|(_, offset)| offset)
        };
        Ok(floor.unwrap_or_else(|| segment.base()))
    }

    fn search_time(
        &self,
        range: Range<Offset>,
        timestamp_ms: i64,
        isolation: Isolation,
        markers: bool,
    ) -> Result<Option<TimestampedOffset>> {
        let mut from = range.start;
        let options = ReadOptions { isolation, ..ReadOptions::default() };
        let log_start = self.state.lock().log_start;
        while from < range.end {
            let outcome = self.read(from, &options)?;
            if outcome.next_offset <= from {
                return Ok(None);
            }
            for slice in &outcome.slices {
                let mut rest = slice.as_ref();
                while let Ok((batch, after)) = Batch::parse(rest) {
                    let sought = markers || !batch.is_control();
                    if sought
                        && batch.max_timestamp_ms() >= timestamp_ms
                        && let Some(found) = first_record_at(&batch, timestamp_ms, log_start)?
                    {
                        return Ok(Some(found));
                    }
                    rest = after;
                }
            }
            from = outcome.next_offset;
        }
        Ok(None)
    }

    /// The record with the largest timestamp, a marker too.
    pub(super) fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>> {
        let (segments, log_start, interval, mut largest) = {
            let state = self.state.lock();
            let active = state.active.largest_timestamp_ms();
            let first = state.segment_for(state.log_start);
            let interval = state.config.index_interval_bytes;
            (state.segments[first..].to_vec(), state.log_start, interval, active)
        };
        for segment in segments.iter().filter(|segment| segment.end().is_some()) {
            largest = largest.max(segment.confirm_largest_timestamp(interval)?);
        }
        if largest < 0 {
            return Ok(None);
        }
        let found = self.search_segments(largest, Isolation::ReadUncommitted, true)?;
        // What is known of the first segment may have been said of records before the log start.
        if found.is_none() && segments.first().is_some_and(|first| first.base() < log_start) {
            return self.max_by_walking(log_start);
        }
        Ok(found)
    }

    /// The record with the largest timestamp, by decoding all of the log.
    fn max_by_walking(&self, mut from: Offset) -> Result<Option<TimestampedOffset>> {
        let log_start = from;
        let mut largest: Option<TimestampedOffset> = None;
        loop {
            let outcome = self.read(from, &ReadOptions::default())?;
            for slice in &outcome.slices {
                let mut rest = slice.as_ref();
                while let Ok((batch, after)) = Batch::parse(rest) {
                    rest = after;
                    let mut bar = largest.map_or(0, |l| l.timestamp_ms.saturating_add(1));
                    // Each find raises the bar, until no record of the batch is above it.
                    while batch.max_timestamp_ms() >= bar {
                        let Some(found) = first_record_at(&batch, bar, log_start)? else { break };
                        largest = Some(found);
                        let Some(above) = found.timestamp_ms.checked_add(1) else {
                            return Ok(largest);
                        };
                        bar = above;
                    }
                }
            }
            if outcome.next_offset <= from {
                return Ok(largest);
            }
            from = outcome.next_offset;
        }
    }
}

fn first_record_at(
    batch: &Batch<'_>,
    timestamp_ms: i64,
    log_start: Offset,
) -> Result<Option<TimestampedOffset>> {
    let records = batch.records(&DecodeLimits::default())?;
    for record in records.iter() {
        let record = record?;
        if record.timestamp_ms() >= timestamp_ms && record.offset() >= log_start {
            return Ok(Some(TimestampedOffset {
                offset: record.offset(),
                timestamp_ms: record.timestamp_ms(),
                leader_epoch: batch.leader_epoch(),
            }));
        }
    }
    Ok(None)
}
