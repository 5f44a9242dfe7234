//! What a log needs done besides appends and reads: sealing, checkpoints, trimming, and the clean close.
//!
//! All of it is I/O, so none of it runs under the log's lock: each step takes what it needs under
//! the lock, does its work, and publishes the outcome under the lock again. One step at a time per
//! log, by [`LogInner::maintenance`].

use super::LogInner;
use super::inner::{Extent, LogState};
use super::ticket::Frontier;
use crate::checkpoint::{replace_file, replace_files};
use crate::error::{Error, ErrorKind, Result};
use crate::index::AbortedIndex;
use crate::io::DirEntry;
use crate::log::recover;
use crate::options::Retention;
use crate::producer::state::{self, Beside};
use crate::segment::name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, Suffix, parse_file_name, segment_file,
};
use crate::segment::{Segment, remove_doomed};
use crate::types::{LeaderEpoch, Offset};
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Everything a checkpoint writes, taken at one moment.
struct Checkpoint {
    end: Offset,
    retention: Retention,
    state: Vec<u8>,
    snapshot: Vec<u8>,
    segment: Arc<Segment>,
    offsets: Vec<u8>,
    times: Vec<u8>,
    aborted: Vec<u8>,
}

impl Checkpoint {
    fn take(state: &LogState) -> Self {
        let active = &state.active;
        Self {
            end: state.end,
            state: state::encode(&state.producers, state.end, &state.beside()),
            retention: state.config.retention(),
            snapshot: crate::producer::snapshot::encode(&state.producers),
            segment: Arc::clone(&active.segment),
            offsets: active.indexer.offsets().encode(),
            times: active.indexer.times().encode(),
            aborted: active.aborted.encode(),
        }
    }
}

impl LogInner {
    /// Does what is due: seals, checkpoints. Called by maintenance and by [`Engine::tick`].
    ///
    /// [`Engine::tick`]: crate::Engine::tick
    pub(crate) fn maintain(self: &Arc<Self>) {
        self.maintenance_queued.store(false, Ordering::Release);
        if self.failure().is_some() {
            return;
        }
        let outcome = self.seal_rolled().and_then(|()| {
            let due =
                self.state.lock().uncheckpointed_bytes >= self.shared.options.checkpoint_bytes;
            if due { self.checkpoint() } else { Ok(()) }
        });
        self.judge("maintenance failed", outcome);
    }

    /// What a step in the background makes of its failure. A full disk loses nothing: what could not
    /// be written is in memory still, and is written on a later tick. Anything else poisons.
    fn judge(&self, what: &str, outcome: Result<()>) {
        match outcome {
            Err(error) if *error.kind() != ErrorKind::DiskFull => {
                self.poison(what, io::Error::other(error));
            }
            _ => {}
        }
    }

    /// Everything that a tick does for a log.
    pub(crate) fn tick(self: &Arc<Self>) {
        self.maintain();
        if self.is_alive() {
            self.judge("retention failed", self.retain());
        }
        self.rest();
    }

    /// Lets go of descriptors and maps that nobody used since the last tick.
    pub(crate) fn rest(&self) {
        let state = self.state.lock();
        let (active, rolled) = (&state.active, state.rolled.is_empty());
        for segment in &state.segments {
            let is_active = segment.base() == active.segment.base();
            if segment.is_sealed() || (is_active && rolled && active.written == active.durable) {
                segment.rest();
            }
        }
    }

    /// The right to change the log's files. A log that has failed, or whose directory may be
    /// another's by now, gives it to nobody.
    pub(super) fn maintenance(&self) -> Result<MutexGuard<'_, ()>> {
        let guard = self.maintenance.lock();
        self.check_alive()?;
        Ok(guard)
    }

    /// Ends the log for good, then runs `remove`, while nobody reads or writes its files.
    pub(crate) fn retire<T>(&self, remove: impl FnOnce() -> Result<T>) -> Result<T> {
        let _one_at_a_time = self.maintenance.lock();
        self.fail(Error::new(ErrorKind::Closed, format!("{} was deleted", self.name)));
        {
            let mut state = self.state.lock();
            state.closed = true;
            state.segments.iter().for_each(|segment| segment.retire());
        }
        self.committer.exclusively(remove)
    }

    /// Stores a transaction index that a reader found again, unless maintenance is busy: then the
    /// next one to need it finds it again.
    pub(super) fn store_aborted(&self, segment: &Segment, aborted: &AbortedIndex) {
        if let Some(_one_at_a_time) = self.maintenance.try_lock()
            && self.is_alive()
            && !segment.is_retired()
        {
            // A cache: the answer was given from memory.
            drop(segment.store_aborted(aborted));
        }
    }

    /// Seals every rolled segment whose bytes are durable.
    pub(super) fn seal_rolled(&self) -> Result<()> {
        let _one_at_a_time = self.maintenance()?;
        loop {
            let Some(segment) = self.state.lock().to_seal.first().cloned() else { return Ok(()) };
            segment.seal(&self.shared.open_segments).map_err(|e| {
                Error::io(format!("seal segment {} of {}", segment.base(), self.name), e)
            })?;
            self.state.lock().to_seal.retain(|s| s.base() != segment.base());
            self.store_rolled_state(&segment)?;
        }
    }

    /// Stores the producers as of the end of a segment that was just sealed: a checkpoint, and what a
    /// truncation to there or behind it needs once the segment is gone (P-31, P-32).
    fn store_rolled_state(&self, segment: &Segment) -> Result<()> {
        let Some(end) = segment.end() else { return Ok(()) };
        let taken = {
            let mut state = self.state.lock();
            let before = state.rolled_states.partition_point(|(at, _)| *at < end);
            state.rolled_states.drain(..before);
            state.rolled_states.pop_front_if(|(at, _)| *at == end)
        };
        let Some((end, bytes)) = taken else { return Ok(()) };
        self.write_state(end, &bytes)
            .map_err(|e| Error::io(format!("write a checkpoint of {}", self.name), e))?;
        let mut state = self.state.lock();
        state.checkpointed_end = state.checkpointed_end.max(end);
        Ok(())
    }

    /// Makes a restart's work small: writes producers, epochs and the active segment's indexes as
    /// of now, once all of it is durable.
    pub(super) fn checkpoint(self: &Arc<Self>) -> Result<()> {
        let (taken, covered_bytes) = {
            let mut state = self.state.lock();
            state.wants_durable |= state.durable_end < state.end;
            (Checkpoint::take(&state), state.uncheckpointed_bytes)
        };
        self.wait_durable(taken.end)?;
        // A restart trusts the indexes of every segment below the checkpoint.
        self.seal_rolled()?;
        let _one_at_a_time = self.maintenance()?;
        if self.state.lock().end < taken.end {
            // Truncated meanwhile: what was taken is no longer so.
            return Ok(());
        }
        self.write_checkpoint(&taken)?;
        let mut state = self.state.lock();
        state.uncheckpointed_bytes = state.uncheckpointed_bytes.saturating_sub(covered_bytes);
        Ok(())
    }

    /// [`LogInner::checkpoint`] for a log that nobody else knows yet.
    pub(in crate::log) fn checkpoint_now(&self) -> Result<()> {
        let taken = Checkpoint::take(&self.state.lock());
        self.write_checkpoint(&taken)
    }

    /// The caller has the right to change the log's files.
    fn write_checkpoint(&self, taken: &Checkpoint) -> Result<()> {
        self.write_index_files(taken)
            .and_then(|()| self.write_states(taken.end, &[(FileKind::State, &taken.state)]))
            .map_err(|e| Error::io(format!("write a checkpoint of {}", self.name), e))?;
        let mut state = self.state.lock();
        state.checkpointed_end = taken.end;
        state.stored_retention = Some(taken.retention);
        Ok(())
    }

    /// Keeps what retention may remove with the log, if it is another than before.
    pub(super) fn store_retention(self: &Arc<Self>) -> Result<()> {
        let is_stored = {
            let state = self.state.lock();
            state.stored_retention == Some(state.config.retention())
        };
        if is_stored { Ok(()) } else { self.checkpoint() }
    }

    /// Everything that a restart believes on the word of a state. The epochs are those of now: who began
    /// one meanwhile was told that it is durable.
    fn write_index_files(&self, taken: &Checkpoint) -> io::Result<()> {
        let epochs = self.state.lock().epochs.encode();
        let base = taken.segment.base();
        let indexes = [
            (FileKind::OffsetIndex, &taken.offsets),
            (FileKind::TimeIndex, &taken.times),
            (FileKind::TxnIndex, &taken.aborted),
        ]
        .map(|(kind, bytes)| (segment_file(base, kind), bytes.as_slice()));
        // Sealing wrote the indexes already, and more of them.
        let due = if taken.segment.is_sealed() { &[] } else { &indexes[..] };
        let mut files: Vec<(&str, &[u8])> = vec![(LEADER_EPOCH_CHECKPOINT, &epochs)];
        files.extend(due.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
        replace_files(self.storage().as_ref(), &self.path, &files)
    }

    /// Stores producers, and the epochs before them: a state says that all below it is there.
    fn write_state(&self, end: Offset, state: &[u8]) -> io::Result<()> {
        let epochs = self.state.lock().epochs.encode();
        replace_file(self.storage().as_ref(), &self.path, LEADER_EPOCH_CHECKPOINT, &epochs)?;
        self.write_states(end, &[(FileKind::State, state)])
    }

    /// Stores producers as of `end`.
    fn write_states(&self, end: Offset, states: &[(FileKind, &[u8])]) -> io::Result<()> {
        let names: Vec<String> = states.iter().map(|(kind, _)| segment_file(end, *kind)).collect();
        let bytes = states.iter().map(|(_, bytes)| *bytes);
        let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(bytes).collect();
        replace_files(self.storage().as_ref(), &self.path, &files)?;
        self.remove_older(FileKind::State, end, 2)
    }

    /// Removes files of `kind` but the newest `keep` up to `newest` and those at the base of a segment:
    /// without the one at the base of the first, a truncation would forget what lay before it (P-32).
    fn remove_older(&self, kind: FileKind, newest: Offset, keep: usize) -> io::Result<()> {
        let bases: Vec<Offset> = self.state.lock().segments.iter().map(|s| s.base()).collect();
        let mut offsets: Vec<Offset> = self
            .storage()
            .list_dir(&self.path)?
            .iter()
            .filter_map(|entry| match parse_file_name(&entry.name) {
                Some((offset, found, Suffix::None)) if found == kind => Some(offset),
                _ => None,
            })
            .collect();
        offsets.sort_unstable();
        offsets.retain(|offset| *offset <= newest);
        let old = offsets.len().saturating_sub(keep);
        let unneeded = |offset: &Offset| bases.binary_search(offset).is_err();
        for offset in offsets.into_iter().take(old).filter(unneeded) {
            self.storage().remove_file(&self.path.join(segment_file(offset, kind)))?;
        }
        Ok(())
    }

    /// Blocks until everything below `end` is durable, or no longer there.
    pub(super) fn wait_durable(self: &Arc<Self>, end: Offset) -> Result<()> {
        if self.frontier(Frontier::Durable) < end {
            self.state.lock().wants_durable = true;
            self.enqueue();
            self.committer.run_staged();
            // A group of somebody else may have taken it; `run_staged` waited for that one too.
            while self.frontier(Frontier::Durable) < end {
                self.check_alive()?;
                if self.state.lock().end < end {
                    // Truncated meanwhile: there is no such offset any more.
                    return Ok(());
                }
                self.enqueue();
                self.committer.run_staged();
            }
        }
        self.check_alive()
    }

    /// Writes everything out and leaves the files as Kafka leaves them after a clean shutdown.
    pub(crate) fn close(self: &Arc<Self>) -> Result<()> {
        if std::mem::replace(&mut self.state.lock().closing, true) {
            return Ok(());
        }
        let (_one_at_a_time, taken, is_stored) = loop {
            let end = self.state.lock().end;
            self.wait_durable(end)?;
            self.seal_rolled()?;
            let guard = self.maintenance()?;
            let mut state = self.state.lock();
            // What was under way when the log began to close has ended by the next round.
            if state.durable_end == state.end && state.to_seal.is_empty() {
                state.closed = true;
                state.active.indexer.close();
                let is_stored = state.stored == Some(Extent::of(&state));
                break (guard, Checkpoint::take(&state), is_stored);
            }
        };
        self.fail(Error::new(ErrorKind::Closed, format!("{} was closed", self.name)));
        if is_stored {
            return Ok(());
        }
        self.trim_active()?;
        let states = [(FileKind::State, &taken.state[..]), (FileKind::Snapshot, &taken.snapshot)];
        self.write_index_files(&taken)
            .and_then(|()| self.write_states(taken.end, &states))
            .and_then(|()| self.remove_older(FileKind::Snapshot, taken.end, 1))
            .map_err(|e| Error::io(format!("close {}", self.name), e))?;
        self.state.lock().checkpointed_end = taken.end;
        Ok(())
    }

    /// Cuts the padding behind the active segment's data.
    fn trim_active(&self) -> Result<()> {
        let (segment, size) = {
            let state = self.state.lock();
            (Arc::clone(&state.active.segment), state.active.size())
        };
        if !segment.has_file() {
            segment.create_file().map_err(|e| Error::io("create the active segment", e))?;
        }
        let file = segment.file()?;
        file.set_len(size)
            .and_then(|()| file.sync())
            .map_err(|e| Error::io(format!("trim {}", self.name), e))
    }

    /// Raises the log start offset; see [`Log::trim_before`](super::Log::trim_before).
    pub(super) fn trim_before(self: &Arc<Self>, offset: Offset) -> Result<Offset> {
        let _one_at_a_time = self.maintenance()?;
        {
            let state = self.state.lock();
            if offset > state.high_watermark {
                let kind =
                    ErrorKind::OutOfRange { start: state.log_start, end: state.high_watermark };
                let context = format!("cannot trim {} before {offset}", self.name);
                return Err(Error::new(kind, context));
            }
            if offset <= state.log_start {
                return Ok(state.log_start);
            }
        }
        // Durable first: an acknowledged trim is never undone.
        self.shared.store_log_start(&self.name, &self.path, offset)?;
        let mut state = self.state.lock();
        state.log_start = state.log_start.max(offset);
        let log_start = state.log_start;
        state.epochs.truncate_from_start(log_start);
        state.producers.on_log_start(log_start);
        self.publish(&state);
        drop(state);
        self.wake_waiters();
        Ok(log_start)
    }

    /// Takes segments that lie wholly before the log start offset out of use; their files go
    /// after `file_delete_delay_ms`. Readers that hold one keep it.
    ///
    /// INV-STATE-COVERS-TRIM: what only those segments could tell of producers is in a checkpoint
    /// first, or a restart would not know a retry of theirs.
    pub(super) fn remove_trimmed(self: &Arc<Self>) -> Result<()> {
        let uncovered = {
            let state = self.state.lock();
            let gone = state.trimmed_segments();
            let end = state.segments.get(..gone).and_then(<[_]>::last).and_then(|s| s.end());
            end.is_some_and(|end| end > state.checkpointed_end)
        };
        if uncovered {
            self.checkpoint()?;
        }
        let _one_at_a_time = self.maintenance()?;
        let failed = |e| Error::io(format!("remove a segment of {}", self.name), e);
        let gone: Vec<Arc<Segment>> = {
            let state = self.state.lock();
            let covered = state.checkpointed_end;
            let uncovered = |s: &&Arc<Segment>| s.end().is_some_and(|end| end <= covered);
            let trimmed = &state.segments[..state.trimmed_segments()];
            trimmed.iter().take_while(uncovered).map(Arc::clone).collect()
        };
        self.keep_state_behind(&gone)?;
        self.state.lock().segments.drain(..gone.len());
        for segment in &gone {
            segment.retire();
            segment.doom_files().map_err(failed)?;
        }
        if let Some(end) = gone.last().and_then(|last| last.end()) {
            self.remove_older(FileKind::State, end, 1).map_err(failed)?;
        }
        self.remove_doomed(&gone)
    }

    /// Sees to it that producers as of the end of segments that go are on the disk. Mostly they are, since
    /// the last of them was sealed; else the batches are read once more.
    fn keep_state_behind(&self, gone: &[Arc<Segment>]) -> Result<()> {
        let Some(end) = gone.last().and_then(|last| last.end()) else { return Ok(()) };
        let stored = [FileKind::State, FileKind::Snapshot].map(|kind| segment_file(end, kind));
        let is_stored = |entry: &DirEntry| stored.contains(&entry.name);
        let failed = |e| Error::io(format!("write a checkpoint of {}", self.name), e);
        if self.storage().list_dir(&self.path).map_err(failed)?.iter().any(is_stored) {
            return Ok(());
        }
        // Bytes that cannot be read keep nothing from going, and tell nobody anything.
        let Ok(state) = recover::rebuild_state(self, gone, end) else { return Ok(()) };
        self.write_state(end, &state).map_err(failed)
    }

    /// Removes the files of segments that went long enough ago, all of them if space is short. The
    /// caller has the right to change the log's files.
    fn remove_doomed(&self, gone: &[Arc<Segment>]) -> Result<()> {
        let now = self.shared.io.clock.monotonic();
        let is_full = !self.space.has_room_for(1);
        let due: Vec<Offset> = {
            let mut state = self.state.lock();
            let delay_ms = u64::try_from(state.config.file_delete_delay_ms).unwrap_or(0);
            let end = now.saturating_add(Duration::from_millis(delay_ms));
            state.doomed.extend(gone.iter().map(|segment| (end, segment.base())));
            let due = state.doomed.iter().take_while(|(end, _)| is_full || *end <= now).count();
            state.doomed.drain(..due).map(|(_, base)| base).collect()
        };
        for base in due {
            remove_doomed(self.storage().as_ref(), &self.path, base)
                .map_err(|e| Error::io(format!("remove a segment of {}", self.name), e))?;
        }
        Ok(())
    }

    /// Rolls the active segment if it holds anything.
    pub(super) fn force_roll(self: &Arc<Self>) {
        let now_ms = self.shared.io.clock.now_ms();
        let mut state = self.state.lock();
        if state.active.size() > 0 && !state.closing {
            let base = state.end;
            self.roll(&mut state, base, now_ms);
            let sealable = !state.to_seal.is_empty();
            drop(state);
            if sealable {
                self.request_maintenance();
            }
        }
    }

    /// Begins a leader epoch at the log end offset; durable when this returns.
    pub(super) fn begin_leader_epoch(self: &Arc<Self>, epoch: LeaderEpoch) -> Result<()> {
        let _one_at_a_time = self.maintenance()?;
        let bytes = {
            let mut state = self.state.lock();
            if epoch <= state.leader_epoch() {
                let context = format!("{epoch} is not above epoch {}", state.leader_epoch());
                return Err(Error::new(ErrorKind::FencedLeaderEpoch, context));
            }
            let end = state.end;
            state.epochs.assign(epoch, end);
            state.epochs.encode()
        };
        replace_file(self.storage().as_ref(), &self.path, LEADER_EPOCH_CHECKPOINT, &bytes)
            .map_err(|e| Error::io(format!("store an epoch of {}", self.name), e))
    }
}

impl LogState {
    /// What a checkpoint keeps beside the producers. Only those transaction indexes are vouched for that
    /// are known to be right.
    pub(super) fn beside(&self) -> Beside {
        let sealed = self.segments.iter().filter_map(|segment| segment.aborted_sum());
        let sums = sealed.chain(self.active.aborted.sum()).collect();
        Beside { sums, retention: Some(self.config.retention()) }
    }

    /// How many segments lie wholly before the log start offset.
    fn trimmed_segments(&self) -> usize {
        let log_start = self.log_start;
        self.segments
            .partition_point(|s| s.is_sealed() && s.end().is_some_and(|end| end <= log_start))
    }

    pub(super) fn size_bytes(&self) -> u64 {
        let sealed: u64 =
            self.segments.iter().filter(|s| s.end().is_some()).map(|s| s.size()).sum();
        sealed + self.active.size()
    }
}
