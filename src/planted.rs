//! Bugs that a test can switch on, to prove that the suite would notice them.
//!
//! A harness is trusted only after it found all of them. Outside of tests nothing can be planted:
//! the option that carries this type exists only with the feature `test-util`.

/// Which bugs are planted; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(any(test, feature = "test-util")), expect(unreachable_pub, reason = "tests only"))]
#[non_exhaustive]
pub struct Planted {
    /// Acknowledges what was written but not flushed.
    pub ack_before_flush: bool,
    /// Does not flush the directory after creating a segment.
    pub skip_directory_flush: bool,
    /// Flushes again after a failed flush, and believes the second answer.
    pub retry_failed_flush: bool,
    /// Remembers four batches per producer instead of five (P-1).
    pub four_cached_batches: bool,
    /// Lets read-committed readers see the first batch of an open transaction (T-5).
    pub lso_off_by_one: bool,
    /// Refuses a marker that repeats the last one (P-19c).
    pub markers_not_idempotent: bool,
    /// Uses an offset index without checking it.
    pub trust_index: bool,
    /// Ends transactions over several logs before the decision is durable.
    pub txn_markers_early: bool,
    /// Shows positions before the transaction that stores them is committed.
    pub txn_positions_early: bool,
    /// Believes a decision without looking whether the logs hold the data.
    pub txn_trust_decision: bool,
    /// Does not write down how recovery decided, so that the next one may decide otherwise.
    pub txn_forget_verdicts: bool,
    /// Takes any transaction of a producer for the one that a decision names.
    pub txn_ignore_first_offset: bool,
}

#[cfg(any(test, feature = "test-util"))]
impl Planted {
    /// The part that concerns producers.
    pub(crate) fn producer(self) -> crate::producer::Planted {
        crate::producer::Planted {
            four_cached_batches: self.four_cached_batches,
            lso_off_by_one: self.lso_off_by_one,
            markers_not_idempotent: self.markers_not_idempotent,
        }
    }
}
