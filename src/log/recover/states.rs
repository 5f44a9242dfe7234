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
    pub(super) fn ensure_aborted_indexes(&mut self) -> Result<()> {
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
