//! Files that a crash left on their way in or out of a log's directory.
//!
//! | name | was | becomes |
//! |---|---|---|
//! | `.tmp`, `.deleted` | half written; waiting for its end | removed |
//! | `.cleaned` | unfinished output of compaction or of a split | removed |
//! | `.swap` at or behind a `.cleaned` | one part of an unfinished split | removed |
//! | other `.swap` | a finished replacement | replaces what lies in its range of offsets |
//! | an index without its `.log` | left by a removal | removed |
//!
//! Each step can be repeated after a crash in the middle of it: the replaced files go before the
//! first `.swap` loses its suffix, and a `.swap` is complete and flushed before it gets the name.

use crate::checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{OpenMode, Storage};
use crate::segment::name::{FileKind, Suffix, parse_file_name, segment_file, segment_file_with};
use crate::segment::scan::{Scanner, Step};
use crate::types::Offset;
use std::path::Path;

/// A file named after an offset.
type Named = (Offset, FileKind);

/// Finishes or undoes what was under way.
pub(super) fn settle_leftovers(storage: &dyn Storage, dir: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("sort out {}", dir.display()), e);
    let remove = |name: &str| storage.remove_file(&dir.join(name)).map_err(failed);
    let (mut kept, mut swaps, mut cleaned) = (Vec::new(), Vec::new(), Vec::new());
    for entry in storage.list_dir(dir).map_err(failed)? {
        if checkpoint::is_temporary(&entry.name) {
            remove(&entry.name)?;
            continue;
        }
        match parse_file_name(&entry.name) {
            Some((_, _, Suffix::Deleted)) => remove(&entry.name)?,
            Some((base, kind, Suffix::Cleaned)) => cleaned.push((base, kind)),
            Some((base, kind, Suffix::Swap)) => swaps.push((base, kind)),
            Some((base, kind, Suffix::None)) => kept.push((base, kind)),
            None => {}
        }
    }
    if let Some(first_cleaned) = cleaned.iter().map(|(base, _)| *base).min() {
        let unfinished = |(base, _): &Named| *base >= first_cleaned;
        for (base, kind) in swaps.extract_if(.., |swap| unfinished(swap)) {
            remove(&segment_file_with(base, kind, Suffix::Swap))?;
        }
        for (base, kind) in cleaned {
            remove(&segment_file_with(base, kind, Suffix::Cleaned))?;
        }
    }
    if !swaps.is_empty() {
        finish_swaps(storage, dir, &mut kept, &swaps)?;
    }
    let has_log = |base: Offset| kept.contains(&(base, FileKind::Log));
    // Ours go before their `.log` does, so a transaction index alone says that data was lost: the loader
    // has a word to say about that.
    let is_ours = kept.iter().any(|(_, kind)| *kind == FileKind::State);
    let is_index = |kind| match kind {
        FileKind::OffsetIndex | FileKind::TimeIndex => true,
        FileKind::TxnIndex => !is_ours,
        _ => false,
    };
    for (base, kind) in kept.iter().filter(|(base, kind)| is_index(*kind) && !has_log(*base)) {
        remove(&segment_file(*base, *kind))?;
    }
    Ok(())
}

/// Puts finished replacements in place of what they replace.
fn finish_swaps(
    storage: &dyn Storage,
    dir: &Path,
    kept: &mut Vec<Named>,
    swaps: &[Named],
) -> Result<()> {
    let failed = |e| Error::io(format!("finish a compaction in {}", dir.display()), e);
    let logs = swaps.iter().filter(|(_, kind)| *kind == FileKind::Log);
    let mut range: Option<(Offset, Offset)> = None;
    for (base, _) in logs {
        let end = end_of_swap(storage, dir, *base)?;
        let (start, so_far) = range.unwrap_or((*base, end));
        range = Some((start.min(*base), so_far.max(end)));
    }
    if let Some((start, end)) = range {
        // A state of ours speaks of the whole log, which compaction does not change.
        let replaced =
            |(base, kind): &Named| *base >= start && *base < end && *kind != FileKind::State;
        for (base, kind) in kept.extract_if(.., |file| replaced(file)) {
            storage.remove_file(&dir.join(segment_file(base, kind))).map_err(failed)?;
        }
    }
    for (base, kind) in swaps {
        let swap = dir.join(segment_file_with(*base, *kind, Suffix::Swap));
        storage.rename(&swap, &dir.join(segment_file(*base, *kind))).map_err(failed)?;
        if !kept.contains(&(*base, *kind)) {
            kept.push((*base, *kind));
        }
    }
    storage.sync_dir(dir).map_err(failed)
}

/// The offset after the last one of a replacement. One that is not whole replaces nothing.
fn end_of_swap(storage: &dyn Storage, dir: &Path, base: Offset) -> Result<Offset> {
    let path = dir.join(segment_file_with(base, FileKind::Log, Suffix::Swap));
    let failed = |e| Error::io(format!("read {}", path.display()), e);
    let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let mut scanner = Scanner::new(file, 0, len);
    let mut end = base;
    loop {
        match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } if batch.base_offset() >= end => {
                end = batch.last_offset().next();
            }
            Step::End => return Ok(end),
            Step::Batch { .. } | Step::Bad => {
                let kind = ErrorKind::Corrupt { first: end, next: end };
                let context = format!(
                    "{} is a finished replacement with a damaged batch; neither it nor what it \
                     replaces was touched",
                    path.display()
                );
                return Err(Error::new(kind, context));
            }
        }
    }
}
