//! Whether a file system takes direct writes, found by trying one.
//!
//! The one idea: some file systems accept `O_DIRECT` when a file is opened and fail the first write,
//! so the first direct open on each device writes one block to a nameless file and remembers the
//! outcome.
#![expect(clippy::disallowed_methods, reason = "part of the plain system calls backend")]

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// What is known of each device.
#[derive(Debug, Default)]
pub(super) struct Support {
    by_device: Mutex<HashMap<u64, bool>>,
}

impl Support {
    /// A second, direct descriptor of the file `opened` from `path`; `None` where refused.
    pub(super) fn open(&self, path: &Path, opened: &File) -> io::Result<Option<File>> {
        use std::os::unix::fs::MetadataExt;
        let opened = opened.metadata()?;
        let known = self.by_device.lock().get(&opened.dev()).copied();
        let direct = known.unwrap_or_else(|| system::probe(path));
        self.by_device.lock().insert(opened.dev(), direct);
        if !direct {
            return Ok(None);
        }
        let Ok(file) = system::open(path) else {
            return Ok(None);
        };
        // Someone may have put another file in its place since; writing there would be fatal.
        let same = file.metadata()?.ino() == opened.ino();
        Ok(same.then_some(file))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use crate::io::BLOCK_BYTES;
    use crate::io::buf::AlignedBuf;
    use rustix::fs::OFlags;
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) fn open(path: &Path) -> io::Result<File> {
        with_flags(path, OFlags::DIRECT)
    }

    /// Writes a block beside `path`, to a file that has no name and so leaves nothing behind.
    pub(super) fn probe(path: &Path) -> bool {
        let Some(parent) = path.parent() else {
            return false;
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let block = AlignedBuf::new(BLOCK_BYTES);
        with_flags(parent, OFlags::DIRECT | OFlags::TMPFILE)
            .and_then(|file| file.write_all_at(&block, 0))
            .is_ok()
    }

    fn with_flags(path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(path)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn open(_: &Path) -> io::Result<File> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn probe(_: &Path) -> bool {
        false
    }
}
