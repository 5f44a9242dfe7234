//! Where each leader epoch of a log begins: the answer to "how far do we agree?" after a failover.
//!
//! ```text
//! 0                      version
//! 2                      number of lines that follow
//! 0 0                    epoch and first offset, both rising
//! 3 1042
//! ```

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::checkpoint::{TextDamage, checkpoint_lines, encode_checkpoint};
use crate::types::{LeaderEpoch, Offset};

/// The leader epochs of one log (R-18 to R-20); a cache of the batches' own epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochCache {
    /// Strictly rising in both.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    epoch: LeaderEpoch,
    start: Offset,
}

impl LeaderEpochCache {
    /// Notes that `epoch` begins at `start`; whether that is news (R-18).
    ///
    /// Epochs that the new one contradicts are forgotten. Unknown (negative) epochs and offsets are
    /// not noted.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        let known = self.entries.last().is_some_and(|e| e.epoch == epoch && e.start <= start);
        if known || epoch < LeaderEpoch::new(0) || start < Offset::ZERO {
            return false;
        }
        while self.entries.pop_if(|last| last.epoch >= epoch || last.start >= start).is_some() {}
        self.entries.push(Entry { epoch, start });
        true
    }

    /// Notes what a stored batch says. What is known of later offsets stays, unless the batch is news:
    /// an epoch that began at the log's end has no batch to be found again by.
    pub(crate) fn replay(&mut self, epoch: LeaderEpoch, offset: Offset) {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        let holding = after.checked_sub(1).and_then(|i| self.entries.get(i));
        if holding.is_none_or(|entry| entry.epoch != epoch) {
            self.assign(epoch, offset);
        }
    }

    /// The largest known epoch not above `epoch`, and where it ends; `log_end_offset` for the
    /// latest. `None` where nothing is known: no epochs, or one from the future (R-19).
    ///
    /// An epoch older than the first known answers itself, with the first one's start.
    pub(crate) fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch > latest || epoch < LeaderEpoch::new(0) {
            return None;
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher).map_or(log_end_offset, |entry| entry.start);
        let found = higher.checked_sub(1).and_then(|i| self.entries.get(i));
        Some((found.map_or(epoch, |entry| entry.epoch), end))
    }

    /// Forgets the epochs that begin at or after `offset`; whether there were any (R-20).
    pub(crate) fn truncate_from_end(&mut self, offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start < offset);
        let any = kept < self.entries.len();
        self.entries.truncate(kept);
        any
    }

    /// Forgets what lies before `offset`: the epoch it falls into now begins there. Whether anything
    /// changed (R-20).
    pub(crate) fn truncate_from_start(&mut self, offset: Offset) -> bool {
        let before = self.entries.partition_point(|entry| entry.start <= offset);
        let Some(first) = before.checked_sub(1) else {
            return false;
        };
        self.entries.drain(..first);
        let Some(entry) = self.entries.first_mut() else {
            return false;
        };
        let moved = entry.start != offset;
        entry.start = offset;
        moved || first > 0
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The epochs and where each begins, oldest first.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = (LeaderEpoch, Offset)> {
        self.entries.iter().map(|entry| (entry.epoch, entry.start))
    }

    /// The whole `leader-epoch-checkpoint` file (D-45, D-49).
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_checkpoint(self.entries().map(|(epoch, start)| format!("{epoch} {start}")))
    }

    /// Reads a `leader-epoch-checkpoint` file. An empty one holds no epochs.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TextDamage> {
        let mut cache = Self::default();
        for (number, line) in checkpoint_lines(bytes)? {
            let entry = parse_entry(line)
                .ok_or_else(|| TextDamage::malformed(number, "an epoch and its first offset"))?;
            let last = cache.entries.last();
            if !last.is_none_or(|last| last.epoch < entry.epoch && last.start < entry.start) {
                return Err(TextDamage::malformed(number, "a later epoch at a later offset"));
            }
            cache.entries.push(entry);
        }
        Ok(cache)
    }
}

fn parse_entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let epoch = LeaderEpoch::new(words.next()?.parse().ok()?);
    let start = Offset::new(words.next()?.parse().ok()?);
    let legal = words.next().is_none() && epoch >= LeaderEpoch::new(0) && start >= Offset::ZERO;
    legal.then_some(Entry { epoch, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::default();
        for (epoch, start) in entries {
            cache.assign(LeaderEpoch::new(*epoch), Offset::new(*start));
        }
        cache
    }

    fn entries(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
        cache.entries().map(|(epoch, start)| (epoch.get(), start.get())).collect()
    }

    fn end_of(cache: &LeaderEpochCache, epoch: i32) -> Option<(i32, i64)> {
        let end = cache.end_offset_for(LeaderEpoch::new(epoch), Offset::new(100))?;
        Some((end.0.get(), end.1.get()))
    }

    // R-18, S-48.
    #[test]
    fn the_latest_epoch_is_assigned_once() {
        let mut cache = cache(&[(2, 10)]);
        assert!(!cache.assign(LeaderEpoch::new(2), Offset::new(10)));
        assert!(!cache.assign(LeaderEpoch::new(2), Offset::new(15)));
        assert_eq!(entries(&cache), [(2, 10)]);
        assert!(cache.assign(LeaderEpoch::new(2), Offset::new(9)), "an earlier start is news");
        assert_eq!(entries(&cache), [(2, 9)]);
    }

    // R-18, S-48.
    #[test]
    fn an_assigned_epoch_displaces_what_it_contradicts() {
        let before = &[(1, 10), (2, 20), (4, 40), (6, 60)][..];
        for (epoch, start, after) in [
            (7, 70, &[(1, 10), (2, 20), (4, 40), (6, 60), (7, 70)][..]),
            (7, 60, &[(1, 10), (2, 20), (4, 40), (7, 60)]),
            (7, 50, &[(1, 10), (2, 20), (4, 40), (7, 50)]),
            (7, 20, &[(1, 10), (7, 20)]),
            (4, 70, &[(1, 10), (2, 20), (4, 70)]),
            (5, 55, &[(1, 10), (2, 20), (4, 40), (5, 55)]),
            (3, 15, &[(1, 10), (3, 15)]),
            (0, 70, &[(0, 70)]),
            (7, 0, &[(7, 0)]),
        ] {
            let mut cache = cache(before);
            assert!(cache.assign(LeaderEpoch::new(epoch), Offset::new(start)));
            assert_eq!(entries(&cache), after, "{epoch} at {start}");
        }
    }

    #[test]
    fn unknown_epochs_are_not_noted() {
        let mut cache = cache(&[(1, 10)]);
        assert!(!cache.assign(LeaderEpoch::NONE, Offset::new(20)));
        assert!(!cache.assign(LeaderEpoch::new(2), Offset::new(-1)));
        assert_eq!(entries(&cache), [(1, 10)]);
        assert_eq!(cache.latest(), Some(LeaderEpoch::new(1)));
    }

    // R-5: the batches are right, and a later epoch without batches is kept.
    #[test]
    fn a_replay_keeps_a_later_epoch_unless_it_is_contradicted() {
        let mut cache = cache(&[(2, 10), (4, 40), (9, 70)]);
        for (epoch, offset) in [(2, 10), (2, 39), (4, 40), (4, 69)] {
            cache.replay(LeaderEpoch::new(epoch), Offset::new(offset));
        }
        assert_eq!(entries(&cache), [(2, 10), (4, 40), (9, 70)]);
        cache.replay(LeaderEpoch::new(5), Offset::new(50));
        assert_eq!(entries(&cache), [(2, 10), (4, 40), (5, 50)]);
        cache.replay(LeaderEpoch::NONE, Offset::new(60));
        assert_eq!(cache.entries().len(), 3);
    }

    // R-19, S-48.
    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next_known_one() {
        assert_eq!(end_of(&cache(&[]), 0), None);
        let cache = cache(&[(2, 10), (4, 40), (6, 60)]);
        assert_eq!(end_of(&cache, 6), Some((6, 100)));
        assert_eq!(end_of(&cache, 7), None);
        assert_eq!(end_of(&cache, -1), None);
        assert_eq!(end_of(&cache, 1), Some((1, 10)));
        assert_eq!(end_of(&cache, 0), Some((0, 10)));
        assert_eq!(end_of(&cache, 2), Some((2, 40)));
        assert_eq!(end_of(&cache, 3), Some((2, 40)));
        assert_eq!(end_of(&cache, 5), Some((4, 60)));
    }

    // R-20, S-48.
    #[test]
    fn truncation_from_the_end_forgets_epochs_that_begin_there() {
        for (offset, left, changed) in
            [(61, 3, false), (60, 2, true), (41, 2, true), (40, 1, true), (0, 0, true)]
        {
            let mut cache = cache(&[(2, 10), (4, 40), (6, 60)]);
            assert_eq!(cache.truncate_from_end(Offset::new(offset)), changed, "{offset}");
            assert_eq!(cache.entries().len(), left, "{offset}");
        }
    }

    // R-20, S-48.
    #[test]
    fn truncation_from_the_start_moves_the_epoch_it_falls_into() {
        for (offset, after, changed) in [
            (9, &[(2, 10), (4, 40), (6, 60)][..], false),
            (10, &[(2, 10), (4, 40), (6, 60)], false),
            (11, &[(2, 11), (4, 40), (6, 60)], true),
            (39, &[(2, 39), (4, 40), (6, 60)], true),
            (40, &[(4, 40), (6, 60)], true),
            (50, &[(4, 50), (6, 60)], true),
            (99, &[(6, 99)], true),
        ] {
            let mut cache = cache(&[(2, 10), (4, 40), (6, 60)]);
            assert_eq!(cache.truncate_from_start(Offset::new(offset)), changed, "{offset}");
            assert_eq!(entries(&cache), after, "{offset}");
        }
        assert!(!cache(&[]).truncate_from_start(Offset::new(50)));
    }

    // D-45, D-49, S-48.
    #[test]
    fn a_reloaded_cache_is_the_same() {
        let cache = cache(&[(0, 0), (3, 1042)]);
        assert_eq!(cache.encode(), b"0\n2\n0 0\n3 1042\n");
        assert_eq!(LeaderEpochCache::decode(&cache.encode()), Ok(cache));
        let empty = LeaderEpochCache::default();
        assert_eq!(empty.encode(), b"0\n0\n");
        assert_eq!(LeaderEpochCache::decode(b"0\n0\n"), Ok(empty.clone()));
        assert_eq!(LeaderEpochCache::decode(b""), Ok(empty));
    }

    #[test]
    fn epochs_out_of_order_or_out_of_shape_are_refused() {
        for text in [
            "0\n2\n3 10\n3 20\n",
            "0\n2\n3 10\n4 10\n",
            "0\n2\n3 10\n2 20\n",
            "0\n1\n-1 10\n",
            "0\n1\n1 -10\n",
            "0\n1\n1\n",
            "0\n1\n1 2 3\n",
            "0\n1\n1 99999999999999999999\n",
            "0\n2\n1 10\n",
        ] {
            let damage = LeaderEpochCache::decode(text.as_bytes()).unwrap_err();
            assert!(matches!(damage, TextDamage::Malformed { .. }), "{text:?}: {damage:?}");
        }
        assert_eq!(LeaderEpochCache::decode(b"1\n0\n"), Err(TextDamage::Newer { version: 1 }));
    }
}
