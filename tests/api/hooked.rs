//! What the simulated disk cannot do by itself: claim free space, and stop a thread in the middle.

use crate::passing::{Hooks, Passing};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Hook = Box<dyn Fn(&Path) + Send + Sync>;

/// The simulated disk, except for what a test asks for.
pub(crate) type Hooked = Passing<Wishes>;

#[derive(Default)]
pub(crate) struct Wishes {
    free: Mutex<BTreeMap<PathBuf, u64>>,
    before_list: Mutex<Option<Arc<Hook>>>,
}

impl fmt::Debug for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wishes").field("free", &self.free).finish_non_exhaustive()
    }
}

impl Wishes {
    /// Says that so many bytes are free at `path`.
    pub(crate) fn claim_free(&self, path: &str, free: u64) {
        self.free.lock().unwrap().insert(path.into(), free);
    }

    /// Calls `hook` before a directory is listed.
    pub(crate) fn before_list(&self, hook: impl Fn(&Path) + Send + Sync + 'static) {
        *self.before_list.lock().unwrap() = Some(Arc::new(Box::new(hook)));
    }
}

impl Hooks for Wishes {
    fn on_list(&self, path: &Path) {
        let hook = self.before_list.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(path);
        }
    }

    fn free_at(&self, path: &Path) -> Option<u64> {
        self.free.lock().unwrap().get(path).copied()
    }
}
