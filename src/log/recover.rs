//! Loading a log: from its files to the state it had, whatever happened in between.
//!
//! ```text
//! newest usable state (`.state`, else Kafka's `.snapshot`)      producers as of offset X
//! segments below X                                              sealed, trusted, opened lazily
//! segments from X on, batch by batch:
//!     right                 index it, replay it
//!     wrong, and everything from here on may be un-flushed  →   torn tail: cut, reported
//!     wrong, below the durable watermark                    →   damage: kept, reported, skipped
//! ```
//!
//! The durable watermark is the largest of X and what any group's trailer says (see
//! `segment::trailer`). After a clean close X is the log end offset and the walk covers the last
//! few kilobytes. Nothing found here is trusted: every count, length and offset is checked, and a
//! crash in the middle of it leaves files that load the same way again.

use super::LogInner;
use super::append::stored_facts;
use super::inner::{Active, DamagedRange, LogState, Parts};
use super::tail::{Tail, block_floor};
use crate::checkpoint::{self, PartitionMetadata, TextDamage};
use crate::commit::Committer;
use crate::engine::Shared;
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{AbortedEntry, AbortedIndex, OffsetIndex, SegmentIndexer, TimeIndex};
use crate::io::{BLOCK_BYTES, File, OpenMode};
use crate::options::{LogConfig, LogName};
use crate::producer::state::StateError;
use crate::producer::{CompletedTxn, ProducerTable, RestoreAt};
use crate::segment::name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, Suffix, parse_file_name, segment_file,
};
use crate::segment::scan::{Observed, Scanner, Step, resync};
use crate::segment::trailer::{TRAILER_BYTES, Trailer};
use crate::segment::{Indexes, Segment};
use crate::types::Offset;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Largest state file that is read.
const STATE_BYTES_MAX: usize = 2 << 30;
/// Largest text file that is read.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// What loading a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The log.
    pub log: String,
    /// Bytes of batches that were read and checked.
    pub scanned_bytes: u64,
    /// Bytes of a torn tail that were cut: they had not been acknowledged.
    pub cut_bytes: u64,
    /// Ranges of offsets, first and next, whose bytes are damaged. They stay on disk and unreadable.
    pub damaged: Vec<(Offset, Offset)>,
    /// Derived files that were missing or wrong and were built again.
    pub rebuilt: Vec<String>,
}

impl RecoveryReport {
    /// Whether nothing had to be cut, and nothing is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut_bytes == 0 && self.damaged.is_empty()
    }
}

/// What loading needs to know.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: LogName,
    pub(crate) path: Arc<Path>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) config: Arc<LogConfig>,
    /// The data directory was closed in order.
    pub(crate) clean: bool,
    /// From the data directory's checkpoint, if it lists the log.
    pub(crate) log_start: Option<Offset>,
}

/// Writes the files of a fresh log and loads it. Durable when this returns.
pub(crate) fn create(source: Source, id: [u8; 16]) -> Result<LogInner> {
    let storage = &source.shared.io.storage;
    let failed = |e| Error::io(format!("create {}", source.path.display()), e);
    storage.create_dir(&source.path).map_err(failed)?;
    let metadata = PartitionMetadata { topic_id: id }.encode();
    checkpoint::replace_file(storage.as_ref(), &source.path, PARTITION_METADATA, &metadata)
        .map_err(failed)?;
    let name = segment_file(Offset::ZERO, FileKind::Log);
    let file = storage.open(&source.path.join(name), OpenMode::CreateNew, true).map_err(failed)?;
    file.sync().map_err(failed)?;
    storage.sync_dir(&source.path).map_err(failed)?;
    if let Some(parent) = source.path.parent() {
        storage.sync_dir(parent).map_err(failed)?;
    }
    let log = load(source)?.0;
    log.checkpoint_now()?;
    Ok(log)
}

/// Loads a log from its directory.
pub(crate) fn load(source: Source) -> Result<(LogInner, RecoveryReport)> {
    Loader::new(source)?.run()
}

/// Removes every batch that reaches `offset` or beyond, and every state that knows of one. A crash
/// in between leaves a log that ends earlier or later, never one with a hole.
pub(super) fn cut(log: &LogInner, segments: &[Arc<Segment>], offset: Offset) -> Result<()> {
    let failed = |e| Error::io(format!("truncate {}", log.name), e);
    let storage = log.storage();
    for entry in storage.list_dir(&log.path).map_err(failed)? {
        let newer = matches!(
            parse_file_name(&entry.name),
            Some((at, FileKind::State | FileKind::Snapshot, Suffix::None)) if at > offset
        );
        if newer {
            storage.remove_file(&log.path.join(&entry.name)).map_err(failed)?;
        }
    }
    // Last segment first: what is left is always a prefix.
    for segment in segments.iter().rev() {
        if segment.base() >= offset && segment.base() != segments[0].base() {
            segment.remove_files().map_err(failed)?;
            continue;
        }
        cut_segment(log, segment, offset).map_err(failed)?;
        break;
    }
    storage.sync_dir(&log.path).map_err(failed)
}

/// Keeps the batches of a segment that end before `offset`, in a file of their own: whoever maps or
/// reads the old one keeps it unchanged.
fn cut_segment(log: &LogInner, segment: &Segment, offset: Offset) -> io::Result<()> {
    let storage = log.storage();
    let path = segment.path(FileKind::Log);
    let file = storage.open(&path, OpenMode::Read, false)?;
    let mut scanner = Scanner::new(Arc::clone(&file), 0, file.len()?);
    let mut kept = 0;
    while let Step::Batch { position, batch } = scanner.step()? {
        if batch.last_offset() >= offset {
            break;
        }
        kept = position + batch.size() as u64;
    }
    let name = segment_file(segment.base(), FileKind::Log);
    let temporary = log.path.join(checkpoint::temporary_name(&name));
    let copy = storage.open(&temporary, OpenMode::Truncate, false)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < kept {
        let want = usize::try_from(kept - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read_at(&mut buffer[..want], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        copy.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    copy.sync()?;
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex] {
        match storage.remove_file(&segment.path(kind)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    storage.rename(&temporary, &path)
}

/// The topic id in a log's directory; zero where there is none yet (Kafka writes it lazily).
pub(crate) fn read_id(shared: &Shared, path: &Path) -> Result<[u8; 16]> {
    let path = path.join(PARTITION_METADATA);
    let bytes = checkpoint::read_file(shared.io.storage.as_ref(), &path, TEXT_BYTES_MAX)
        .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    let Some(bytes) = bytes else { return Ok([0; 16]) };
    let metadata = PartitionMetadata::decode(&bytes).map_err(|e| e.into_error(&path))?;
    Ok(metadata.topic_id)
}

struct Loader {
    source: Source,
    report: RecoveryReport,
    bases: Vec<Offset>,
    producers: ProducerTable,
    /// Producers are as of here, and everything below was durable once.
    replay_from: Offset,
    /// One of our own state files was there: rolled segments of ours leave no gaps.
    is_ours: bool,
    epochs: LeaderEpochCache,
    damaged: Vec<DamagedRange>,
    segments: Vec<Arc<Segment>>,
    /// Walked and rolled: their indexes are to be written, their padding to be trimmed.
    to_seal: Vec<Arc<Segment>>,
    /// The data files that were walked.
    walked: Vec<Arc<dyn File>>,
    /// The next offset expected while walking.
    expected: Offset,
}

impl Loader {
    fn new(source: Source) -> Result<Self> {
        let limits = LogInner::limits(&source.shared, &source.config);
        let report = RecoveryReport { log: source.name.to_string(), ..RecoveryReport::default() };
        Ok(Self {
            producers: ProducerTable::new(limits),
            source,
            report,
            bases: Vec::new(),
            replay_from: Offset::ZERO,
            is_ours: false,
            epochs: LeaderEpochCache::default(),
            damaged: Vec::new(),
            segments: Vec::new(),
            to_seal: Vec::new(),
            walked: Vec::new(),
            expected: Offset::ZERO,
        })
    }

    fn run(mut self) -> Result<(LogInner, RecoveryReport)> {
        let id = read_id(&self.source.shared, &self.source.path)?;
        let (states, snapshots) = self.list()?;
        let first = self.bases.first().copied().unwrap_or(Offset::ZERO);
        let log_start = self.source.log_start.unwrap_or(first).max(first);
        self.replay_from = first;
        self.restore_producers(&states, &snapshots, log_start)?;
        self.load_epochs()?;
        self.ensure_aborted_indexes()?;
        let active = self.load_segments(log_start)?;
        self.make_durable()?;
        let end = self.expected;
        self.epochs.truncate_from_end(end);
        self.epochs.truncate_from_start(log_start);
        self.producers.on_high_watermark(end);
        self.report.damaged = self.damaged.iter().map(|d| (d.first, d.next)).collect();
        let state = LogState {
            config: Arc::clone(&self.source.config),
            segments: self.segments,
            active,
            rolled: VecDeque::new(),
            to_seal: self.to_seal,
            log_start,
            end,
            written_end: end,
            durable_end: end,
            high_watermark: end,
            manual_high_watermark: false,
            epochs: self.epochs,
            producers: self.producers,
            wants_durable: false,
            damaged: self.damaged,
            checkpointed_end: self.replay_from,
            uncheckpointed_bytes: 0,
            closed: false,
        };
        let Source { name, path, shared, committer, .. } = self.source;
        let log = LogInner::new(Parts { name, id, path, shared, committer, state });
        Ok((log, self.report))
    }

    /// Sorts out the directory: sweeps what a crash left over, finds segments and states.
    fn list(&mut self) -> Result<(Vec<Offset>, Vec<Offset>)> {
        let storage = Arc::clone(&self.source.shared.io.storage);
        let path = Arc::clone(&self.source.path);
        let entries = storage
            .list_dir(&path)
            .map_err(|e| Error::io(format!("list {}", path.display()), e))?;
        let (mut states, mut snapshots) = (Vec::new(), Vec::new());
        for entry in entries {
            let parsed = parse_file_name(&entry.name);
            let leftover = checkpoint::is_temporary(&entry.name)
                || matches!(parsed, Some((_, _, Suffix::Deleted | Suffix::Cleaned)));
            if leftover {
                storage
                    .remove_file(&path.join(&entry.name))
                    .map_err(|e| Error::io(format!("remove {}", entry.name), e))?;
                continue;
            }
            match parsed {
                Some((_, _, Suffix::Swap)) => {
                    let context = format!(
                        "{}: {} is the output of an unfinished compaction; let the program that \
                         began it finish it first",
                        self.source.name, entry.name
                    );
                    return Err(Error::new(ErrorKind::Invalid, context));
                }
                Some((base, FileKind::Log, _)) => self.bases.push(base),
                Some((offset, FileKind::State, _)) => states.push(offset),
                Some((offset, FileKind::Snapshot, _)) => snapshots.push(offset),
                _ => {}
            }
        }
        self.bases.sort_unstable();
        states.sort_unstable();
        snapshots.sort_unstable();
        self.is_ours = !states.is_empty();
        Ok((states, snapshots))
    }

    /// Takes the newest state that is whole: ours if it is as new as Kafka's, which remembers one
    /// batch per producer only.
    fn restore_producers(
        &mut self,
        states: &[Offset],
        snapshots: &[Offset],
        log_start: Offset,
    ) -> Result<()> {
        let mut candidates: Vec<(Offset, bool)> = states.iter().map(|o| (*o, true)).collect();
        candidates.extend(snapshots.iter().map(|o| (*o, false)));
        candidates.sort_unstable();
        let at = RestoreAt { now_ms: self.source.shared.io.clock.now_ms(), log_start };
        let limits = LogInner::limits(&self.source.shared, &self.source.config);
        while let Some((offset, ours)) = candidates.pop() {
            let kind = if ours { FileKind::State } else { FileKind::Snapshot };
            let name = segment_file(offset, kind);
            let Some(bytes) = self.read(&name, STATE_BYTES_MAX)? else { continue };
            let restored = if ours {
                match ProducerTable::restore_state(limits, &bytes, at) {
                    Ok((table, end)) if end == offset => Some(table),
                    Err(StateError::Newer(error)) => return Err(error),
                    _ => None,
                }
            } else {
                ProducerTable::restore_snapshot(limits, &bytes, at).ok()
            };
            match restored {
                Some(table) if offset >= self.replay_from => {
                    self.producers = table;
                    self.replay_from = offset;
                    return Ok(());
                }
                _ => self.report.rebuilt.push(name),
            }
            if let Some(twin) = candidates.pop_if(|next| ours && *next == (offset, false)) {
                // A clean close wrote both. An older one of ours and a replay know more.
                let older = candidates.iter().rposition(|(_, ours)| !ours).map_or(0, |i| i + 1);
                candidates.insert(older, twin);
            }
        }
        Ok(())
    }

    /// Builds the transaction indexes of the segments below the replay point again if one is missing
    /// or damaged, or if nothing says that they were ever flushed. It takes a walk over all of them,
    /// since an aborted transaction may have begun in any earlier segment.
    fn ensure_aborted_indexes(&mut self) -> Result<()> {
        let replay_from = self.replay_from;
        let below: Vec<Offset> =
            self.bases.iter().copied().filter(|base| *base < replay_from).collect();
        let trusted = self.is_ours || self.source.clean;
        let mut wrong = !trusted;
        let mut found = Vec::with_capacity(below.len());
        for base in &below {
            let bytes = self.read(&segment_file(*base, FileKind::TxnIndex), STATE_BYTES_MAX)?;
            wrong |= match &bytes {
                Some(bytes) => AbortedIndex::decode(*base, bytes).is_err(),
                // Kafka writes none for a segment without aborted transactions (D-39).
                None => self.is_ours,
            };
            found.push(bytes);
        }
        let storage = Arc::clone(&self.source.shared.io.storage);
        let failed = |e| Error::io(format!("rebuild the indexes of {}", self.source.name), e);
        let replace = |base: Offset, bytes: &[u8]| {
            let name = segment_file(base, FileKind::TxnIndex);
            checkpoint::replace_file(storage.as_ref(), &self.source.path, &name, bytes)
                .map_err(failed)
        };
        if !wrong {
            // From now on the log counts as ours, and a missing one as lost.
            let missing = below.iter().zip(&found).filter(|(_, found)| found.is_none());
            return missing.into_iter().try_for_each(|(base, _)| replace(*base, &[]));
        }
        let mut producers =
            ProducerTable::new(LogInner::limits(&self.source.shared, &self.source.config));
        for (base, found) in below.into_iter().zip(found) {
            let path = self.source.path.join(segment_file(base, FileKind::Log));
            let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
            let len = file.len().map_err(failed)?;
            let aborted =
                replay_aborted(Scanner::new(file, 0, len), base, replay_from, &mut producers)?;
            let bytes = aborted.encode();
            if found.as_ref() == Some(&bytes) {
                continue;
            }
            replace(base, &bytes)?;
            if found.is_some() || self.is_ours || !bytes.is_empty() {
                self.report.rebuilt.push(segment_file(base, FileKind::TxnIndex));
            }
        }
        Ok(())
    }

    fn load_epochs(&mut self) -> Result<()> {
        if let Some(bytes) = self.read(LEADER_EPOCH_CHECKPOINT, TEXT_BYTES_MAX)? {
            match LeaderEpochCache::decode(&bytes) {
                Ok(epochs) => self.epochs = epochs,
                Err(e @ TextDamage::Newer { .. }) => {
                    return Err(e.into_error(&self.source.path.join(LEADER_EPOCH_CHECKPOINT)));
                }
                Err(_damage) => self.report.rebuilt.push(LEADER_EPOCH_CHECKPOINT.to_owned()),
            }
        }
        Ok(())
    }

    fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let path = self.source.path.join(name);
        checkpoint::read_file(self.source.shared.io.storage.as_ref(), &path, max)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))
    }

    fn load_segments(&mut self, log_start: Offset) -> Result<Active> {
        if self.bases.is_empty() {
            self.expected = log_start.max(self.replay_from);
            return self.fresh_active(self.expected);
        }
        // Without a state of ours nothing says that older segments were ever flushed: walk all.
        let trusted = self.source.clean || self.is_ours;
        let walk_from = if trusted { self.replay_from } else { self.bases[0] };
        let walked = self.bases.partition_point(|b| *b <= walk_from).saturating_sub(1);
        for index in 0..walked {
            self.trust(index)?;
        }
        self.expected = self.bases[walked];
        let bases = self.bases.clone();
        for (index, base) in bases.iter().enumerate().skip(walked) {
            let last = index + 1 == bases.len();
            let walk = self.walk(*base)?;
            if !self.source.clean {
                self.walked.push(Arc::clone(&walk.file));
            }
            let torn = match (walk.torn, bases.get(index + 1)) {
                (true, _) => true,
                (false, Some(next)) => self.is_gap_torn(*next, &bases[index + 1..])?,
                (false, None) => false,
            };
            if last || torn {
                self.drop_segments(&bases[index + 1..])?;
                let active = self.finish_active(walk)?;
                if self.expected < log_start {
                    return self.restart_at(log_start);
                }
                return Ok(active);
            }
            self.finish_rolled(walk, bases[index + 1]);
        }
        self.fresh_active(self.expected)
    }

    /// Takes over a segment below the recovery point without reading it.
    fn trust(&mut self, index: usize) -> Result<()> {
        let (base, end) = (self.bases[index], self.bases[index + 1]);
        let storage = Arc::clone(&self.source.shared.io.storage);
        let path = self.source.path.join(segment_file(base, FileKind::Log));
        let size = storage
            .open(&path, OpenMode::Read, false)
            .and_then(|file| file.len())
            .map_err(|e| Error::io(format!("open {}", path.display()), e))?;
        let largest = match self.read(&segment_file(base, FileKind::TimeIndex), STATE_BYTES_MAX)? {
            Some(bytes) => TimeIndex::decode(base, &bytes, end).ok().and_then(|t| t.last()),
            None => None,
        };
        // Unknown counts as latest: such a segment is searched by time and kept by retention.
        let largest = largest.map_or(i64::MAX, |(timestamp, _)| timestamp);
        let dir = Arc::clone(&self.source.path);
        self.segments.push(Arc::new(Segment::sealed(storage, dir, base, end, size, largest)));
        Ok(())
    }

    /// Walks one segment from its last trusted index entry on.
    fn walk(&mut self, base: Offset) -> Result<Walk> {
        let storage = Arc::clone(&self.source.shared.io.storage);
        let path = self.source.path.join(segment_file(base, FileKind::Log));
        let failed = |e| Error::io(format!("recover {}", path.display()), e);
        let file = storage.open(&path, OpenMode::Write, true).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let indexer = self.resume_indexer(base, len)?;
        let aborted = self.resume_aborted(base)?;
        let start = u64::from(indexer.resume_position());
        let mut scanner = Scanner::new(Arc::clone(&file), start, len);
        self.expected = self.expected.max(base);
        let mut walk = Walk {
            base,
            file,
            len,
            end: start,
            torn: false,
            first_timestamp_ms: None,
            indexer,
            aborted,
        };
        if start > 0 {
            // The first batch's own offset says where the walk begins.
            self.expected = Offset::ZERO;
        }
        loop {
            match scanner.step().map_err(failed)? {
                Step::Batch { position, batch } if batch.base_offset() >= self.expected => {
                    walk.end = position + batch.size() as u64;
                    self.replay(&mut walk, position, &batch)?;
                }
                Step::End => break,
                Step::Batch { .. } | Step::Bad => {
                    scanner.seek(walk.end);
                    if !self.skip_damage(&mut walk, &mut scanner).map_err(failed)? {
                        break;
                    }
                }
            }
        }
        Ok(walk)
    }

    /// The indexer as of the last index entry below the replay point, or of the segment's start.
    fn resume_indexer(&mut self, base: Offset, len: u64) -> Result<SegmentIndexer> {
        let interval = self.source.config.index_interval_bytes;
        let fresh = SegmentIndexer::new(base, interval);
        if self.source.shared.options.planted().trust_index {
            return self.resume_unchecked(base, fresh);
        }
        let names = [FileKind::OffsetIndex, FileKind::TimeIndex].map(|k| segment_file(base, k));
        let offsets = self.read(&names[0], STATE_BYTES_MAX)?;
        let times = self.read(&names[1], STATE_BYTES_MAX)?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(fresh) };
        let decoded = OffsetIndex::decode(base, &offsets, len)
            .and_then(|o| Ok((o, TimeIndex::decode(base, &times, Offset::new(i64::MAX))?)));
        let Ok((mut offsets, mut times)) = decoded else {
            self.report.rebuilt.extend(names);
            return Ok(fresh);
        };
        offsets.truncate_to(self.replay_from);
        times.truncate_to(self.replay_from);
        let resumed = SegmentIndexer::resume(offsets, times, interval);
        if self.is_confirmed(base, &resumed, len)? {
            return Ok(resumed);
        }
        self.report.rebuilt.extend(names);
        Ok(fresh)
    }

    /// Whether the last index entry points at a batch that ends with the entry's offset.
    fn is_confirmed(&self, base: Offset, indexer: &SegmentIndexer, len: u64) -> Result<bool> {
        let Some((last_offset, position)) = indexer.offsets().last() else { return Ok(true) };
        let path = self.source.path.join(segment_file(base, FileKind::Log));
        let failed = |e| Error::io(format!("read {}", path.display()), e);
        let storage = &self.source.shared.io.storage;
        let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
        let mut scanner = Scanner::new(file, u64::from(position), len);
        Ok(match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } => batch.last_offset() == last_offset,
            Step::End | Step::Bad => false,
        })
    }

    fn resume_unchecked(&self, base: Offset, fresh: SegmentIndexer) -> Result<SegmentIndexer> {
        let interval = self.source.config.index_interval_bytes;
        let read = |kind| self.read(&segment_file(base, kind), STATE_BYTES_MAX);
        let (Some(offsets), Some(times)) =
            (read(FileKind::OffsetIndex)?, read(FileKind::TimeIndex)?)
        else {
            return Ok(fresh);
        };
        match (
            OffsetIndex::decode(base, &offsets, u64::MAX),
            TimeIndex::decode(base, &times, Offset::new(i64::MAX)),
        ) {
            (Ok(offsets), Ok(times)) => Ok(SegmentIndexer::resume(offsets, times, interval)),
            _ => Ok(fresh),
        }
    }

    /// The aborted transactions whose marker lies below the replay point; the rest is replayed.
    fn resume_aborted(&mut self, base: Offset) -> Result<AbortedIndex> {
        let name = segment_file(base, FileKind::TxnIndex);
        let Some(bytes) = self.read(&name, STATE_BYTES_MAX)? else {
            return Ok(AbortedIndex::new(base));
        };
        // Damage was dealt with before the walk; what is left is a file of a segment at or above the
        // replay point, all of which is replayed.
        let mut aborted =
            AbortedIndex::decode(base, &bytes).unwrap_or_else(|_damage| AbortedIndex::new(base));
        aborted.truncate_to(self.replay_from);
        Ok(aborted)
    }

    /// Takes one right batch into account.
    fn replay(
        &mut self,
        walk: &mut Walk,
        position: u64,
        batch: &crate::batch::Batch<'_>,
    ) -> Result<()> {
        let facts = stored_facts(batch)?;
        self.report.scanned_bytes += batch.size() as u64;
        Observed::new(position, batch).enter(&mut walk.indexer);
        walk.first_timestamp_ms.get_or_insert(facts.max_timestamp_ms);
        self.expected = facts.last_offset.next();
        if facts.base_offset < self.replay_from {
            return Ok(());
        }
        self.epochs.assign(batch.leader_epoch(), facts.base_offset);
        let now_ms = self.source.shared.io.clock.now_ms();
        if let Some(txn) = self.producers.apply(&facts, now_ms).filter(|txn| txn.aborted) {
            walk.note_aborted(&txn);
        }
        Ok(())
    }

    /// At a place where no right batch begins: `true` if it is damage and the walk goes on behind
    /// it, `false` if the segment's data ends here.
    fn skip_damage(&mut self, walk: &mut Walk, scanner: &mut Scanner) -> io::Result<bool> {
        if self.next_base_after(walk.base) == Some(self.expected) {
            // Complete; what follows is the padding that sealing would have trimmed.
            return Ok(false);
        }
        let watermark = self.watermark(walk)?;
        if self.expected >= watermark {
            // Everything from here on may never have been flushed.
            walk.torn = true;
            return Ok(false);
        }
        let first = self.expected;
        let found = resync(scanner, first)?;
        let (next, end_position) = match found {
            Some(base) => (base, scanner.position()),
            None => (self.next_base_after(walk.base).unwrap_or(watermark), walk.len),
        };
        self.damaged.push(DamagedRange {
            first,
            next,
            segment_base: walk.base,
            position: walk.end,
            end_position,
        });
        self.expected = next;
        walk.end = end_position;
        Ok(found.is_some())
    }

    /// Flushes what was walked. It may have come from the page cache of a killed process, and from
    /// here on readers see it and retries are answered from it.
    fn make_durable(&self) -> Result<()> {
        let failed = |e| Error::io(format!("flush {}", self.source.name), e);
        for file in &self.walked {
            file.sync().map_err(failed)?;
        }
        if !self.walked.is_empty() {
            let storage = &self.source.shared.io.storage;
            storage.sync_dir(&self.source.path).map_err(failed)?;
        }
        Ok(())
    }

    fn next_base_after(&self, base: Offset) -> Option<Offset> {
        self.bases.iter().copied().find(|b| *b > base)
    }

    /// Up to where the log is known to have been durable, from the trailers behind the walk's end.
    fn watermark(&self, walk: &Walk) -> io::Result<Offset> {
        let mut watermark = if self.is_ours { self.replay_from } else { Offset::ZERO };
        watermark =
            watermark.max(last_watermark(walk.file.as_ref(), walk.base, walk.end, walk.len)?);
        for base in self.bases.iter().filter(|b| **b > walk.base) {
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let file = self.source.shared.io.storage.open(&path, OpenMode::Read, false)?;
            let len = file.len()?;
            watermark = watermark.max(last_watermark(file.as_ref(), *base, 0, len)?);
        }
        Ok(watermark)
    }

    /// Whether the gap between the walk's end and the next segment says that the group which
    /// rolled was torn.
    fn is_gap_torn(&mut self, next: Offset, later: &[Offset]) -> Result<bool> {
        if next <= self.expected || !self.is_ours {
            return Ok(false);
        }
        let failed = |e| Error::io(format!("recover {}", self.source.name), e);
        let mut watermark = self.replay_from;
        for base in later {
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let storage = &self.source.shared.io.storage;
            let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
            let len = file.len().map_err(failed)?;
            watermark =
                watermark.max(last_watermark(file.as_ref(), *base, 0, len).map_err(failed)?);
        }
        Ok(self.expected >= watermark)
    }

    /// Removes segments that begin behind a torn tail: nothing in them was acknowledged.
    fn drop_segments(&mut self, bases: &[Offset]) -> Result<()> {
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

    /// A walked segment that is not the last one.
    fn finish_rolled(&mut self, mut walk: Walk, end: Offset) {
        walk.indexer.close();
        let largest = walk.indexer.max_timestamp().map_or(-1, |(timestamp, _)| timestamp);
        let segment = Arc::new(Segment::active(
            Arc::clone(&self.source.shared.io.storage),
            Arc::clone(&self.source.path),
            walk.base,
            Some(Arc::clone(&walk.file)),
        ));
        segment.set_size(walk.end);
        segment.set_largest_timestamp_ms(largest);
        segment.roll(end, walk.into_indexes());
        self.expected = self.expected.max(end);
        self.to_seal.push(Arc::clone(&segment));
        self.segments.push(segment);
    }

    /// The walked last segment becomes the active one; what lies behind its data goes.
    fn finish_active(&mut self, walk: Walk) -> Result<Active> {
        let failed = |e| Error::io(format!("recover {}", self.source.name), e);
        if walk.end < walk.len {
            self.report.cut_bytes += leftover_bytes(&walk).map_err(failed)?;
            // Durable before the first append (by `make_durable`): what is cut must not come back
            // behind it.
            walk.file.set_len(walk.end).map_err(failed)?;
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

    /// The log start offset lies behind the log's end (R-7): nothing in it is of use any more.
    fn restart_at(&mut self, log_start: Offset) -> Result<Active> {
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

    fn fresh_active(&mut self, base: Offset) -> Result<Active> {
        let failed = |e| Error::io(format!("create a segment of {}", self.source.name), e);
        let storage = Arc::clone(&self.source.shared.io.storage);
        let dir = Arc::clone(&self.source.path);
        let segment = Arc::new(Segment::active(storage, dir, base, None));
        segment.create_file().map_err(failed)?;
        self.source.shared.io.storage.sync_dir(&self.source.path).map_err(failed)?;
        self.segments.push(Arc::clone(&segment));
        let now_ms = self.source.shared.io.clock.now_ms();
        Ok(Active::empty(segment, self.source.config.index_interval_bytes, now_ms))
    }
}

/// One segment being walked.
struct Walk {
    base: Offset,
    file: Arc<dyn File>,
    len: u64,
    /// Where its data ends, as far as it was walked.
    end: u64,
    torn: bool,
    first_timestamp_ms: Option<i64>,
    indexer: SegmentIndexer,
    aborted: AbortedIndex,
}

impl Walk {
    /// Indexes a transaction that was aborted. An index that disagrees with the batches loses.
    fn note_aborted(&mut self, txn: &CompletedTxn) {
        let entry = aborted_entry(txn);
        if self.aborted.append(entry).is_err() {
            self.aborted.truncate_to(txn.last_offset);
            // With everything at or above it gone there is nothing left to disagree with.
            let _ = self.aborted.append(entry);
        }
    }

    fn into_indexes(self) -> Indexes {
        Indexes {
            offsets: self.indexer.offsets().clone(),
            times: self.indexer.times().clone(),
            aborted: self.aborted,
        }
    }
}

/// The aborted transactions that end in one segment and below `until`, given the producers as of its
/// base.
fn replay_aborted(
    mut scanner: Scanner,
    base: Offset,
    until: Offset,
    producers: &mut ProducerTable,
) -> Result<AbortedIndex> {
    let mut aborted = AbortedIndex::new(base);
    let mut expected = base;
    loop {
        let failed = |e| Error::io("rebuild a transaction index", e);
        let facts = match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } => stored_facts(&batch)?,
            Step::End => return Ok(aborted),
            Step::Bad => match resync(&mut scanner, expected).map_err(failed)? {
                Some(_) => continue,
                None => return Ok(aborted),
            },
        };
        expected = facts.last_offset.next();
        if facts.base_offset >= until {
            return Ok(aborted);
        }
        if let Some(txn) = producers.apply(&facts, 0).filter(|txn| txn.aborted) {
            // Out of order only if the batches are, which the walk has ruled out.
            let _ = aborted.append(aborted_entry(&txn));
        }
    }
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

/// The largest durable end that a trailer in `from..len` of a segment's file states.
fn last_watermark(file: &dyn File, base: Offset, from: u64, len: u64) -> io::Result<Offset> {
    let mut watermark = Offset::ZERO;
    let mut block_end = block_floor(from) + BLOCK_BYTES as u64;
    let mut bytes = [0; TRAILER_BYTES];
    while block_end <= len {
        if file.read_at(&mut bytes, block_end - TRAILER_BYTES as u64)? == TRAILER_BYTES {
            if let Some(trailer) = Trailer::decode(&bytes).filter(|t| t.segment_base == base) {
                watermark = watermark.max(trailer.durable_end);
            }
        }
        block_end += BLOCK_BYTES as u64;
    }
    Ok(watermark)
}

/// Bytes behind the walk's end that are neither zero nor a trailer: what a torn write left.
fn leftover_bytes(walk: &Walk) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = block_floor(walk.end);
    let mut leftover = 0;
    while at < walk.len {
        let read = walk.file.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        let data_end = match Trailer::decode(&block[read.saturating_sub(TRAILER_BYTES)..read]) {
            Some(_) => read - TRAILER_BYTES,
            None => read,
        };
        let skip = usize::try_from(walk.end.saturating_sub(at)).unwrap_or(usize::MAX).min(data_end);
        leftover += block[skip..data_end].iter().filter(|b| **b != 0).count() as u64;
        at += read as u64;
    }
    Ok(leftover)
}
