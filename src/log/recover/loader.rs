//! The steps of a load, and what they gather.

use super::{RecoveryReport, STATE_BYTES_MAX, Source, read_id};
use crate::checkpoint;
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, ErrorKind, Result};
use crate::index::TimeIndex;
use crate::io::{File, OpenMode};
use crate::log::LogInner;
use crate::log::inner::{Active, DamagedRange, LogState, Parts};
use crate::producer::ProducerTable;
use crate::segment::Segment;
use crate::segment::name::{FileKind, Suffix, parse_file_name, segment_file};
use crate::types::Offset;
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) struct Loader {
    pub(super) source: Source,
    pub(super) report: RecoveryReport,
    pub(super) bases: Vec<Offset>,
    pub(super) producers: ProducerTable,
    /// Producers are as of here, and everything below was durable once.
    pub(super) replay_from: Offset,
    /// One of our own state files was there: rolled segments of ours leave no gaps.
    pub(super) is_ours: bool,
    pub(super) epochs: LeaderEpochCache,
    pub(super) damaged: Vec<DamagedRange>,
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
            is_ours: false,
            epochs: LeaderEpochCache::default(),
            damaged: Vec::new(),
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
        let log_start = self.source.log_start.unwrap_or(first).max(first);
        self.replay_from = first;
        self.restore_producers(&states, &snapshots, log_start)?;
        self.load_epochs()?;
        let active = self.load_segments(log_start)?;
        self.make_durable()?;
        let end = self.expected;
        // One that begins at the end has no batch yet and is still in force.
        self.epochs.truncate_from_end(end.next());
        self.epochs.truncate_from_start(log_start);
        self.producers.on_high_watermark(self.source.high_watermark.map_or(end, |hw| hw.min(end)));
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
            staged_bytes: 0,
            damaged: self.damaged,
            checkpointed_end: self.replay_from,
            uncheckpointed_bytes: 0,
            closing: false,
            closed: false,
        };
        let Source { name, path, shared, committer, space, .. } = self.source;
        let log = LogInner::new(Parts { name, id, path, shared, committer, space, state });
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
        let lacking = self.trusts_absence();
        let segment = Segment::sealed(storage, dir, base, end, size, largest, lacking);
        self.segments.push(Arc::new(segment));
        Ok(())
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

    pub(super) fn next_base_after(&self, base: Offset) -> Option<Offset> {
        self.bases.iter().copied().find(|b| *b > base)
    }

    pub(super) fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let path = self.source.path.join(name);
        checkpoint::read_file(self.source.shared.io.storage.as_ref(), &path, max)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))
    }
}
