//! What a load takes over without reading batches: producers, epochs, transaction indexes.

use super::aborted::rebuild_aborted;
use super::loader::Loader;
use super::{STATE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::checkpoint::TextDamage;
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, Result};
use crate::index::{AbortedIndex, AbortedSum};
use crate::io::OpenMode;
use crate::log::LogInner;
use crate::producer::state::StateError;
use crate::producer::{ProducerLimits, ProducerTable, RestoreAt};
use crate::segment::Segment;
use crate::segment::name::{FileKind, LEADER_EPOCH_CHECKPOINT, segment_file};
use crate::segment::scan::{Scanner, Step, resync};
use crate::types::Offset;
use std::sync::Arc;

/// The producers in a file, a `.state` of the log up to `offset` if it is ours, else a `.snapshot`; and
/// what the state vouches for.
/// `None` if it is damaged.
pub(super) fn restore(
    bytes: &[u8],
    (offset, ours): (Offset, bool),
    limits: ProducerLimits,
    at: RestoreAt,
) -> Result<Option<(ProducerTable, Vec<AbortedSum>)>> {
    if !ours {
        let table = ProducerTable::restore_snapshot(limits, bytes, at).ok();
        return Ok(table.map(|table| (table, Vec::new())));
    }
    match ProducerTable::restore_state(limits, bytes, at) {
        Ok((table, end, sums)) if end == offset => Ok(Some((table, sums))),
        Err(StateError::Newer(error)) => Err(error),
        _ => Ok(None),
    }
}

impl Loader {
    /// Takes the newest state that is whole: ours if it is as new as Kafka's, which remembers one
    /// batch per producer only.
    pub(super) fn restore_producers(
        &mut self,
        states: &[Offset],
        snapshots: &[Offset],
        log_start: Offset,
    ) -> Result<()> {
        let mut candidates: Vec<(Offset, bool)> = states.iter().map(|o| (*o, true)).collect();
        // A snapshot that ran ahead of the disk may tell of batches that are gone, and a replay knows more.
        let snapshots = snapshots.iter().filter(|offset| **offset <= self.durable_to);
        candidates.extend(snapshots.map(|o| (*o, false)));
        candidates.sort_unstable();
        let at = RestoreAt { now_ms: self.source.shared.io.clock.now_ms(), log_start };
        let limits = LogInner::limits(&self.source.shared, &self.source.config);
        while let Some((offset, ours)) = candidates.pop() {
            let kind = if ours { FileKind::State } else { FileKind::Snapshot };
            let name = segment_file(offset, kind);
            let Some(bytes) = self.read(&name, STATE_BYTES_MAX)? else { continue };
            match restore(&bytes, (offset, ours), limits, at)? {
                Some((table, sums)) if offset >= self.replay_from => {
                    self.producers = table;
                    self.aborted_sums = sums.into_iter().map(|sum| (sum.base, sum)).collect();
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

    pub(super) fn load_epochs(&mut self) -> Result<()> {
        let bytes = self.read(LEADER_EPOCH_CHECKPOINT, TEXT_BYTES_MAX)?;
        match bytes.map(|bytes| LeaderEpochCache::decode(&bytes)) {
            Some(Ok(epochs)) => {
                self.epochs = epochs;
                return Ok(());
            }
            Some(Err(e @ TextDamage::Newer { .. })) => {
                return Err(e.into_error(&self.source.path.join(LEADER_EPOCH_CHECKPOINT)));
            }
            Some(Err(_damage)) => self.report.rebuilt.push(LEADER_EPOCH_CHECKPOINT.to_owned()),
            None => {}
        }
        self.rebuild_epochs()
    }

    /// Takes the epochs from the batches below the replay point; the rest is replayed.
    fn rebuild_epochs(&mut self) -> Result<()> {
        let failed = |e| Error::io("rebuild the leader epochs of a log", e);
        let storage = Arc::clone(&self.source.shared.io.storage);
        let below = self.bases.partition_point(|base| *base < self.replay_from);
        for base in self.bases.iter().take(below) {
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
            let len = file.len().map_err(failed)?;
            let mut scanner = Scanner::new(file, 0, len);
            let mut expected = *base;
            loop {
                match scanner.step().map_err(failed)? {
                    Step::Batch { batch, .. } => {
                        self.epochs.assign(batch.leader_epoch(), batch.base_offset());
                        expected = batch.next_offset();
                    }
                    Step::End => break,
                    Step::Bad => {
                        if resync(&mut scanner, expected).map_err(failed)?.is_none() {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The aborted transactions of a walked segment whose marker lies below the replay point; the
    /// rest is replayed.
    pub(super) fn resume_aborted(&mut self, base: Offset, len: u64) -> Result<AbortedIndex> {
        if base >= self.replay_from {
            return Ok(AbortedIndex::new(base));
        }
        let storage = Arc::clone(&self.source.shared.io.storage);
        let dir = Arc::clone(&self.source.path);
        let end = self.replay_from;
        let sum = self.aborted_sums.get(&base).copied();
        let on_disk = Segment::sealed(storage, dir, base, end, len, -1, sum);
        let mut aborted = match on_disk.aborted()? {
            Some(aborted) => AbortedIndex::clone(&aborted),
            None => {
                let limits = LogInner::limits(&self.source.shared, &self.source.config);
                let mut segments = self.segments.clone();
                segments.push(Arc::new(on_disk));
                // Without a sum the batches are the only ones to ask: nothing to tell.
                if sum.is_some() {
                    self.report.rebuilt.push(segment_file(base, FileKind::TxnIndex));
                }
                rebuild_aborted(&segments, limits)?
            }
        };
        aborted.truncate_to(self.replay_from);
        Ok(aborted)
    }
}
