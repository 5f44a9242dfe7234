//! Read-only maps of files that nobody will write or cut again.
#![cfg_attr(feature = "mmap", expect(unsafe_code, reason = "a map is only as stable as its file"))]

use bytes::Bytes;
use std::fs::File;
use std::io;

/// The first `len` bytes of `file`, sharing the page cache; `None` without the feature `mmap`.
pub(super) fn map(file: &File, len: usize) -> io::Result<Option<Bytes>> {
    let have = file.metadata()?.len();
    if have < len as u64 {
        // Touching a page past the end would kill the process.
        let context = format!("cannot map {len} bytes of a file of {have}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, context));
    }
    if len == 0 {
        return Ok(Some(Bytes::new()));
    }
    map_bytes(file, len)
}

#[cfg(feature = "mmap")]
fn map_bytes(file: &File, len: usize) -> io::Result<Option<Bytes>> {
    let mut options = memmap2::MmapOptions::new();
    options.len(len);
    // SAFETY: the bytes behind the slice must not change while it lives. The contract of
    // `File::map` is that the file is sealed: no part of the engine writes or truncates it again (a
    // cut of a sealed segment makes a new inode), removal keeps the inode until the map is gone, and
    // the directory lock keeps other engines out. The length was checked above.
    let map = unsafe { options.map(file) }?;
    Ok(Some(Bytes::from_owner(map)))
}

#[cfg(not(feature = "mmap"))]
fn map_bytes(_: &File, _: usize) -> io::Result<Option<Bytes>> {
    Ok(None)
}
