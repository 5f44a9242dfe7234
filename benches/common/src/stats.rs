//! What a run took: rates, percentiles, medians.

use std::time::Duration;

/// Operations of one run, each with how long it took.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    nanos: Vec<u64>,
    elapsed: Duration,
}

impl Sample {
    /// The operations of several threads over the same `elapsed` time.
    #[must_use]
    pub fn new(nanos: Vec<u64>, elapsed: Duration) -> Self {
        Self { nanos, elapsed }
    }

    /// Adds another run of the same thing.
    pub fn extend(&mut self, other: &Self) {
        self.nanos.extend_from_slice(&other.nanos);
        self.elapsed += other.elapsed;
    }

    /// How many operations ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nanos.len()
    }

    /// Operations a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    pub fn rate(&self) -> f64 {
        self.nanos.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The time that `percent` of the operations did not exceed, in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a time is shown with three digits")]
    pub fn percentile_us(&self, percent: usize) -> f64 {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        let last = nanos.len().saturating_sub(1);
        nanos.get(last * percent / 100).map_or(0.0, |nanos| *nanos as f64 / 1000.0)
    }
}

/// The middle value; of an even number, the upper one of the two.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The smallest and the largest.
#[must_use]
pub fn range(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default())
}
