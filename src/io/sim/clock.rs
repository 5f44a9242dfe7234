//! Time that moves when the test says so, and randomness that repeats.

use super::rng::Rng;
use crate::io::{Clock, Random};
use parking_lot::Mutex;
use std::time::Duration;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct SimClock {
    now: Mutex<(i64, Duration)>,
}

impl SimClock {
    pub(super) fn new() -> Self {
        /// Some day in 2023: far from zero, so that arithmetic near the epoch shows.
        const START_MS: i64 = 1_700_000_000_000;
        Self { now: Mutex::new((START_MS, Duration::ZERO)) }
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let mut now = self.now.lock();
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        *now = (now.0.saturating_add(span_ms), now.1.saturating_add(span));
    }

    /// Sets the wall clock, which may jump either way; monotonic time is untouched.
    pub fn set_wall_ms(&self, ms: i64) {
        self.now.lock().0 = ms;
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.now.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.now.lock().1
    }
}

/// The same numbers for the same seed.
#[derive(Debug)]
pub struct SimRandom {
    rng: Mutex<Rng>,
}

impl SimRandom {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng: Mutex::new(rng) }
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        self.rng.lock().next()
    }
}
