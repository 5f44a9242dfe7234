//! When retention would take something from a log that is not loaded.
//!
//! Opening is lazy: a log that nobody has asked for since a clean close costs nothing. Its files say all
//! that retention needs, and they do not change. So they are looked at once, and the log is loaded when
//! the time has come that this look found. What the look believes is checked by the load, and nothing
//! is removed on the word of this file alone.

use crate::error::{Error, Result};
use crate::index::TimeIndex;
use crate::io::{OpenMode, Storage};
use crate::options::Retention;
use crate::producer::state;
use crate::segment::name::{FileKind, Suffix, parse_file_name, segment_file};
use crate::types::Offset;
use std::io;
use std::path::Path;

/// Largest time index that is read.
const INDEX_BYTES_MAX: usize = 1 << 30;

/// From which time on retention may find something to remove in the log at `path`; `i64::MAX` for never.
///
/// A log that does not say what may be removed of it is left alone: nobody has configured it yet.
pub(crate) fn retention_due_ms(
    storage: &dyn Storage,
    path: &Path,
    log_start: Option<Offset>,
) -> Result<i64> {
    look(storage, path, log_start).map_err(|e| Error::io(format!("look at {}", path.display()), e))
}

fn look(storage: &dyn Storage, path: &Path, log_start: Option<Offset>) -> io::Result<i64> {
    const NOW: i64 = i64::MIN;
    const NEVER: i64 = i64::MAX;
    let (mut bases, mut newest_state) = (Vec::new(), None);
    for entry in storage.list_dir(path)? {
        match parse_file_name(&entry.name) {
            Some((base, FileKind::Log, Suffix::None)) => bases.push(base),
            Some((at, FileKind::State, Suffix::None)) => newest_state = newest_state.max(Some(at)),
            _ => {}
        }
    }
    bases.sort_unstable();
    let (Some(first), Some(newest_state)) = (bases.first().copied(), newest_state) else {
        return Ok(NEVER);
    };
    let state = path.join(segment_file(newest_state, FileKind::State));
    let Some(retention) = stored_retention(storage, &state)? else { return Ok(NEVER) };
    let second = bases.get(1).copied();
    if second.is_some_and(|second| log_start.is_some_and(|start| start >= second)) {
        return Ok(NOW);
    }
    let size = |base: &Offset| -> io::Result<u64> {
        storage.open(&path.join(segment_file(*base, FileKind::Log)), OpenMode::Read, false)?.len()
    };
    let first_size = size(&first)?;
    if first_size == 0 {
        return Ok(NEVER);
    }
    if retention.bytes >= 0 {
        let sizes = bases.iter().map(size).collect::<io::Result<Vec<u64>>>()?;
        if retention.is_oversized(sizes.iter().sum(), first_size) {
            return Ok(NOW);
        }
    }
    if retention.ms < 0 {
        return Ok(NEVER);
    }
    // Without a time that is one, the batches have to be asked.
    let latest = latest_ms(storage, path, first, second)?;
    Ok(latest.map_or(NOW, |latest| latest.saturating_add(retention.ms).saturating_add(1)))
}

/// What retention may remove, by the beginning of a `.state`.
fn stored_retention(storage: &dyn Storage, path: &Path) -> io::Result<Option<Retention>> {
    let file = storage.open(path, OpenMode::Read, false)?;
    let mut prefix = [0; state::PREFIX_LEN];
    let read = file.read_at(&mut prefix, 0)?;
    // A damaged or newer one is for the load to tell.
    Ok(state::retention(prefix.get(..read).unwrap_or_default()).ok().flatten())
}

/// The largest timestamp of the segment at `base`, by its time index.
fn latest_ms(
    storage: &dyn Storage,
    path: &Path,
    base: Offset,
    end: Option<Offset>,
) -> io::Result<Option<i64>> {
    let path = path.join(segment_file(base, FileKind::TimeIndex));
    let bytes = crate::checkpoint::read_file(storage, &path, INDEX_BYTES_MAX)?;
    let end = end.unwrap_or(Offset::new(i64::MAX));
    let index = bytes.and_then(|bytes| TimeIndex::decode(base, &bytes, end).ok());
    Ok(index.and_then(|index| index.last()).map(|(timestamp_ms, _)| timestamp_ms))
}
