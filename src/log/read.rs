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
use super::api::{FileRange, Isolation, ReadOptions, ReadOutcome};
use super::cut::{Care, Cut, Taken};
use super::inner::{DamagedRange, LogState};
use crate::error::{Error, ErrorKind, Result};
use crate::options::CleanupPolicy;
use crate::segment::Segment;
use crate::segment::scan::{Scanner, is_right, read_full, resync};
use crate::types::Offset;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes read beyond what was asked for, to get from the index entry to the offset.
const SEARCH_BYTES: usize = 16 << 10;

/// A batch up to this size is read to be judged; a larger one is judged before.
const COPY_BYTES: usize = 1 << 20;

/// Where a read goes, decided under the lock.
struct Route {
    start: Start,
    bound: Offset,
    outcome: ReadOutcome,
    /// Gaps between batches are no damage.
    compacted: bool,
    segment: Arc<Segment>,
}

/// What the lock tells of the walk's beginning.
enum Start {
    Known(Way),
    /// The segment's index knows; the way is free from this position, and offset, on.
    Indexed {
        undamaged: (u64, Offset),
        interval: u32,
    },
}

/// How the walk through a segment begins.
struct Way {
    source: Source,
    position: u64,
    /// Position of the byte that holds the bound's first missing byte, at most.
    limit: u64,
    /// The offset that must begin there, if the walk begins where that is known.
    follows: Option<Offset>,
    /// The last offset of the batch there, if it is an index that says so.
    indexed: Option<Offset>,
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

    /// Reads what is in memory; see [`Log::read_resident`](super::Log::read_resident).
    pub(super) fn read_resident(
        &self,
        offset: Offset,
        options: &ReadOptions,
    ) -> Result<Option<ReadOutcome>> {
        let route = match self.route(offset, options, Care::Usual)? {
            Ok(route) if route.is_resident() => route,
            Ok(_) => return Ok(None),
            Err(empty) => return Ok(Some(empty)),
        };
        let mut outcome = match self.follow(route, offset, options, Care::Usual) {
            Ok(found) if !found.passed => found.outcome,
            // A read goes on in the next segment, or around the damage.
            Ok(_) | Err(Lost::Damage { .. }) => return Ok(None),
            Err(Lost::Failed(error)) => return Err(error),
        };
        if options.isolation == Isolation::ReadCommitted {
            outcome.aborted = self.aborted(offset, outcome.next_offset)?;
        }
        Ok(Some(outcome))
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
        let place = |known: &DamagedRange| (known.first, known.segment_base, known.position);
        let at = state.damaged.partition_point(|known| place(known) < place(&damage));
        // Twice the same would be found forever. Whoever goes on at the error's end gets past it. One
        // without an offset is foreign bytes before a right batch.
        let is_known = state.damaged.get(at).is_some_and(|known| place(known) == place(&damage));
        if next < first || end_position <= position || is_known {
            return Err(corrupt(&self.name, first.min(offset), next.max(offset.next())));
        }
        state.damaged.insert(at, damage);
        Ok(())
    }

    /// Where to read, or the empty answer if there is nothing to see yet. Does no I/O.
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
        let outcome = state.nothing_at(offset);
        let bound = match options.isolation {
            Isolation::ReadUncommitted => outcome.high_watermark,
            Isolation::ReadCommitted => outcome.last_stable_offset,
        };
        if offset >= bound {
            return Ok(Err(outcome));
        }
        if let Some(damage) = state.damage_at(offset) {
            return Err(corrupt(&self.name, damage.first, damage.next));
        }
        let segment = Arc::clone(&state.segments[state.segment_for(offset)]);
        let compacted = state.has_gaps || state.config.cleanup_policy != CleanupPolicy::Delete;
        // The way from the index entry to the offset must not lead through damage.
        let undamaged = state.undamaged_from(segment.base(), offset);
        let start = if segment.base() == state.active.segment.base() {
            Start::Known(state.way_in_active(offset, undamaged, care))
        } else {
            Start::Indexed { undamaged, interval: state.config.index_interval_bytes }
        };
        Ok(Ok(Route { start, bound, outcome, compacted, segment }))
    }

    /// Walks a route.
    fn follow(
        &self,
        route: Route,
        offset: Offset,
        options: &ReadOptions,
        care: Care,
    ) -> Result<Followed, Lost> {
        let Route { start, bound, mut outcome, compacted, segment } = route;
        let way = match start {
            Start::Known(way) => way,
            Start::Indexed { undamaged, interval } => {
                way_in_sealed(&segment, offset, undamaged, care, interval)?
            }
        };
        let Way { source, position, limit, follows, indexed } = way;
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
        let failed = |e| Error::io(format!("read {}", self.name), e);
        let mut want = cut.options.max_bytes.saturating_add(SEARCH_BYTES).min(64 << 20);
        while position < limit {
            let left = usize::try_from(limit - position).unwrap_or(usize::MAX);
            let mut buffer = vec![0; want.min(left)];
            let read = read_full(file.as_ref(), &mut buffer, position).map_err(failed)?;
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
                    // A length alone is no reason to make a buffer of it.
                    let is_there = needed <= COPY_BYTES
                        || is_right(file.as_ref(), position, limit).map_err(failed)?;
                    if needed > want && !is_there {
                        return Ok((Taken::Bad { consumed: 0 }, position));
                    }
                    want = want.max(needed);
                }
            }
        }
        Ok((Taken::All, position))
    }

    fn next_segment(&self, segment: &Segment) -> Offset {
        segment.end().unwrap_or_else(|| self.state.lock().end)
    }
}

impl Route {
    /// Whether the walk stays in memory.
    fn is_resident(&self) -> bool {
        matches!(&self.start, Start::Known(Way { source: Source::Tail(_), .. }))
    }
}

impl LogState {
    /// What a read says when it finds nothing.
    fn nothing_at(&self, offset: Offset) -> ReadOutcome {
        ReadOutcome {
            slices: Vec::new(),
            next_offset: offset,
            log_start_offset: self.log_start,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            aborted: Vec::new(),
        }
    }

    /// Through the active segment; `undamaged` is where the way is free, and the offset there.
    fn way_in_active(&self, offset: Offset, undamaged: (u64, Offset), care: Care) -> Way {
        let (undamaged, first) = undamaged;
        let (last, position) = match care {
            Care::Usual => self.active.indexer.offsets().lookup(offset),
            Care::Suspicious => (first, 0),
        };
        let position = u64::from(position).max(undamaged);
        let tail = &self.active.tail;
        let (source, limit) = if position >= tail.data_start() {
            (Source::Tail(tail.read(position..tail.end())), tail.end())
        } else {
            (Source::File, self.active.durable.max(tail.data_start()))
        };
        Way {
            source,
            position,
            limit,
            follows: (position == undamaged).then_some(first),
            indexed: (position > undamaged).then_some(last),
        }
    }
}

/// Through a segment that is no longer written; as [`LogState::way_in_active`].
fn way_in_sealed(
    segment: &Segment,
    offset: Offset,
    undamaged: (u64, Offset),
    care: Care,
    interval: u32,
) -> Result<Way> {
    let (undamaged, first) = undamaged;
    let position = match care {
        Care::Usual => segment.locate(offset, interval)?.max(undamaged),
        Care::Suspicious => undamaged,
    };
    let (last, indexed) = segment.indexes(interval)?.offsets.lookup(offset);
    let is_indexed = position > undamaged && position == u64::from(indexed);
    Ok(Way {
        source: Source::File,
        position,
        limit: segment.size(),
        follows: (position == undamaged).then_some(first),
        indexed: is_indexed.then_some(last),
    })
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
