//! Whose data directories these are: `meta.properties` in each (D-52), written when a directory is
//! first used, compared ever after. A directory that was mounted in the wrong place, or copied from
//! another machine, is refused before a byte of it changes.

use super::directory::DataDirectory;
use super::together;
use crate::checkpoint::{self, META_PROPERTIES, MetaProperties, encode_id, replace_file};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, Random};
use crate::options::EngineOptions;
use std::path::Path;

/// Largest file that is read.
const BYTES_MAX: usize = 1 << 20;

/// Who an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster_id: String,
    pub(super) node_id: i32,
}

impl Identity {
    /// What the options and the files of all directories agree on; those without a file get one.
    ///
    /// # Errors
    /// [`ErrorKind::WrongDirectory`] if they do not agree, or one that belongs to them is missing.
    pub(super) fn claim(
        directories: &[&DataDirectory],
        options: &EngineOptions,
        io: &Io,
    ) -> Result<Self> {
        let mut cluster_id = options.cluster_id.clone();
        let mut node_id = options.node_id;
        let mut known = Vec::new();
        for directory in directories {
            let found = read(io, &directory.path)?;
            if let Some(properties) = &found {
                agree(&directory.path, "cluster.id", &mut cluster_id, &properties.cluster_id)?;
                agree(&directory.path, "node.id", &mut node_id, &Some(properties.node_id))?;
                // A file of the oldest version names no directory.
                let id = properties.directory_id.map(Some);
                if id.is_some() && known.contains(&id) {
                    let path = directory.path.display();
                    let context = format!("{path} is a copy of another of the data directories");
                    return Err(Error::new(ErrorKind::WrongDirectory, context));
                }
            }
            // The oldest version may name no cluster; it is written anew, with one.
            let whole = found.filter(|properties| properties.cluster_id.is_some());
            known.push(whole.map(|properties| properties.directory_id));
        }
        if !options.accept_missing_directories {
            let ids: Vec<_> = known.iter().copied().map(Option::flatten).collect();
            together::check(io, directories, &ids)?;
        }
        let random = io.random.as_ref();
        let identity = Self {
            cluster_id: cluster_id.unwrap_or_else(|| encode_id(random_id(random))),
            node_id: node_id.unwrap_or(0),
        };
        let mut ids = Vec::new();
        for (directory, known) in directories.iter().zip(known) {
            match known {
                None => ids.push(identity.write(io, &directory.path)?),
                Some(id) => ids.extend(id),
            }
        }
        together::note(io, directories, ids)?;
        Ok(identity)
    }

    /// Writes a directory's file; its new id.
    fn write(&self, io: &Io, path: &Path) -> Result<[u8; 16]> {
        let id = random_id(io.random.as_ref());
        let properties = MetaProperties {
            cluster_id: Some(self.cluster_id.clone()),
            node_id: self.node_id,
            directory_id: Some(id),
        };
        replace_file(io.storage.as_ref(), path, META_PROPERTIES, &properties.encode())
            .map_err(|e| Error::io(format!("write {}", path.join(META_PROPERTIES).display()), e))?;
        Ok(id)
    }
}

fn read(io: &Io, path: &Path) -> Result<Option<MetaProperties>> {
    let path = path.join(META_PROPERTIES);
    let bytes = checkpoint::read_file(io.storage.as_ref(), &path, BYTES_MAX)
        .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    let decode = |bytes: Vec<u8>| MetaProperties::decode(&bytes).map_err(|e| e.into_error(&path));
    bytes.map(decode).transpose()
}

/// Takes over what a directory says if nobody said anything yet.
fn agree<T: Clone + PartialEq + std::fmt::Debug>(
    path: &Path,
    key: &str,
    known: &mut Option<T>,
    found: &Option<T>,
) -> Result<()> {
    match (&known, found) {
        (Some(expected), Some(found)) if expected != found => {
            let path = path.join(META_PROPERTIES);
            let context = format!("{} has {key}={found:?}, expected {expected:?}", path.display());
            Err(Error::new(ErrorKind::WrongDirectory, context))
        }
        (None, Some(found)) => {
            *known = Some(found.clone());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A random UUID (version 4) that neither is one of the reserved ones nor begins with a dash in
/// text (D-50).
pub(super) fn random_id(random: &dyn Random) -> [u8; 16] {
    loop {
        let mut id = [0; 16];
        for half in id.chunks_exact_mut(8) {
            half.copy_from_slice(&random.next_u64().to_be_bytes());
        }
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        if !encode_id(id).starts_with('-') {
            return id;
        }
    }
}
