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
//!
//! | file | owns |
//! |---|---|
//! | `leftovers` | files that a crash left on their way in or out |
//! | `loader` | the steps of a load and what they gather |
//! | `states` | what is taken over without a walk: state files, epochs, a transaction index |
//! | `aborted` | a transaction index that is missing or damaged |
//! | `behind` | producers as of the end of segments that go |
//! | `walk` | one segment, batch by batch |
//! | `damage` | torn tail or damage: the durable watermark |
//! | `finish` | from walked segments to the log's rolled and active ones |
//! | `cut` | the file side of a truncation |

mod aborted;
mod behind;
mod cut;
mod damage;
mod finish;
mod leftovers;
mod loader;
mod states;
mod walk;

pub(super) use aborted::rebuild_aborted;
pub(super) use behind::rebuild_state;
pub(super) use cut::cut;

use super::LogInner;
use crate::checkpoint::{self, PartitionMetadata};
use crate::commit::Committer;
use crate::engine::{Shared, Space};
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, Result};
use crate::index::AbortedIndex;
use crate::io::flush_failed;
use crate::options::{LogConfig, LogName};
use crate::producer::ProducerTable;
use crate::producer::state::encode_with;
use crate::segment::name::{FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, segment_file};
use crate::types::Offset;
use loader::Loader;
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
    pub(crate) space: Arc<Space>,
    pub(crate) config: Arc<LogConfig>,
    /// The data directory was closed in order.
    pub(crate) clean: bool,
    /// From the data directory's checkpoint, if it lists the log.
    pub(crate) log_start: Option<Offset>,
    /// Where it is if an embedder sets it; else it is the log's end.
    pub(crate) high_watermark: Option<Offset>,
}

/// Writes the files of a fresh log under the name `making`, one that the next open would remove, gives
/// the directory its own name, and loads it. Durable when this returns; a crash leaves all of it or none.
pub(crate) fn create(mut source: Source, id: [u8; 16], making: &Path) -> Result<LogInner> {
    let storage = &source.shared.io.storage;
    let failed = |e| Error::io(format!("create {}", source.path.display()), e);
    let made = write_fresh(&source, id, making).and_then(|()| storage.rename(making, &source.path));
    if let Err(error) = made {
        // What is left of it goes with the next open.
        drop(storage.remove_dir(making));
        return Err(failed(error));
    }
    if let Some(parent) = source.path.parent() {
        storage.sync_dir(parent).map_err(flush_failed).map_err(failed)?;
    }
    // Its files are those of a log that was closed in order.
    source.clean = true;
    Ok(load(source)?.0)
}

/// The files that an orderly close leaves of a log without batches. None of them has a name yet that
/// anybody believes, so the order in which they become durable does not matter.
fn write_fresh(source: &Source, id: [u8; 16], dir: &Path) -> io::Result<()> {
    const EMPTY: [FileKind; 4] =
        [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex];
    let storage = source.shared.io.storage.as_ref();
    let limits = LogInner::limits(&source.shared, &source.config);
    let producers = ProducerTable::new(limits);
    let mut files: Vec<(String, Vec<u8>)> =
        EMPTY.map(|kind| (segment_file(Offset::ZERO, kind), Vec::new())).into();
    files.push((PARTITION_METADATA.to_owned(), PartitionMetadata { topic_id: id }.encode()));
    files.push((LEADER_EPOCH_CHECKPOINT.to_owned(), LeaderEpochCache::default().encode()));
    let sums: Vec<_> = AbortedIndex::new(Offset::ZERO).sum().into_iter().collect();
    let state = encode_with(&producers, Offset::ZERO, &sums);
    files.push((segment_file(Offset::ZERO, FileKind::State), state));
    storage.create_dir(dir)?;
    let mut unflushed = Vec::new();
    for (name, bytes) in &files {
        unflushed.extend(checkpoint::write_unflushed(storage, &dir.join(name), bytes)?);
    }
    for file in unflushed {
        file.sync().map_err(flush_failed)?;
    }
    storage.sync_dir(dir).map_err(flush_failed)
}

/// Loads a log from its directory.
pub(crate) fn load(source: Source) -> Result<(LogInner, RecoveryReport)> {
    Loader::new(source)?.run()
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
