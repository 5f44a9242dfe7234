//! Work for all processors, with the first failure in the order of the work.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work` for every number below `count` and panics with the failure of the smallest number
/// that was met.
pub(crate) fn in_parallel(count: usize, work: impl Fn(usize) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let first: Mutex<Option<(usize, String)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || first.lock().is_some() {
                        return;
                    }
                    if let Err(failure) = work(index) {
                        let mut first = first.lock();
                        if first.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                            *first = Some((index, failure));
                        }
                    }
                }
            });
        }
    });
    if let Some((_, failure)) = first.into_inner() {
        panic!("{failure}");
    }
}
