//! Which data directories belong together. Logs of one engine are spread over them, and a transaction
//! has its decision in one and its records in others; so an engine that is opened on some of them only
//! would show half of its logs, and undo what was committed.
//!
//! Each directory of an engine that has more than one holds a file that names the ids
//! (`directory.id` in `meta.properties`) of all of them: `oncelog.directories`, framed as a checkpoint
//! (D-45). More directories may come; one that is named and not there is missed.

use super::directory::DataDirectory;
use crate::checkpoint::{self, DIRECTORIES, DirectoryIds, replace_file};
use crate::error::{Error, ErrorKind, Result};
use crate::io::Io;
use std::path::Path;

/// Largest file that is read.
const BYTES_MAX: usize = 1 << 20;

/// Refuses `directories`, with these ids, if one of them was used together with another one that is
/// not among them.
///
/// # Errors
/// [`ErrorKind::WrongDirectory`].
pub(super) fn check(
    io: &Io,
    directories: &[&DataDirectory],
    ids: &[Option<[u8; 16]>],
) -> Result<()> {
    for directory in directories {
        let Some(named) = read(io, &directory.path)? else { continue };
        let Some(missing) = named.ids.iter().find(|id| !ids.contains(&Some(**id))) else {
            continue;
        };
        let context = format!(
            "{} was used together with {} more, and the one with directory.id={} is not among those \
             opened: list it in `directories` and see that it is mounted, or set \
             `accept_missing_directories` to go on without its logs for good",
            directory.path.display(),
            named.ids.len().saturating_sub(1),
            checkpoint::encode_id(*missing)
        );
        return Err(Error::new(ErrorKind::WrongDirectory, context));
    }
    Ok(())
}

/// Notes in each directory which ones belong together from now on.
pub(super) fn note(io: &Io, directories: &[&DataDirectory], ids: Vec<[u8; 16]>) -> Result<()> {
    let all = DirectoryIds { ids: ids.into_iter().collect() };
    for directory in directories {
        let known = read(io, &directory.path)?;
        let is_alone = directories.len() < 2 && known.is_none();
        if is_alone || known.as_ref() == Some(&all) {
            continue;
        }
        replace_file(io.storage.as_ref(), &directory.path, DIRECTORIES, &all.encode()).map_err(
            |e| Error::io(format!("write {}", directory.path.join(DIRECTORIES).display()), e),
        )?;
    }
    Ok(())
}

fn read(io: &Io, path: &Path) -> Result<Option<DirectoryIds>> {
    let path = path.join(DIRECTORIES);
    let bytes = checkpoint::read_file(io.storage.as_ref(), &path, BYTES_MAX)
        .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    bytes.map(|bytes| DirectoryIds::decode(&bytes).map_err(|e| e.into_error(&path))).transpose()
}
