//! Reading: which bytes, from where, cut at batch boundaries and at the reader's bound.
//!
//! | where the bytes are | what the reader gets |
//! |---|---|
//! | in the tail | slices of the very chunks the disk write used |
//! | in a sealed segment | slices of its map |
//! | in the active or a just rolled segment's file, or no maps here | one copied buffer |
//!
//! Of a sealed segment's file a caller may also have the range instead of the bytes.
//!
//! The plan is made under the lock, the bytes are walked without it. Every batch's checksum is
//! verified before it is handed out, unless the caller says that the next reader will.

use super::LogInner;
use super::api::{AbortedTxn, FileRange, Isolation, ReadOptions, ReadOutcome, TimestampedOffset};
use super::inner::{DamagedRange, LogState};
use super::recover::rebuild_aborted;
use crate::batch::{Batch, DecodeLimits, HEADER_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::index::AbortedIndex;
use crate::options::CleanupPolicy;
use crate::segment::Segment;
use crate::segment::scan::{Scanner, resync};
use crate::types::Offset;
use bytes::Bytes;
use std::ops::Range;
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
    /// The offset that must begin there, if the walk begins where that is known.
    follows: Option<Offset>,
    /// The last offset of the batch there, if it is an index that says so.
    indexed: Option<Offset>,
    /// Gaps between batches are no damage.
    compacted: bool,
    segment: Arc<Segment>,
}

/// How a segment is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// From the index entry on; what lies before the offset is stepped over.
    Usual,
    /// Damage was met: from the beginning, with the checksum of every batch.
    Suspicious,
}

/// Why a walk found nothing.
enum Lost {
    Failed(Error),
    /// No right batch begins at `position`, where `first` should.
    Damage {
        position: u64,
        first: Offset,
    },
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a walk found.
struct Followed {
    outcome: ReadOutcome,
    /// The walk came to the segment's end without finding anything.
    passed: bool,
    /// Position of the first batch taken, and the bytes taken.
    begins: u64,
    taken_bytes: usize,
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
        let mut care = Care::Usual;
        loop {
            let route = match self.route(from, options, care)? {
                Ok(route) => route,
                Err(empty) => return Ok(empty),
            };
            let segment = Arc::clone(&route.segment);
            let Followed { mut outcome, passed, .. } =
                match self.follow(route, offset, options, care) {
                    Ok(followed) => followed,
                    // Its files went while this was on its way there; look again where to go.
                    Err(_) if segment.is_retired() && self.is_alive() => continue,
                    Err(Lost::Failed(error)) => return Err(error),
                    Err(Lost::Damage { .. }) if care == Care::Usual => {
                        care = Care::Suspicious;
                        continue;
                    }
                    // The way there goes around it now, or says that the offset lies in it.
                    Err(Lost::Damage { position, first }) => {
                        self.note_damage(&segment, position, first, offset)?;
                        continue;
                    }
                };
            match segment.end().filter(|end| passed && *end > from) {
                // Compaction left nothing at or after `offset` in this segment.
                Some(end) => from = end,
                None => {
                    if options.isolation == Isolation::ReadCommitted {
                        outcome.aborted = self.aborted(offset, outcome.next_offset)?;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    /// Finds the range of a file; see [`Log::read_file_range`](super::Log::read_file_range).
    pub(super) fn read_file_range(
        &self,
        offset: Offset,
        options: &ReadOptions,
    ) -> Result<Option<FileRange>> {
        let route = match self.route(offset, options, Care::Usual)? {
            Ok(route) if route.segment.is_sealed() => route,
            _ => return Ok(None),
        };
        let segment = Arc::clone(&route.segment);
        let file = match segment.file() {
            // Its files went meanwhile; a read looks again where to go.
            Err(_) if segment.is_retired() && self.is_alive() => return Ok(None),
            file => file?,
        };
        let found = match self.follow(route, offset, options, Care::Usual) {
            Ok(found) => found,
            // A read finds the way around damage, or says that there is none.
            Err(Lost::Damage { .. }) => return Ok(None),
            Err(Lost::Failed(_)) if segment.is_retired() && self.is_alive() => return Ok(None),
            Err(Lost::Failed(error)) => return Err(error),
        };
        let mut outcome = found.outcome;
        if outcome.slices.is_empty() {
            return Ok(None);
        }
        if options.isolation == Isolation::ReadCommitted {
            outcome.aborted = self.aborted(offset, outcome.next_offset)?;
        }
        outcome.slices.clear();
        Ok(Some(FileRange { file, position: found.begins, len: found.taken_bytes, outcome }))
    }

    /// Remembers damage that no recovery had a reason to look at: `first` is the offset that should
    /// have begun at `position`. It ends where the next right batch begins.
    fn note_damage(
        &self,
        segment: &Segment,
        position: u64,
        first: Offset,
        offset: Offset,
    ) -> Result<()> {
        let failed = |e| Error::io(format!("look behind damage of {}", self.name), e);
        let limit = segment.file()?.len().map_err(failed)?.min(segment.size());
        let mut scanner = Scanner::new(segment.file()?, position, limit);
        let (next, end_position) = match resync(&mut scanner, first).map_err(failed)? {
            Some(next) => (next, scanner.position()),
            None => (self.next_segment(segment), limit.max(position)),
        };
        let damage =
            DamagedRange { first, next, segment_base: segment.base(), position, end_position };
        let mut state = self.state.lock();
        let at = state.damaged.partition_point(|known| known.first < first);
        // Twice the same would be found forever. Whoever goes on at the error's end gets past it.
        if next <= first || state.damaged.get(at).is_some_and(|known| known.first == first) {
            return Err(corrupt(&self.name, first.min(offset), next.max(offset.next())));
        }
        state.damaged.insert(at, damage);
        Ok(())
    }

    /// Where to read, or the empty answer if there is nothing to see yet.
    fn route(
        &self,
        offset: Offset,
        options: &ReadOptions,
        care: Care,
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
        let (undamaged, first) = state.undamaged_from(segment.base(), offset);
        let compacted = state.has_gaps || state.config.cleanup_policy != CleanupPolicy::Delete;
        let follows = |position: u64| (position == undamaged).then_some(first);
        if segment.base() != state.active.segment.base() {
            let interval = state.config.index_interval_bytes;
            drop(state);
            let position = match care {
                Care::Usual => segment.locate(offset, interval)?.max(undamaged),
                Care::Suspicious => undamaged,
            };
            let (last, indexed) = segment.indexes(interval)?.offsets.lookup(offset);
            let is_indexed = position > undamaged && position == u64::from(indexed);
            return Ok(Ok(Route {
                source: Source::File,
                bound,
                outcome,
                limit: segment.size(),
                position,
                follows: follows(position),
                indexed: is_indexed.then_some(last),
                compacted,
                segment,
            }));
        }
        let (last, position) = match care {
            Care::Usual => state.active.indexer.offsets().lookup(offset),
            Care::Suspicious => (first, 0),
        };
        let position = u64::from(position).max(undamaged);
        let indexed = (position > undamaged).then_some(last);
        let tail = &state.active.tail;
        let (source, limit) = if position >= tail.data_start() {
            (Source::Tail(tail.read(position..tail.end())), tail.end())
        } else {
            (Source::File, state.active.durable.max(tail.data_start()))
        };
        let follows = follows(position);
        Ok(Ok(Route {
            source,
            bound,
            outcome,
            limit,
            position,
            follows,
            indexed,
            compacted,
            segment,
        }))
    }

    /// Walks a route.
    fn follow(
        &self,
        route: Route,
        offset: Offset,
        options: &ReadOptions,
        care: Care,
    ) -> Result<Followed, Lost> {
        let (follows, indexed, compacted) = (route.follows, route.indexed, route.compacted);
        let Route { source, bound, mut outcome, limit, position, segment, .. } = route;
        let mut cut = Cut {
            options,
            offset,
            bound,
            care,
            compacted,
            end: self.next_segment(&segment),
            taken_bytes: 0,
            origin: position,
            begins: position,
            next: offset,
            follows,
            indexed,
        };
        let slices = &mut outcome.slices;
        let taken = match source {
            Source::Tail(tail) => {
                let mut taken = Taken::All;
                for slice in tail {
                    taken = cut.take(&slice, true, slices);
                    if !matches!(taken, Taken::All) {
                        break;
                    }
                }
                (taken, position)
            }
            Source::File => match segment.map()? {
                Some(map) => {
                    let start = usize::try_from(position).unwrap_or(usize::MAX).min(map.len());
                    (cut.take(&map.slice(start..), true, slices), position)
                }
                None => self.copy(&segment, position, limit, &mut cut, slices)?,
            },
        };
        let is_through = match taken {
            _ if !slices.is_empty() => false,
            (Taken::Enough, _) => false,
            (Taken::All, _) => segment.end().is_some(),
            (Taken::Incomplete { consumed, .. } | Taken::Bad { consumed }, start) => {
                let position = start + consumed as u64;
                return Err(Lost::Damage { position, first: cut.follows.unwrap_or(offset) });
            }
        };
        // A segment ends where the next one begins; one that ends before has lost its last batches.
        if is_through && !compacted && cut.follows.is_none_or(|follows| follows < cut.end) {
            return Err(Lost::Damage { position: limit, first: cut.follows.unwrap_or(offset) });
        }
        outcome.next_offset = cut.next;
        let (begins, taken_bytes) = (cut.begins, cut.taken_bytes);
        Ok(Followed { outcome, passed: is_through, begins, taken_bytes })
    }

    /// Reads from a file into a buffer of its own; how it ended, and where the buffer begins.
    fn copy(
        &self,
        segment: &Segment,
        mut position: u64,
        limit: u64,
        cut: &mut Cut<'_>,
        slices: &mut Vec<Bytes>,
    ) -> Result<(Taken, u64)> {
        let file = segment.file()?;
        let mut want = cut.options.max_bytes.saturating_add(SEARCH_BYTES).min(64 << 20);
        while position < limit {
            let left = usize::try_from(limit - position).unwrap_or(usize::MAX);
            let mut buffer = vec![0; want.min(left)];
            let read = read_full(file.as_ref(), &mut buffer, position)
                .map_err(|e| Error::io(format!("read {} at {position}", self.name), e))?;
            buffer.truncate(read);
            let is_rest = read == left || read < want;
            cut.origin = position;
            let taken = cut.take(&Bytes::from(buffer), is_rest, slices);
            match taken {
                Taken::Enough | Taken::Bad { .. } => return Ok((taken, position)),
                Taken::All => {
                    position += read as u64;
                    if read == 0 || !slices.is_empty() {
                        return Ok((taken, position));
                    }
                }
                Taken::Incomplete { consumed, needed } => {
                    if !slices.is_empty() || (consumed == 0 && (is_rest || needed <= want)) {
                        return Ok((taken, position));
                    }
                    position += consumed as u64;
                    want = want.max(needed);
                }
            }
        }
        Ok((Taken::All, position))
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
    /// The bytes end inside a batch that begins at `consumed`, or too early to judge it.
    Incomplete { consumed: usize, needed: usize },
    /// No right batch begins at `consumed`.
    Bad { consumed: usize },
}

/// Cuts a run of batches down to what a reader asked for and may see.
struct Cut<'a> {
    options: &'a ReadOptions,
    offset: Offset,
    bound: Offset,
    care: Care,
    /// Gaps between batches are no damage.
    compacted: bool,
    /// Where the segment ends.
    end: Offset,
    taken_bytes: usize,
    /// Position in the file of the bytes walked next.
    origin: u64,
    /// Position of the first batch taken.
    begins: u64,
    /// The offset after the last batch taken.
    next: Offset,
    /// The offset after the last batch walked past, `None` before the first one.
    follows: Option<Offset>,
    /// The last offset of the first batch, as the index has it.
    indexed: Option<Offset>,
}

impl Cut<'_> {
    /// Walks the batches in `bytes` and takes those that belong to the answer, as one slice. `is_rest`
    /// says that nothing follows `bytes`. Damage behind the first batch taken ends the answer before
    /// it: the next read meets it.
    fn take(&mut self, bytes: &Bytes, is_rest: bool, slices: &mut Vec<Bytes>) -> Taken {
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
                None => break Taken::Bad { consumed: at },
            };
            let Ok((batch, behind)) = Batch::parse(rest) else {
                break Taken::Bad { consumed: at };
            };
            // An index has no checksum: it is believed once the batch says the same.
            if self.indexed.take().is_some_and(|last| last != batch.last_offset()) {
                break Taken::Bad { consumed: at };
            }
            match self.is_in_place(&batch, behind) {
                Some(true) => {}
                Some(false) => break Taken::Bad { consumed: at },
                // With nothing behind it, the segment's end has had its say.
                None if is_rest => {}
                None => break Taken::Incomplete { consumed: at, needed: size + HEADER_BYTES },
            }
            let is_wanted = batch.last_offset() >= self.offset;
            if is_wanted {
                let first = self.taken_bytes == 0;
                let too_large = self.taken_bytes + size > self.options.max_bytes;
                if batch.base_offset() >= self.bound
                    || (too_large && !(first && self.options.min_one_batch))
                {
                    break Taken::Enough;
                }
            }
            let verify = if is_wanted { self.options.verify } else { false };
            if (verify || self.care == Care::Suspicious) && !batch.is_crc_valid() {
                break Taken::Bad { consumed: at };
            }
            if is_wanted {
                start.get_or_insert(at);
                self.taken_bytes += size;
                self.next = batch.next_offset();
            }
            self.follows = Some(batch.next_offset());
            at += size;
        };
        if let Some(start) = start {
            if slices.is_empty() {
                self.begins = self.origin + start as u64;
            }
            slices.push(bytes.slice(start..at));
        }
        taken
    }

    /// Whether the batch's offset, which its checksum does not cover, is one it can have: it follows
    /// on the batch before, or what comes behind it says the same as it does. `None` if that is too
    /// far away to be seen.
    fn is_in_place(&self, batch: &Batch<'_>, behind: &[u8]) -> Option<bool> {
        if batch.last_offset() < batch.base_offset() || batch.next_offset() > self.end {
            return Some(false);
        }
        let Some(follows) = self.follows.filter(|follows| batch.base_offset() != *follows) else {
            return Some(true);
        };
        // What was stepped over unchecked may be what is wrong.
        let is_careful = self.care == Care::Suspicious || self.compacted;
        if batch.base_offset() < follows || !is_careful {
            return Some(false);
        }
        let next = behind.first_chunk::<8>().map(|base| i64::from_be_bytes(*base));
        next.map(|next| next >= batch.next_offset().get())
    }
}
