//! Smallest values of blocks of blocks: finds the next value at or below a bound without looking at
//! the ones between.
//!
//! Level 1 holds the minimum of every 64 values, level 2 of every 64 of those, and so on to a level
//! of at most 64. The values themselves (level 0) stay with their owner. A search walks right along
//! a level to the end of its block, up when the block has nothing, and down where a minimum promises
//! a find. The levels together take 1/63 of the values' size.

/// Values under one minimum.
const FANOUT: usize = 64;

/// The minima over a growing list of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Minima {
    levels: Vec<Vec<i64>>,
}

impl Minima {
    /// Takes note that the value numbered `number` was appended; numbers come in order, from 0.
    pub(super) fn push(&mut self, number: usize, value: i64) {
        let mut block = number / FANOUT;
        let mut level = 0;
        loop {
            if level == self.levels.len() {
                self.levels.push(self.next_level().unwrap_or_else(|| vec![value]));
                return;
            }
            let Some(minima) = self.levels.get_mut(level) else {
                return;
            };
            match minima.get_mut(block) {
                Some(minimum) => *minimum = value.min(*minimum),
                None => minima.push(value),
            }
            if minima.len() <= FANOUT && level.saturating_add(1) == self.levels.len() {
                return;
            }
            block /= FANOUT;
            level = level.saturating_add(1);
        }
    }

    /// The minima of the topmost level's blocks, if there is a level.
    fn next_level(&self) -> Option<Vec<i64>> {
        let top = self.levels.last()?;
        Some(top.chunks(FANOUT).filter_map(|block| block.iter().copied().min()).collect())
    }

    /// The first number at or after `from` whose value is at most `bound`; `value` gives the value
    /// of a number, or `None` past the last.
    ///
    /// # Complexity
    /// O(log n).
    pub(super) fn first_at_most(
        &self,
        bound: i64,
        from: usize,
        value: impl Fn(usize) -> Option<i64>,
    ) -> Option<usize> {
        let node = |level: usize, number: usize| match level.checked_sub(1) {
            None => value(number),
            Some(stored) => self.levels.get(stored)?.get(number).copied(),
        };
        let mut level = 0_usize;
        let mut number = from;
        while level <= self.levels.len() {
            let block = number / FANOUT;
            let end = block.saturating_add(1).saturating_mul(FANOUT);
            let found = (number..end)
                .map_while(|n| Some((n, node(level, n)?)))
                .find(|(_, minimum)| *minimum <= bound);
            match (found, level.checked_sub(1)) {
                (Some((found, _)), None) => return Some(found),
                (Some((found, _)), Some(below)) => {
                    level = below;
                    number = found.saturating_mul(FANOUT);
                }
                (None, _) => {
                    level = level.saturating_add(1);
                    number = block.saturating_add(1);
                }
            }
        }
        None
    }
}
