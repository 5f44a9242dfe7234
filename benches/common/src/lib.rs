//! What the benchmarks share: where the data goes, the physical limit, the load, the figures.
//!
//! The one idea: a figure of a disk means nothing by itself, because the same disk is twice as fast
//! a minute later. So [`limit::Limit`] takes the best the device can do in the same run, right before
//! and after what is measured, and what is reported is the ratio.

pub mod foreign;
pub mod limit;
pub mod load;
pub mod place;
pub mod stats;

/// Whatever stops a benchmark; it is shown and the program ends.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
