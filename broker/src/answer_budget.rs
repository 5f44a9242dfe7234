//! A bound on the record bytes in answers that are being read or wait for their clients.
//!
//! A fetch claims room before it reads, gives back what it did not need, and holds the rest until
//! its answer is written. When nothing is left, clients that do not read have taken it; the others
//! still get a batch per answer, so they make progress, and memory grows by that much at most.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of account.
const UNIT_BYTES: usize = 1024;

/// The room that all answers share.
#[derive(Debug)]
pub(crate) struct AnswerBudget {
    room: Arc<Semaphore>,
}

/// Room taken by one answer; dropping it gives it back.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    permit: Option<OwnedSemaphorePermit>,
}

impl AnswerBudget {
    /// Room for `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(units)) }
    }

    /// Takes room for `bytes`, or for as many as there are.
    pub(crate) fn claim(&self, bytes: usize) -> Claim {
        loop {
            let units = bytes.div_ceil(UNIT_BYTES).min(self.room.available_permits());
            let Some(units) = u32::try_from(units).ok().filter(|units| *units > 0) else {
                return Claim::default();
            };
            // Somebody else may have been faster; then there is less to ask for.
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(units) {
                return Claim { permit: Some(permit) };
            }
        }
    }
}

impl Claim {
    /// How much may be read into it.
    pub(crate) fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, |permit| permit.num_permits() * UNIT_BYTES)
    }

    /// Gives back what `bytes` do not need.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let needed = bytes.div_ceil(UNIT_BYTES);
        self.permit = match self.permit.take() {
            Some(permit) if permit.num_permits() <= needed => Some(permit),
            Some(mut permit) => permit.split(needed),
            None => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_take_what_there_is_and_give_back_what_they_do_not_need() {
        let budget = AnswerBudget::new(10 * 1024);
        let mut first = budget.claim(8 * 1024);
        assert_eq!(first.bytes(), 8 * 1024);
        let second = budget.claim(8 * 1024);
        assert_eq!(second.bytes(), 2 * 1024);
        assert_eq!(budget.claim(1).bytes(), 0);
        first.shrink_to(1025);
        assert_eq!(first.bytes(), 2 * 1024);
        first.shrink_to(9000);
        assert_eq!(budget.claim(usize::MAX).bytes(), 6 * 1024);
        drop((first, second));
        assert_eq!(budget.claim(usize::MAX).bytes(), 10 * 1024);
    }

    #[test]
    fn an_answer_without_records_holds_nothing() {
        let budget = AnswerBudget::new(4096);
        let mut claim = budget.claim(4096);
        claim.shrink_to(0);
        assert_eq!((claim.bytes(), budget.claim(4096).bytes()), (0, 4096));
    }
}
