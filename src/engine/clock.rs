//! The time by which data ages: the wall clock, but for jumps.
//!
//! A wall clock that is set ahead makes all data old at once, and retention would remove what was
//! appended a minute ago. So what the wall clock gains on the monotonic one is held back until both have
//! gone side by side for as long as the jump was, one day at most: time for somebody to set the clock
//! right, after which nothing was lost. A clock that goes back takes as much of that back.
//!
//! A clock that was set ahead before the engine was opened cannot be told from a long rest.

use crate::io::Clock;
use parking_lot::Mutex;
use std::time::Duration;

/// What the two clocks may differ by between two looks: they are adjusted all the time.
const DRIFT_MS: i64 = 60_000;

/// How long a jump is held back at most.
const DISBELIEF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The time by which data ages.
#[derive(Debug)]
pub(crate) struct AgeClock {
    last: Mutex<Look>,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    wall_ms: i64,
    monotonic: Duration,
    /// What the wall clock jumped ahead and is not believed yet.
    held_back_ms: i64,
    /// When it did so last.
    jumped: Duration,
}

impl AgeClock {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let monotonic = clock.monotonic();
        let wall_ms = clock.now_ms();
        Self { last: Mutex::new(Look { wall_ms, monotonic, held_back_ms: 0, jumped: monotonic }) }
    }

    /// The time now, in ms since the Unix epoch. A jump is noticed by the first look after it.
    pub(crate) fn now_ms(&self, clock: &dyn Clock) -> i64 {
        let mut last = self.last.lock();
        *last = last.next(clock.now_ms(), clock.monotonic());
        last.wall_ms.saturating_sub(last.held_back_ms)
    }
}

impl Look {
    fn next(self, wall_ms: i64, monotonic: Duration) -> Self {
        let passed_ms = millis(monotonic.saturating_sub(self.monotonic));
        let gained_ms = wall_ms.saturating_sub(self.wall_ms).saturating_sub(passed_ms);
        let mut next = Self { wall_ms, monotonic, ..self };
        if gained_ms > DRIFT_MS {
            next.held_back_ms = next.held_back_ms.saturating_add(gained_ms);
            next.jumped = monotonic;
        } else if gained_ms < -DRIFT_MS {
            next.held_back_ms = next.held_back_ms.saturating_add(gained_ms).max(0);
        }
        let steady = monotonic.saturating_sub(next.jumped);
        if steady >= DISBELIEF_MAX || millis(steady) >= next.held_back_ms {
            next.held_back_ms = 0;
        }
        next
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 60 * 60 * 1000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    /// A look, and how far it lies behind the wall clock.
    fn looks(steps: &[(i64, i64)]) -> Vec<i64> {
        let mut look =
            Look { wall_ms: 0, monotonic: Duration::ZERO, held_back_ms: 0, jumped: Duration::ZERO };
        let step = |(wall_ms, passed_ms): &(i64, i64)| {
            let passed = Duration::from_millis(passed_ms.unsigned_abs());
            look = look.next(look.wall_ms + wall_ms, look.monotonic + passed);
            look.held_back_ms
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn a_jump_is_held_back_for_as_long_as_it_was() {
        let hour = (HOUR_MS, HOUR_MS);
        let jump = (3 * HOUR_MS, 0);
        let held = 3 * HOUR_MS;
        assert_eq!(looks(&[hour, jump, hour, hour, hour, hour]), [0, held, held, held, 0, 0]);
    }

    #[test]
    fn a_long_jump_is_believed_after_a_day() {
        let held = 300 * DAY_MS;
        let steps = [(held, 0), (DAY_MS - 1, DAY_MS - 1), (1, 1)];
        assert_eq!(looks(&steps), [held, held, 0]);
    }

    #[test]
    fn a_clock_that_comes_back_has_cost_nothing() {
        let steps = [(5 * HOUR_MS, 0), (-5 * HOUR_MS, 0), (-9 * HOUR_MS, 0), (HOUR_MS, HOUR_MS)];
        assert_eq!(looks(&steps), [5 * HOUR_MS, 0, 0, 0]);
    }

    #[test]
    fn jumps_add_up_and_drift_does_not_count() {
        let steps = [(2 * HOUR_MS, 0), (2 * HOUR_MS, 0), (DRIFT_MS, 0), (0, DRIFT_MS)];
        assert_eq!(looks(&steps), [2 * HOUR_MS, 4 * HOUR_MS, 4 * HOUR_MS, 4 * HOUR_MS]);
    }
}
