//! The same work for many logs, several at a time.
//!
//! Creating, recovering, closing and deleting a log is mostly waiting for flushes. A file system answers those
//! that wait together with one commit of its journal, so many logs take little longer than a few.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Flushes that wait together. More threads gain little and hold more memory: each recovers a log.
const THREADS_MAX: usize = 32;

/// Does `work` for every item; outcomes in the order of the items. Without `background` the calling
/// thread does it alone, in that order.
pub(super) fn for_all<T: Sync, R: Send>(
    background: bool,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if !background || items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(items.len()));
    let take_turns = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(nth) else { return };
            let outcome = work(item);
            outcomes.lock().push((nth, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 1..items.len().min(THREADS_MAX) {
            let builder = thread::Builder::new().name("oncelog-logs".to_owned());
            if builder.spawn_scoped(scope, take_turns).is_err() {
                // As many as the system gives; this thread does what is left.
                break;
            }
        }
        take_turns();
    });
    let mut outcomes = outcomes.into_inner();
    outcomes.sort_unstable_by_key(|(nth, _)| *nth);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn outcomes_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..200).collect();
        for background in [false, true] {
            let doubled = for_all(background, &items, |item| 2 * item);
            assert_eq!(doubled, items.iter().map(|item| 2 * item).collect::<Vec<_>>());
        }
        assert!(for_all(true, &[(); 0], |()| ()).is_empty());
    }

    #[test]
    fn several_are_under_way_at_a_time_only_where_threads_are_allowed() {
        // Nobody passes the barrier alone.
        let barrier = Barrier::new(4);
        assert_eq!(for_all(true, &[0; 4], |_| barrier.wait().is_leader()).len(), 4);
        let caller = thread::current().id();
        let alone = for_all(false, &[0; 4], |_| thread::current().id() == caller);
        assert_eq!(alone, [true; 4]);
    }
}
