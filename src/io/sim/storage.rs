//! The simulated disk as a [`Storage`], and its files.

use super::crash::{Chooser, Crash};
use super::names::NodeId;
use super::state::{State, to_usize};
use super::{FaultKind, SimDisk};
use crate::io::vectored::check_alignment;
use crate::io::{DirEntry, DirLock, File, OpenMode, Storage, StorageInfo, WriteOp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Storage for SimDisk {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("sim", "a simulated disk")
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().change_name("create_dir", path, |names| names.create_dir(path))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.fault(FaultKind::Read, path)?;
        let entries = state.names.list(path)?;
        Ok(entries.into_iter().map(|(name, is_dir)| DirEntry::new(name, is_dir)).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().operate("sync_dir", path, |state| {
            state.flushes += 1;
            if let Err(error) = state.fault(FaultKind::Flush, path) {
                state.names.abandon_dir(path)?;
                return Err(error);
            }
            state.names.sync_dir(path)
        })
    }

    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.check_power()?;
        let found = state.names.find(path);
        let node = match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew | OpenMode::Truncate, Err(_)) => {
                let place = state.names.place(path)?;
                state.change_name("create", path, |names| names.create_file(place))?
            }
            (OpenMode::Truncate, Ok(node)) => {
                state.names.file(node)?;
                state.set_len(node, path, 0)?;
                node
            }
            (OpenMode::Read | OpenMode::Write, found) => found?,
        };
        state.names.file(node)?;
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            node,
            path: path.to_owned(),
            direct: direct && state.direct && mode != OpenMode::Read,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.record("to", to, &[]);
        state.change_name("rename", from, |names| names.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state.lock().change_name("remove_file", path, |names| names.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().change_name("remove_dir", path, |names| names.remove_dir(path))
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.state.lock();
        state.check_power()?;
        let dir = state.names.find(path)?;
        if !state.names.is_dir(dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !state.locked.insert(dir) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimDirLock { state: Arc::clone(&self.state), dir }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power()?;
        state.names.find(path)?;
        Ok(state.free_space())
    }

    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        let mut state = self.state.lock();
        let mut order: Vec<usize> = (0..group.len()).collect();
        state.rng.shuffle(&mut order);
        let mut outcomes: Vec<io::Result<()>> = group.iter().map(|_| Ok(())).collect();
        for nth in order {
            outcomes[nth] = write_one(&mut state, &group[nth]);
        }
        outcomes
    }
}

fn write_one(state: &mut State, op: &WriteOp) -> io::Result<()> {
    let file: &dyn Any = &*op.file;
    let Some(file) = file.downcast_ref::<SimFile>() else {
        let context = "the file was not opened by this storage";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, context));
    };
    check_alignment(op)?;
    file.check_writable()?;
    state.write(file.node, &file.path, op.position, &op.buffers.concat(), op.durable)
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    node: NodeId,
    /// Where it was opened, for faults and traces.
    path: PathBuf,
    direct: bool,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        /// What a real file says that was opened for reading.
        const EBADF: i32 = 9;
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(EBADF)) }
    }
}

impl File for SimFile {
    fn is_direct(&self) -> bool {
        self.direct
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.names.file(self.node)?.visible().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.state.lock().set_len(self.node, &self.path, len)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.fault(FaultKind::Read, &self.path)?;
        let position = to_usize(position)?;
        let bytes = state.names.file(self.node)?.visible().get(position..).unwrap_or_default();
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        self.check_writable()?;
        self.state.lock().write(self.node, &self.path, position, buf, false)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate("sync", &self.path, |state| state.flush(self.node, &self.path, None))
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        let mut chooser = Chooser::new(&Crash::Random { seed: state.rng.next(), garbage: false });
        state.names.file_mut(self.node)?.drop_cache(&mut chooser);
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Option<Bytes>> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.fault(FaultKind::Read, &self.path)?;
        let bytes = state.names.file(self.node)?.visible();
        let bytes = bytes.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Some(Bytes::copy_from_slice(bytes)))
    }
}

#[derive(Debug)]
struct SimDirLock {
    state: Arc<Mutex<State>>,
    dir: NodeId,
}

impl DirLock for SimDirLock {}

impl Drop for SimDirLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.dir);
    }
}
