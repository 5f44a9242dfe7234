//! The directory the benchmarks write to, and whether that is a disk at all.
#![expect(clippy::disallowed_methods, reason = "a benchmark makes and removes its own files")]

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable that names another directory.
pub const DIRECTORY_VARIABLE: &str = "ONCELOG_BENCH_DIR";

/// A directory for one run; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// A fresh directory under the one of the environment variable, else under `default`.
    ///
    /// # Errors
    /// If it lies in memory: what a benchmark measures there is no disk.
    pub fn new(default: &str, name: &str) -> Outcome<Self> {
        let root = std::env::var_os(DIRECTORY_VARIABLE);
        let root = root.map_or_else(|| PathBuf::from(default), PathBuf::from);
        let path = root.join(format!("oncelog-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let place = Self { path };
        match place.file_system()? {
            "tmpfs" => Err(format!(
                "{} is in memory; name a directory of a disk in {DIRECTORY_VARIABLE}",
                root.display()
            )
            .into()),
            _ => Ok(place),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it that does not exist yet.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The kind of file system, as far as it matters.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn file_system(&self) -> Outcome<&'static str> {
        const TMPFS: i128 = 0x0102_1994;
        const RAMFS: i128 = 0x8584_58f6;
        const EXT: i128 = 0xef53;
        const XFS: i128 = 0x5846_5342;
        const BTRFS: i128 = 0x9123_683e;
        const OVERLAY: i128 = 0x794c_7630;
        Ok(match i128::from(rustix::fs::statfs(&self.path)?.f_type) {
            TMPFS | RAMFS => "tmpfs",
            EXT => "ext4",
            XFS => "xfs",
            BTRFS => "btrfs",
            OVERLAY => "overlay",
            _ => "another file system",
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left behind is only garbage in a build directory.
        drop(fs::remove_dir_all(&self.path));
    }
}
