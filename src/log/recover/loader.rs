//! The steps of a load, and what they gather.

use super::leftovers::settle_leftovers;
use super::{RecoveryReport, STATE_BYTES_MAX, Source, TEXT_BYTES_MAX, read_id};
use crate::checkpoint::{self, CLEANER_CHECKPOINT, LOG_START_CHECKPOINT, OffsetCheckpoint};
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{AbortedSum, TimeIndex};
use crate::io::{File, OpenMode};
use crate::log::LogInner;
use crate::log::inner::{Active, DamagedRange, Extent, LogState, Parts};
use crate::options::Retention;
use crate::producer::ProducerTable;
use crate::segment::Segment;
use crate::segment::name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, REPLICATED, Suffix, parse_file_name, segment_file,
};
use crate::types::Offset;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(super) struct Loader {
    pub(super) source: Source,
    pub(super) report: RecoveryReport,
    pub(super) bases: Vec<Offset>,
    pub(super) producers: ProducerTable,
    /// Producers are as of here.
    pub(super) replay_from: Offset,
    /// Everything below was durable once: the newest state says so by its name alone, which it got after
    /// that. So does Kafka's newest snapshot if Kafka closed the log in order; else it ran ahead of the disk.
    pub(super) durable_to: Offset,
    /// Closed in order, and nothing says where it ended: then all that is there was durable.
    pub(super) is_end_unknown: bool,
    /// One of our own state files was there: rolled segments of ours leave no gaps.
    pub(super) is_ours: bool,
    pub(super) epochs: LeaderEpochCache,
    pub(super) damaged: Vec<DamagedRange>,
    /// Kafka has compacted it once: offsets may be missing at the end of a segment, too.
    pub(super) has_gaps: bool,
    /// What vouches for transaction indexes, by base offset, as of the replay point.
    pub(super) aborted_sums: BTreeMap<Offset, AbortedSum>,
    /// What retention may remove, if the log remembers.
    pub(super) retention: Option<Retention>,
    /// Base offsets of transaction indexes, whether or not their segment is there.
    pub(super) indexed: Vec<Offset>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Walked and rolled: their indexes are to be written, their padding to be trimmed.
    pub(super) to_seal: Vec<Arc<Segment>>,
    /// The data files that were walked.
    pub(super) walked: Vec<Arc<dyn File>>,
    /// The next offset expected while walking.
    pub(super) expected: Offset,
}

impl Loader {
    pub(super) fn new(source: Source) -> Result<Self> {
        let limits = LogInner::limits(&source.shared, &source.config);
        let report = RecoveryReport { log: source.name.to_string(), ..RecoveryReport::default() };
        Ok(Self {
            producers: ProducerTable::new(limits),
            source,
            report,
            bases: Vec::new(),
            replay_from: Offset::ZERO,
            durable_to: Offset::ZERO,
            is_end_unknown: false,
            is_ours: false,
            epochs: LeaderEpochCache::default(),
            damaged: Vec::new(),
            has_gaps: false,
            aborted_sums: BTreeMap::new(),
            retention: None,
            indexed: Vec::new(),
            segments: Vec::new(),
            to_seal: Vec::new(),
            walked: Vec::new(),
            expected: Offset::ZERO,
        })
    }

    pub(super) fn run(mut self) -> Result<(LogInner, RecoveryReport)> {
        let id = read_id(&self.source.shared, &self.source.path)?;
        let (states, snapshots) = self.list()?;
        let first = self.bases.first().copied().unwrap_or(Offset::ZERO);
        self.has_gaps = self.was_compacted()?;
        let log_start = self.log_start(first)?;
        self.replay_from = first;
        let named = states.last().max(snapshots.last().filter(|_| self.source.clean));
        self.durable_to = named.copied().unwrap_or(first).max(first);
        self.is_end_unknown = self.source.clean && named.is_none();
        self.restore_producers(&states, &snapshots, log_start)?;
        self.load_epochs()?;
        let active = self.load_segments(log_start)?;
        self.drop_snapshots(&snapshots)?;
        self.make_durable()?;
        let end = self.expected;
        // One that begins at the end has no batch yet and is still in force.
        self.epochs.truncate_from_end(end.next());
        self.epochs.truncate_from_start(log_start);
        self.producers.begin_guards(self.source.shared.io.random.next_u64());
        let is_replicated = self.is_replicated()?;
        let high_watermark = if is_replicated { self.replicated_to(log_start) } else { end };
        self.producers.on_high_watermark(high_watermark);
        self.report.damaged = self.damaged.iter().map(|d| (d.first, d.next)).collect();
        let config = self.source.config(self.retention);
        let is_stored =
            self.is_as_closed(&states, &snapshots)? && self.retention == Some(config.retention());
        let mut state = LogState {
            config,
            segments: self.segments,
            active,
            rolled: VecDeque::new(),
            to_seal: self.to_seal,
            log_start,
            end,
            written_end: end,
            durable_end: end,
            high_watermark,
            manual_high_watermark: is_replicated,
            epochs: self.epochs,
            producers: self.producers,
            wants_durable: false,
            staged_bytes: 0,
            damaged: self.damaged,
            has_gaps: self.has_gaps,
            checkpointed_end: self.replay_from,
            stored_retention: self.retention,
            uncheckpointed_bytes: 0,
            stored: None,
            rolled_states: VecDeque::new(),
            doomed: VecDeque::new(),
            closing: false,
            closed: false,
        };
        state.stored = is_stored.then(|| Extent::of(&state));
        let adopts = self.source.clean && end > first && states.last() != Some(&end);
        let Source { name, path, shared, committer, space, .. } = self.source;
        let log = LogInner::new(Parts { name, id, path, shared, committer, space, state });
        if adopts {
            // All of it is durable now, and nothing but a state of ours will say so after a kill: a
            // recovery would take damage in it for the torn end of the log, and cut there.
            match log.checkpoint_now() {
                Err(error) if *error.kind() != ErrorKind::DiskFull => return Err(error),
                _ => {}
            }
        }
        Ok((log, self.report))
    }

    /// What is not known to be replicated is not shown, until the embedder says so again.
    fn replicated_to(&self, log_start: Offset) -> Offset {
        let least = log_start.min(self.expected);
        self.source.high_watermark.map_or(least, |stored| stored.clamp(least, self.expected))
    }

    /// Whether an embedder sets the high watermark.
    fn is_replicated(&self) -> Result<bool> {
        Ok(self.read(REPLICATED, TEXT_BYTES_MAX)?.is_some())
    }

    /// Whether the next orderly close would write the very files that are there.
    fn is_as_closed(&self, states: &[Offset], snapshots: &[Offset]) -> Result<bool> {
        let is_right = self.report.is_clean() && self.report.rebuilt.is_empty();
        let end = Some(&self.expected);
        // Without a producer ever there is nothing to tell Kafka.
        let is_empty = self.bases == [Offset::ZERO] && self.expected == Offset::ZERO;
        let has_states = states.last() == end && (is_empty || snapshots.last() == end);
        let was_closed = self.source.clean && is_right && self.to_seal.is_empty() && has_states;
        let Some(base) = self.bases.last().filter(|_| was_closed) else { return Ok(false) };
        let entries = self
            .source
            .shared
            .io
            .storage
            .list_dir(&self.source.path)
            .map_err(|e| Error::io(format!("list {}", self.source.path.display()), e))?;
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let indexes = [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex];
        Ok(has(LEADER_EPOCH_CHECKPOINT)
            && indexes.iter().all(|kind| has(&segment_file(*base, *kind))))
    }

    /// Whether Kafka's cleaner lists the log. In any other one a segment that ends before the next one
    /// begins has lost its end.
    fn was_compacted(&self) -> Result<bool> {
        let Some(directory) = self.source.path.parent() else { return Ok(false) };
        let storage = &self.source.shared.io.storage;
        let path = directory.join(CLEANER_CHECKPOINT);
        let bytes = checkpoint::read_file(storage.as_ref(), &path, TEXT_BYTES_MAX)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
        let listed = bytes.and_then(|bytes| OffsetCheckpoint::decode(&bytes).ok());
        Ok(listed.is_some_and(|listed| listed.offsets.contains_key(&self.source.name)))
    }

    /// Where readers begin. Segments of ours go only when the log start lies behind them, durably: one
    /// that lies before the first segment says that segments were lost.
    fn log_start(&mut self, first: Offset) -> Result<Offset> {
        let stored = self.source.log_start.unwrap_or(first);
        if stored >= first {
            return Ok(stored);
        }
        if self.is_ours {
            self.note_gap(stored, first, first, 0);
            return Ok(stored);
        }
        // Kafka forgets an entry some time after it removed the segments. From here on it would mean
        // that they are missing.
        self.source.shared.store_log_start(&self.source.name, &self.source.path, first)?;
        Ok(first)
    }

    /// Notes that the offsets from `first` to `next` are lost, between the batches at `position` and
    /// before it.
    pub(super) fn note_gap(
        &mut self,
        first: Offset,
        next: Offset,
        segment_base: Offset,
        position: u64,
    ) {
        let end_position = position;
        let gap = DamagedRange { first, next, segment_base, position, end_position };
        self.damaged.push(gap);
    }

    /// Nothing is left of the log's end, which certainly was there once.
    fn note_lost_end(&mut self, segment_base: Offset, position: u64) {
        if self.expected < self.durable_to {
            self.note_gap(self.expected, self.durable_to, segment_base, position);
            self.expected = self.durable_to;
        }
    }

    /// Sorts out the directory: finishes what a crash left half done, finds segments and states.
    fn list(&mut self) -> Result<(Vec<Offset>, Vec<Offset>)> {
        let storage = Arc::clone(&self.source.shared.io.storage);
        let path = Arc::clone(&self.source.path);
        settle_leftovers(storage.as_ref(), &path)?;
        let entries = storage
            .list_dir(&path)
            .map_err(|e| Error::io(format!("list {}", path.display()), e))?;
        let (mut states, mut snapshots) = (Vec::new(), Vec::new());
        for entry in entries {
            match parse_file_name(&entry.name) {
                Some((base, FileKind::Log, Suffix::None)) => self.bases.push(base),
                Some((base, FileKind::TxnIndex, Suffix::None)) => self.indexed.push(base),
                Some((offset, FileKind::State, Suffix::None)) => states.push(offset),
                Some((offset, FileKind::Snapshot, Suffix::None)) => snapshots.push(offset),
                _ => {}
            }
        }
        self.bases.sort_unstable();
        states.sort_unstable();
        snapshots.sort_unstable();
        self.is_ours = !states.is_empty();
        Ok((states, snapshots))
    }

    fn load_segments(&mut self, log_start: Offset) -> Result<Active> {
        if self.bases.is_empty() {
            self.expected = log_start;
            if log_start < self.durable_to {
                if self.is_ours {
                    self.check_files_are_there(Offset::new(-1))?;
                }
                // The next open finds a segment, and would take the log to begin there.
                self.source.shared.store_log_start(
                    &self.source.name,
                    &self.source.path,
                    log_start,
                )?;
            }
            self.note_lost_end(self.durable_to, 0);
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
                if self.is_ours && self.has_lost_its_end() {
                    self.check_files_are_there(walk.base)?;
                }
                self.note_lost_end(walk.base, walk.end);
                if self.is_ours && self.expected < log_start {
                    return Err(self.misplaced_start(log_start));
                }
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

    /// Whether the batches end before the log did once, or damage takes all up to there.
    fn has_lost_its_end(&self) -> bool {
        let is_damaged = self.damaged.last().is_some_and(|damage| damage.next == self.durable_to);
        self.expected < self.durable_to || is_damaged
    }

    /// The log's end is lost, and a whole file with it: so are the markers in it, and without them
    /// aborted records would be taken for committed ones.
    fn check_files_are_there(&self, last: Offset) -> Result<()> {
        let Some(base) = self.indexed.iter().find(|base| **base > last) else { return Ok(()) };
        let context = format!(
            "{} lacks {}, whose index is there",
            self.source.name,
            segment_file(*base, FileKind::Log)
        );
        let kind = ErrorKind::Corrupt { first: self.expected, next: self.durable_to };
        Err(Error::new(kind, context))
    }

    /// A log of ours never begins behind its own end: its data or its log start was changed by
    /// somebody else, and guessing which would cost what is left.
    fn misplaced_start(&self, log_start: Offset) -> Error {
        let context = format!(
            "{} ends at {}, and {LOG_START_CHECKPOINT} says that it begins at {log_start}; correct or \
             remove that line",
            self.source.name, self.expected
        );
        Error::new(ErrorKind::Corrupt { first: self.expected, next: log_start }, context)
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
        let sum = self.aborted_sums.get(&base).copied();
        let segment = Segment::sealed(storage, dir, base, end, size, largest, sum);
        segment.join(&self.source.shared.open_segments);
        self.segments.push(Arc::new(segment));
        Ok(())
    }

    /// Flushes what was walked. It may have come from the page cache of a killed process, and from
    /// here on readers see it and retries are answered from it.
    pub(super) fn make_durable(&self) -> Result<()> {
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

    pub(super) fn next_base_after(&self, base: Offset) -> Option<Offset> {
        self.bases.iter().copied().find(|b| *b > base)
    }

    pub(super) fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let path = self.source.path.join(name);
        checkpoint::read_file(self.source.shared.io.storage.as_ref(), &path, max)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))
    }
}
