//! Where a test runs: a storage of one kind and an empty directory of its own.

use bytes::Bytes;
use oncelog::Backend;
use oncelog::io::buf::AlignedBuf;
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::io::{BLOCK_BYTES, File, Io, OpenMode, Storage, open_storage};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct Place {
    pub(crate) io: Io,
    /// What [`Storage::info`] has to call it.
    pub(crate) backend: &'static str,
    asked: Backend,
    root: PathBuf,
    /// Of the simulated backend.
    disk: Option<Arc<SimDisk>>,
    /// Of the others; the last one to let go removes it.
    dir: Option<Arc<tempfile::TempDir>>,
}

impl Place {
    pub(crate) fn std() -> Self {
        Self::real(Backend::Std, "std").unwrap()
    }

    /// `None`, said aloud, where there is no ring to be had.
    pub(crate) fn uring() -> Option<Self> {
        match Self::real(Backend::Uring, "uring") {
            Ok(place) => Some(place),
            Err(refused) => {
                println!("skipped: {refused}");
                None
            }
        }
    }

    pub(crate) fn sim() -> Self {
        let disk = SimDisk::new(1);
        let root = PathBuf::from("/place");
        let io = disk.io();
        io.storage.create_dir(&root).unwrap();
        io.storage.sync_dir(Path::new("/")).unwrap();
        Self { io, backend: "sim", asked: Backend::Auto, root, disk: Some(disk), dir: None }
    }

    fn real(backend: Backend, name: &'static str) -> oncelog::Result<Self> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let io = Io::system(backend, &root)?;
        Ok(Self { io, backend: name, asked: backend, root, disk: None, dir: Some(Arc::new(dir)) })
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        self.io.storage.as_ref()
    }

    /// Another storage over the same files, as another engine of this process would have.
    pub(crate) fn stranger(&self) -> Arc<dyn Storage> {
        match &self.disk {
            Some(disk) => disk.io().storage,
            None => open_storage(self.asked, &self.root).unwrap(),
        }
    }

    /// A storage of another kind, whose files this one cannot know.
    pub(crate) fn foreign(&self) -> Self {
        if self.is_real() { Self::sim() } else { Self::std() }
    }

    pub(crate) fn is_real(&self) -> bool {
        self.disk.is_none()
    }

    /// The same place after a power cut that took all it could.
    pub(crate) fn cut(&self) -> Self {
        let disk = self.disk.as_ref().map(|disk| disk.crash(&Crash::LoseAll));
        let io = disk.as_ref().map_or_else(|| self.io.clone(), |disk| disk.io());
        let (root, dir) = (self.root.clone(), self.dir.clone());
        Self { io, backend: self.backend, asked: self.asked, root, disk, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    pub(crate) fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.storage().open(&self.path(name), mode, false)
    }

    /// A new file for direct writes, if there are any here.
    pub(crate) fn new_direct(&self, name: &str) -> Arc<dyn File> {
        self.storage().open(&self.path(name), OpenMode::CreateNew, true).unwrap()
    }

    /// A new file with these bytes. Nothing is flushed.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Arc<dyn File> {
        let file = self.open(name, OpenMode::CreateNew).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        all(self.open(name, OpenMode::Read).unwrap().as_ref())
    }

    pub(crate) fn sync(&self) {
        self.storage().sync_dir(&self.root).unwrap();
    }

    /// Names in the directory called `name`, directories with a slash.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let entries = self.storage().list_dir(&self.path(name)).unwrap();
        let named = |entry: oncelog::io::DirEntry| {
            if entry.is_dir { format!("{}/", entry.name) } else { entry.name }
        };
        entries.into_iter().map(named).collect()
    }
}

/// Everything in a file.
pub(crate) fn all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// The error of something that must not work.
pub(crate) fn kind<T>(outcome: io::Result<T>) -> io::ErrorKind {
    outcome.err().expect("it worked").kind()
}

/// `count` aligned blocks of `fill`.
pub(crate) fn blocks(fill: u8, count: usize) -> Bytes {
    let mut bytes = AlignedBuf::new(count * BLOCK_BYTES);
    bytes.fill(fill);
    bytes.freeze()
}

pub(crate) fn block(fill: u8) -> Bytes {
    blocks(fill, 1)
}
