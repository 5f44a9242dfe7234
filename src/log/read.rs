//! Reading: which bytes, from where, cut at batch boundaries and at the reader's bound.
//!
//! | where the bytes are | what the reader gets |
//! |---|---|
//! | in the tail | slices of the very chunks the disk write used |
//! | in a sealed segment | slices of its map |
//! | in the active or a just rolled segment's file, or no maps here | one copied buffer |
//!
//! The plan is made under the lock, the bytes are walked without it. Every batch's checksum is
//! verified before it is handed out, unless the caller says that the next reader will.

use super::LogInner;
use super::api::{AbortedTxn, Isolation, ReadOptions, ReadOutcome, TimestampedOffset};
use super::inner::LogState;
use super::recover::rebuild_aborted;
use crate::batch::{Batch, DecodeLimits, HEADER_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::index::AbortedIndex;
use crate::segment::Segment;
use crate::types::Offset;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes read beyond what was asked for, to get from the index entry to the offset.
const SEARCH_BYTES: usize = 16 << 10;

/// Where a read goes, decided under the lock.
struct Route {
    source: Source,
    bound: Offset,
    outcome: ReadOutcome,
    /// Position of the byte that holds the bound's first missing byte, at most.
    limit: u64,
    position: u64,
    segment: Arc<Segment>,
}

enum Source {
    /// Slices of the tail, from the indexed position on.
    Tail(Vec<Bytes>),
    /// A file.
    File,
}

impl LogInner {
    /// Reads; see [`Log::read`](super::Log::read).
    pub(super) fn read(&self, offset: Offset, options: &ReadOptions) -> Result<ReadOutcome> {
        let mut from = offset;
        loop {
            let route = match self.route(from, options)? {
                Ok(route) => route,
                Err(empty) => return Ok(empty),
            };
            let (segment, positions) = (Arc::clone(&route.segment), route.position..route.limit);
            let mut outcome = match self.follow(route, offset, options) {
                // Its files went while this was on its way there; look again where to go.
                Err(_) if segment.is_retired() && self.is_alive() => continue,
                Err(met) => return Err(self.measured(met, &segment, positions, offset)),
                Ok(followed) => followed,
            };
            match segment.end() {
                // Compaction or truncation left nothing at or after `offset` in this segment.
                Some(end) if outcome.slices.is_empty() && end > from => from = end,
                _ => {
                    if options.isolation == Isolation::ReadCommitted {
                        outcome.aborted = self.aborted(offset, outcome.next_offset)?;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    /// Where to read, or the empty answer if there is nothing to see yet.
    fn route(
        &self,
        offset: Offset,
        options: &ReadOptions,
    ) -> Result<std::result::Result<Route, ReadOutcome>> {
        // A poisoned log still answers for what is known to be on the disk.
        let state = self.state.lock();
        if state.closed {
            self.check_alive()?;
        }
        if offset < state.log_start || offset > state.end {
            return Err(out_of_range(&state, offset, &self.name));
        }
        let last_stable_offset = state.last_stable_offset();
        let bound = match options.isolation {
            Isolation::ReadUncommitted => state.high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        let outcome = ReadOutcome {
            slices: Vec::new(),
            next_offset: offset,
            log_start_offset: state.log_start,
            high_watermark: state.high_watermark,
            last_stable_offset,
            aborted: Vec::new(),
        };
        if offset >= bound {
            return Ok(Err(outcome));
        }
        if let Some(damage) = state.damage_at(offset) {
            return Err(corrupt(&self.name, damage.first, damage.next));
        }
        let segment = Arc::clone(&state.segments[state.segment_for(offset)]);
        // The way from the index entry to the offset must not lead through damage.
        let undamaged = state.undamaged_from(segment.base(), offset);
        if segment.base() != state.active.segment.base() {
            let interval = state.config.index_interval_bytes;
            drop(state);
            let position = segment.locate(offset, interval)?.max(undamaged);
            let limit = segment.size();
            return Ok(Ok(Route {
                source: Source::File,
                bound,
                outcome,
                limit,
                position,
                segment,
            }));
        }
        let (_, position) = state.active.indexer.offsets().lookup(offset);
        let position = u64::from(position).max(undamaged);
        let tail = &state.active.tail;
        let (source, limit) = if position >= tail.data_start() {
            (Source::Tail(tail.read(position..tail.end())), tail.end())
        } else {
            (Source::File, state.active.durable.max(tail.data_start()))
        };
        Ok(Ok(Route { source, bound, outcome, limit, position, segment }))
    }

    fn follow(&self, route: Route, offset: Offset, options: &ReadOptions) -> Result<ReadOutcome> {
        let Route { source, bound, mut outcome, limit, position, segment } = route;
        let mut cut = Cut::new(offset, bound, options);
        match source {
            Source::Tail(slices) => {
                for slice in slices {
                    if !cut.take(&slice, &mut outcome.slices)?.wants_more() {
                        break;
                    }
                }
            }
            Source::File => match segment.map()? {
                Some(map) => {
                    let start = usize::try_from(position).unwrap_or(usize::MAX);
                    if start < map.len() {
                        let taken = cut.take(&map.slice(start..), &mut outcome.slices)?;
                        taken.expect_complete(&self.name, cut.expected)?;
                    }
                }
                None => self.copy(&segment, position, limit, &mut cut, &mut outcome.slices)?,
            },
        }
        outcome.next_offset = cut.next;
        Ok(outcome)
    }

    /// Reads from a file into a buffer of its own.
    fn copy(
        &self,
        segment: &Segment,
        mut position: u64,
        limit: u64,
        cut: &mut Cut<'_>,
        slices: &mut Vec<Bytes>,
    ) -> Result<()> {
        let file = segment.file()?;
        let mut want = cut.options.max_bytes.saturating_add(SEARCH_BYTES).min(64 << 20);
        while position < limit {
            let left = usize::try_from(limit - position).unwrap_or(usize::MAX);
            let mut buffer = vec![0; want.min(left)];
            let read = read_full(file.as_ref(), &mut buffer, position)
                .map_err(|e| Error::io(format!("read {} at {position}", self.name), e))?;
            buffer.truncate(read);
            let read_all = read == left || read < want;
            match cut.take(&Bytes::from(buffer), slices)? {
                Taken::Enough => return Ok(()),
                Taken::All => {
                    position += read as u64;
                    if read == 0 || !slices.is_empty() {
                        return Ok(());
                    }
                }
                Taken::Incomplete { consumed, needed } => {
                    if !slices.is_empty() {
                        return Ok(());
                    }
                    position += consumed as u64;
                    if consumed == 0 && (read_all || needed <= want) {
                        return Err(corrupt(&self.name, cut.expected, self.next_segment(segment)));
                    }
                    want = want.max(needed);
                }
                Taken::Bad => {
                    return Err(corrupt(&self.name, cut.expected, self.next_segment(segment)));
                }
            }
        }
        Ok(())
    }

    fn next_segment(&self, segment: &Segment) -> Offset {
        segment.end().unwrap_or_else(|| self.state.lock().end)
    }

    /// Aborted transactions that overlap `from..to`, sorted (T-15, T-21b).
    fn aborted(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTxn>> {
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

    /// The first visible record at or after a time; see
    /// [`Log::offset_for_timestamp`](super::Log::offset_for_timestamp).
    pub(super) fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>> {
        let (segments, log_start, interval) = {
            let state = self.state.lock();
            let max = state.active.largest_timestamp_ms();
            state.active.segment.set_largest_timestamp_ms(max);
            (state.segments.clone(), state.log_start, state.config.index_interval_bytes)
        };
        for segment in segments {
            let past = segment.end().is_some_and(|end| end <= log_start);
            if past || segment.confirm_largest_timestamp(interval)? < timestamp_ms {
                continue;
            }
            let from = self.time_index_floor(&segment, timestamp_ms, interval)?.max(log_start);
            let end = segment.end().unwrap_or(Offset::new(i64::MAX));
            if let Some(found) = self.search_time(from, end, timestamp_ms, isolation)? {
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
        mut from: Offset,
        end: Offset,
        timestamp_ms: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>> {
        let options = ReadOptions { isolation, ..ReadOptions::default() };
        let log_start = self.state.lock().log_start;
        while from < end {
            let outcome = self.read(from, &options)?;
            if outcome.next_offset <= from {
                return Ok(None);
            }
            for slice in &outcome.slices {
                let mut rest = slice.as_ref();
                while let Ok((batch, after)) = Batch::parse(rest) {
                    if batch.max_timestamp_ms() >= timestamp_ms
                        && !batch.is_control()
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

    /// The record with the largest timestamp.
    pub(super) fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>> {
        let (segments, interval, active) = {
            let state = self.state.lock();
            (
                state.segments.clone(),
                state.config.index_interval_bytes,
                state.active.largest_timestamp_ms(),
            )
        };
        let mut largest = active;
        for segment in &segments {
            largest = largest.max(segment.confirm_largest_timestamp(interval)?);
        }
        if largest < 0 {
            return Ok(None);
        }
        self.offset_for_timestamp(largest, Isolation::ReadUncommitted)
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

fn read_full(
    file: &dyn crate::io::File,
    buffer: &mut [u8],
    position: u64,
) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn out_of_range(state: &LogState, offset: Offset, name: &crate::LogName) -> Error {
    let kind = ErrorKind::OutOfRange { start: state.log_start, end: state.end };
    let context =
        format!("offset {offset} of {name} is outside {}..{}", state.log_start, state.end);
    Error::new(kind, context)
}

fn corrupt(name: &crate::LogName, first: Offset, next: Offset) -> Error {
    let context = format!("the stored bytes of {name} from offset {first} on are damaged");
    Error::new(ErrorKind::Corrupt { first, next }, context)
}

/// How a walk over some bytes ended.
enum Taken {
    /// The reader has what it may have.
    Enough,
    /// The bytes ended on a batch boundary.
    All,
    /// The bytes end inside a batch that begins at `consumed`.
    Incomplete { consumed: usize, needed: usize },
    /// No batch begins where one should.
    Bad,
}

impl Taken {
    fn wants_more(&self) -> bool {
        matches!(self, Self::All)
    }

    /// For bytes that are all there is: a batch that goes on beyond them is damage.
    fn expect_complete(&self, name: &crate::LogName, expected: Offset) -> Result<()> {
        match self {
            Self::Enough | Self::All => Ok(()),
            Self::Incomplete { .. } | Self::Bad => Err(corrupt(name, expected, expected.next())),
        }
    }
}

/// Cuts a run of batches down to what a reader asked for and may see.
struct Cut<'a> {
    options: &'a ReadOptions,
    offset: Offset,
    bound: Offset,
    taken_bytes: usize,
    /// The offset after the last batch taken.
    next: Offset,
    /// The first offset that has not been walked past.
    expected: Offset,
}

impl<'a> Cut<'a> {
    fn new(offset: Offset, bound: Offset, options: &'a ReadOptions) -> Self {
        Self { options, offset, bound, taken_bytes: 0, next: offset, expected: offset }
    }

    /// Walks the batches in `bytes` and takes those that belong to the answer, as one slice.
    /// Damage behind the first batch taken ends the answer before it: the next read meets it.
    fn take(&mut self, bytes: &Bytes, slices: &mut Vec<Bytes>) -> Result<Taken> {
        let mut start = None;
        let mut at = 0;
        let taken = loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break Taken::All;
            }
            let size = match Batch::peek_len(rest) {
                Some(size) if size <= rest.len() => size,
                Some(needed) => break Taken::Incomplete { consumed: at, needed },
                None if rest.len() < HEADER_BYTES => {
                    break Taken::Incomplete { consumed: at, needed: HEADER_BYTES };
                }
                None => break Taken::Bad,
            };
            let Ok((batch, _)) = Batch::parse(rest) else { break Taken::Bad };
            if batch.last_offset() < self.offset {
                self.expected = batch.next_offset();
                at += size;
                continue;
            }
            let first = self.taken_bytes == 0;
            let too_large = self.taken_bytes + size > self.options.max_bytes;
            if batch.base_offset() >= self.bound
                || (too_large && !(first && self.options.min_one_batch))
            {
                break Taken::Enough;
            }
            if self.options.verify && !batch.is_crc_valid() {
                break Taken::Bad;
            }
            start.get_or_insert(at);
            self.taken_bytes += size;
            self.next = batch.next_offset();
            self.expected = self.next;
            at += size;
        };
        if let Some(start) = start {
            slices.push(bytes.slice(start..at));
        }
        Ok(match taken {
            Taken::Bad | Taken::Incomplete { .. } if !slices.is_empty() => Taken::Enough,
            taken => taken,
        })
    }
}
