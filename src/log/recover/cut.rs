//! The file side of a truncation.

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::io::OpenMode;
use crate::log::LogInner;
use crate::log::inner::LogState;
use crate::producer::state::{self, Beside};
use crate::producer::{ProducerLimits, ProducerTable};
use crate::segment::Segment;
use crate::segment::name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, Suffix, parse_file_name, segment_file,
};
use crate::segment::scan::{Scanner, Step};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// Removes every batch that reaches `offset` or beyond, and every state that knows of one. A crash
/// in between leaves a log that ends earlier or later, never one with a hole or with producers that
/// know more than the log: each step is durable before the next one, since names that are not
/// flushed survive a power cut in any combination.
pub(in crate::log) fn cut(log: &LogInner, state: &LogState, offset: Offset) -> Result<()> {
    let segments = &state.segments;
    let failed = |e| Error::io(format!("truncate {}", log.name), e);
    let storage = log.storage();
    let flush_names = || storage.sync_dir(&log.path).map_err(failed);
    let replace = |name: &str, bytes: &[u8]| {
        checkpoint::replace_file(storage.as_ref(), &log.path, name, bytes).map_err(failed)
    };
    for entry in storage.list_dir(&log.path).map_err(failed)? {
        let newer = matches!(
            parse_file_name(&entry.name),
            Some((at, FileKind::State | FileKind::Snapshot, Suffix::None)) if at > offset
        );
        if newer {
            storage.remove_file(&log.path.join(&entry.name)).map_err(failed)?;
        }
    }
    flush_names()?;
    // Later than the states: without them a replay finds again what is not in it.
    let mut epochs = state.epochs.clone();
    epochs.truncate_from_end(offset);
    replace(LEADER_EPOCH_CHECKPOINT, &epochs.encode())?;
    if segments.first().is_some_and(|first| offset < first.base()) {
        return start_anew(log, state, offset);
    }
    // Last segment first: what is left is always a prefix.
    for segment in segments.iter().rev() {
        if segment.base() >= offset && segment.base() != segments[0].base() {
            segment.remove_files().map_err(failed)?;
            continue;
        }
        cut_segment(log, segment, offset).map_err(failed)?;
        break;
    }
    flush_names()
}

/// Nothing is left of the log, and it goes on at `offset`, before its first segment: no
/// producer is known there. What a crash in between leaves of the segments is a prefix still.
fn start_anew(log: &LogInner, state: &LogState, offset: Offset) -> Result<()> {
    let failed = |e| Error::io(format!("truncate {}", log.name), e);
    let storage = log.storage();
    for entry in storage.list_dir(&log.path).map_err(failed)? {
        let parsed = parse_file_name(&entry.name);
        if let Some((_, FileKind::State | FileKind::Snapshot, Suffix::None)) = parsed {
            storage.remove_file(&log.path.join(&entry.name)).map_err(failed)?;
        }
    }
    let nobody = ProducerTable::new(ProducerLimits::new(1, 0));
    let beside = Beside { retention: Some(state.config.retention()), ..Beside::default() };
    let bytes = state::encode(&nobody, offset, &beside);
    let name = segment_file(offset, FileKind::State);
    checkpoint::replace_file(storage.as_ref(), &log.path, &name, &bytes).map_err(failed)?;
    for segment in state.segments.iter().rev() {
        segment.remove_files().map_err(failed)?;
    }
    Ok(())
}

/// Keeps the batches of a segment that end before `offset`, in a file of their own: whoever maps or
/// reads the old one keeps it unchanged.
fn cut_segment(log: &LogInner, segment: &Segment, offset: Offset) -> io::Result<()> {
    let storage = log.storage();
    let path = segment.path(FileKind::Log);
    let file = storage.open(&path, OpenMode::Read, false)?;
    let mut scanner = Scanner::new(Arc::clone(&file), 0, file.len()?);
    let mut kept = 0;
    while let Step::Batch { position, batch } = scanner.step()? {
        if batch.last_offset() >= offset {
            break;
        }
        kept = position + batch.size() as u64;
    }
    let name = segment_file(segment.base(), FileKind::Log);
    let temporary = log.path.join(checkpoint::temporary_name(&name));
    let copy = storage.open(&temporary, OpenMode::Truncate, false)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < kept {
        let want = usize::try_from(kept - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read_at(&mut buffer[..want], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        copy.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    copy.sync()?;
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex] {
        match storage.remove_file(&segment.path(kind)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    storage.rename(&temporary, &path)
}
