//! The small files of a data directory and of a log: names, text forms, and the one way to replace
//! such a file so that a crash leaves the old one or the new one.
//!
//! - [`replace_files`]: temporary files, flushes, renames, one flush of the directory. What a crash
//!   leaves under the temporary names goes at load.
//! - Checkpoints share one frame (D-45): a line with the version, a line with the number of entries,
//!   one line per entry. [`OffsetCheckpoint`] is one kind, the leader epochs are the other.
//! - [`PartitionMetadata`] and [`MetaProperties`] hold identities.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod base64;
mod identity;
mod offsets;
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use base64::encode as encode_id;
pub(crate) use identity::{DirectoryIds, MetaProperties, PartitionMetadata};
pub(crate) use offsets::OffsetCheckpoint;

use crate::error::{Error, ErrorKind};
use crate::io::{File, OpenMode, Storage, flush_failed};
use crate::segment::name::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, parse_file_name};
use crate::types::Offset;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Below which offset each log is known to be on disk (D-46).
pub(crate) const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";

/// The high watermark of each log.
pub(crate) const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";

/// The log start offset of each log that was trimmed.
pub(crate) const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";

/// The first offset of each log that compaction has not cleaned.
pub(crate) const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Who the data directory belongs to (D-52).
pub(crate) const META_PROPERTIES: &str = "meta.properties";

/// Which data directories belong together.
pub(crate) const DIRECTORIES: &str = "oncelog.directories";

/// There only after an orderly stop (D-51).
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// What the clean-shutdown file holds; only that it exists matters.
pub(crate) const CLEAN_SHUTDOWN_BODY: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;

/// What a file is called while it is written.
const TEMPORARY: &str = ".tmp";

/// The only version of every text file but `meta.properties`.
const VERSION: i32 = 0;

/// Why a text file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextDamage {
    /// A newer version than is known. The file is somebody's and stays as it is.
    Newer {
        /// Its version.
        version: i32,
    },
    /// Not what a file of this kind looks like.
    Malformed {
        /// Line, from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
}

impl TextDamage {
    /// Line `line` (from 1) is not `expected`.
    pub(crate) const fn malformed(line: usize, expected: &'static str) -> Self {
        Self::Malformed { line, expected }
    }

    /// The engine's error for a file that cannot be done without.
    ///
    /// A malformed one damages no range of records, so the range it reports is empty.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        let kind = match self {
            Self::Newer { .. } => ErrorKind::NewerFormat,
            Self::Malformed { .. } => {
                ErrorKind::Corrupt { first: Offset::ZERO, next: Offset::ZERO }
            }
        };
        Error::with_source(kind, format!("reading {}", path.display()), self)
    }
}

impl fmt::Display for TextDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { version } => write!(f, "version {version} is newer than is known"),
            Self::Malformed { line, expected } => write!(f, "line {line} is not {expected}"),
        }
    }
}

impl std::error::Error for TextDamage {}

/// Replaces the file `name` in `dir`. After a crash at any point it has the old content or the new.
///
/// # Errors
/// Whatever the storage says. The name may then show either content, and after a failed flush of
/// the directory the new one may be lost by a power cut: treat it like a failed flush.
///
/// # Durability
/// Content and name are on stable storage when this returns.
pub(crate) fn replace_file(
    storage: &dyn Storage,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    replace_files(storage, dir, &[(name, bytes)])
}

/// [`replace_file`] for several files, with one flush of the directory. After a crash each of them has
/// the old content or the new, whatever the others have: what must come first goes in a call of its own.
pub(crate) fn replace_files(
    storage: &dyn Storage,
    dir: &Path,
    files: &[(&str, &[u8])],
) -> io::Result<()> {
    let mut unflushed = Vec::new();
    for (name, bytes) in files {
        unflushed.extend(write_unflushed(storage, &dir.join(temporary_name(name)), bytes)?);
    }
    // All are written before the first is flushed: what a file system commits for one helps the others.
    for file in unflushed {
        file.sync()?;
    }
    for (name, _) in files {
        storage.rename(&dir.join(temporary_name(name)), &dir.join(name))?;
    }
    storage.sync_dir(dir).map_err(flush_failed)
}

/// Writes a whole file, and gives it back if it has to be flushed. One that is made and stays empty
/// has nothing but its name.
pub(crate) fn write_unflushed(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
) -> io::Result<Option<Arc<dyn File>>> {
    let (file, is_new) = match storage.open(path, OpenMode::CreateNew, false) {
        // Of an attempt that failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            (storage.open(path, OpenMode::Truncate, false)?, false)
        }
        opened => (opened?, true),
    };
    if bytes.is_empty() && is_new {
        return Ok(None);
    }
    file.write_at(bytes, 0)?;
    Ok(Some(file))
}

/// Reads a small file; `None` if there is none.
///
/// # Errors
/// `InvalidData` if it is larger than `bytes_max`; nothing that large is allocated. Else whatever
/// the storage says.
pub(crate) fn read_file(
    storage: &dyn Storage,
    path: &Path,
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path, OpenMode::Read, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.len()?;
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= bytes_max) else {
        let reason = format!("{} has {len} bytes, above {bytes_max}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    };
    let mut bytes = vec![0; len];
    let mut position = 0;
    while let Some(rest) = bytes.get_mut(position..).filter(|rest| !rest.is_empty()) {
        let read = file.read_at(rest, u64::try_from(position).unwrap_or(u64::MAX))?;
        if read == 0 {
            break;
        }
        position = position.saturating_add(read);
    }
    bytes.truncate(position);
    Ok(Some(bytes))
}

/// Whether `name` is that of a file of ours while it is written.
pub(crate) fn is_temporary(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        RECOVERY_POINT_CHECKPOINT,
        HIGH_WATERMARK_CHECKPOINT,
        LOG_START_CHECKPOINT,
        CLEANER_CHECKPOINT,
        META_PROPERTIES,
        DIRECTORIES,
        CLEAN_SHUTDOWN,
        LEADER_EPOCH_CHECKPOINT,
        PARTITION_METADATA,
    ];
    name.strip_suffix(TEMPORARY)
        .is_some_and(|name| NAMES.contains(&name) || parse_file_name(name).is_some())
}

/// What a file is called until it is whole.
pub(crate) fn temporary_name(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// The frame of a checkpoint around its entries (D-45).
pub(crate) fn encode_checkpoint(entries: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        text.push_str(&entry);
        text.push('\n');
    }
    text.into_bytes()
}

/// The entries of a checkpoint with their line numbers. Version and count are checked (D-45).
///
/// A file without a byte has no entries: Kafka creates its checkpoints that way.
pub(crate) fn checkpoint_lines(
    bytes: &[u8],
) -> Result<impl Iterator<Item = (usize, &str)>, TextDamage> {
    let text = utf8(bytes)?;
    let mut lines = (1_usize..).zip(text.lines());
    if let Some((number, line)) = lines.next() {
        check_version(number, line, VERSION)?;
        let expected = TextDamage::malformed(2, "the number of entries that follow");
        let count = lines.next().and_then(|(_, line)| line.parse::<usize>().ok());
        if count.ok_or_else(|| expected.clone())? != lines.clone().count() {
            return Err(expected);
        }
    }
    Ok(lines)
}

/// Refuses a version line that is damaged or above `known`.
fn check_version(line: usize, text: &str, known: i32) -> Result<i32, TextDamage> {
    match text.parse() {
        Ok(version) if version > known => Err(TextDamage::Newer { version }),
        Ok(version) if version >= 0 => Ok(version),
        _ => Err(TextDamage::malformed(line, "a version number")),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, TextDamage> {
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        TextDamage::malformed(line, "UTF-8")
    })
}
