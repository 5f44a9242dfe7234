//! What a load takes over without reading batches: producers, epochs, transaction indexes.

use super::loader::Loader;
use super::{STATE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::checkpoint::{self, TextDamage};
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, Result};
use crate::index::{AbortedEntry, AbortedIndex};
use crate::io::OpenMode;
use crate::log::LogInner;
use crate::log::append::stored_facts;
use crate::producer::state::StateError;
use crate::producer::{CompletedTxn, ProducerTable, RestoreAt};
use crate::segment::name::{FileKind, LEADER_EPOCH_CHECKPOINT, segment_file};
use crate::segment::scan::{Scanner, Step, resync};
use crate::types::Offset;
use std::sync::Arc;

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
        candidates.extend(snapshots.iter().map(|o| (*o, false)));
        candidates.sort_unstable();
        let at = RestoreAt { now_ms: self.source.shared.io.clock.now_ms(), log_start };
        let limits = LogInner::limits(&self.source.shared, &self.source.config);
        for (offset, ours) in candidates.into_iter().rev() {
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
        }
        Ok(())
    }

    /// Builds the transaction indexes of the segments below the replay point again if one is missing
    /// or damaged. It takes a walk over all of them, since an aborted transaction may have begun in
    /// any earlier segment.
    pub(super) fn ensure_aborted_indexes(&mut self) -> Result<()> {
        if !self.is_ours {
            return Ok(());
        }
        let replay_from = self.replay_from;
        let below: Vec<Offset> =
            self.bases.iter().copied().filter(|base| *base < replay_from).collect();
        let mut wrong = Vec::new();
        for base in &below {
            let name = segment_file(*base, FileKind::TxnIndex);
            let bytes = self.read(&name, STATE_BYTES_MAX)?;
            if !bytes.is_some_and(|bytes| AbortedIndex::decode(*base, &bytes).is_ok()) {
                wrong.push(name);
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        self.report.rebuilt.extend(wrong);
        let storage = Arc::clone(&self.source.shared.io.storage);
        let failed = |e| Error::io(format!("rebuild the indexes of {}", self.source.name), e);
        let mut producers =
            ProducerTable::new(LogInner::limits(&self.source.shared, &self.source.config));
        for base in below {
            let path = self.source.path.join(segment_file(base, FileKind::Log));
            let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
            let len = file.len().map_err(failed)?;
            let aborted = replay_aborted(Scanner::new(file, 0, len), base, &mut producers)?;
            let name = segment_file(base, FileKind::TxnIndex);
            checkpoint::replace_file(storage.as_ref(), &self.source.path, &name, &aborted.encode())
                .map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn load_epochs(&mut self) -> Result<()> {
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

    /// The aborted transactions whose marker lies below the replay point; the rest is replayed.
    pub(super) fn resume_aborted(&mut self, base: Offset) -> Result<AbortedIndex> {
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
}

/// The aborted transactions that end in one segment, given the producers as of its base.
fn replay_aborted(
    mut scanner: Scanner,
    base: Offset,
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
