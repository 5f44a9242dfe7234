//! Guards against late appends that would reopen an ended transaction (P-20 to P-26b).
//!
//! A guard names one verification of one producer. The leader makes it before it asks the
//! transaction coordinator, and compares it when it appends, under the log's lock; an accepted
//! transactional batch and every marker void it. Guards are not stored: after a restart the producer
//! is verified again, and because each life of a log begins its guards at a random number, one from
//! before is of no use then.

use crate::error::{Error, ErrorKind};
use crate::types::{ProducerEpoch, ProducerId, Sequence};
use std::collections::{BTreeMap, HashMap};

/// Names one verification of one producer in one log; of use only there, and only until a marker or
/// an accepted append voids it. See [`Log::begin_verification`](crate::Log::begin_verification).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    /// A transaction of this producer and epoch is open already: no check, no guard (P-20).
    pub(crate) const NOT_NEEDED: Self = Self(0);
}

/// What is known of the append that is to be verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerificationRequest {
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
    pub(crate) base_sequence: Sequence,
    /// Whether the producer's epoch rises with each transaction, so that an unknown producer can
    /// only begin with sequence 0 (P-12).
    pub(crate) supports_epoch_bump: bool,
    pub(crate) now_ms: i64,
}

/// Why there can be no guard now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerificationRefused {
    /// A newer incarnation is known (P-26; Kafka's code 47).
    StaleEpoch { current: ProducerEpoch, found: ProducerEpoch },
    /// The marker of an older incarnation's transaction has not arrived yet; retry (P-26; Kafka's
    /// code 51).
    OlderTxnOpen,
}

impl From<VerificationRefused> for Error {
    fn from(refused: VerificationRefused) -> Self {
        match refused {
            VerificationRefused::StaleEpoch { current, found } => Self::new(
                ErrorKind::InvalidProducerEpoch { current, found },
                format!("producer epoch {found} is below {current}"),
            ),
            VerificationRefused::OlderTxnOpen => Self::new(
                ErrorKind::ConcurrentTransactions,
                "a transaction of an older producer epoch awaits its marker",
            ),
        }
    }
}

/// A verification under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verification {
    pub(super) guard: VerificationGuard,
    pub(super) lowest_sequence: Sequence,
    pub(super) supports_epoch_bump: bool,
    producer_epoch: ProducerEpoch,
    created_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Verifications {
    of: HashMap<ProducerId, Verification>,
    /// Guards rise with time, so this is the order of expiry.
    oldest_first: BTreeMap<VerificationGuard, ProducerId>,
    last_guard: u64,
}

impl Verifications {
    pub(super) fn get(&self, id: ProducerId) -> Option<&Verification> {
        self.of.get(&id)
    }

    /// The guard of the producer's verification, made if there is none (P-21). At `max` the oldest
    /// verification is given up: its append is refused and verified again.
    pub(super) fn create(
        &mut self,
        request: &VerificationRequest,
        max: usize,
    ) -> Result<VerificationGuard, VerificationRefused> {
        if let Some(known) = self.of.get_mut(&request.producer_id) {
            known.join(request)?;
            return Ok(known.guard);
        }
        if self.of.len() >= max {
            self.remove_oldest();
        }
        self.last_guard += 1;
        let guard = VerificationGuard(self.last_guard);
        self.oldest_first.insert(guard, request.producer_id);
        let verification = Verification {
            guard,
            lowest_sequence: request.base_sequence,
            supports_epoch_bump: request.supports_epoch_bump,
            producer_epoch: request.producer_epoch,
            created_ms: request.now_ms,
        };
        self.of.insert(request.producer_id, verification);
        Ok(guard)
    }

    pub(super) fn remove(&mut self, id: ProducerId) {
        if let Some(verification) = self.of.remove(&id) {
            self.oldest_first.remove(&verification.guard);
        }
    }

    /// P-26b.
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        while let Some((_, id)) = self.oldest_first.first_key_value() {
            let created_ms =
                self.of.get(id).map_or(i64::MIN, |verification| verification.created_ms);
            if now_ms.saturating_sub(created_ms) < expiration_ms {
                break;
            }
            self.remove_oldest();
        }
    }

    /// Makes guards unlike those that an earlier life of the log gave out: their holders may be here yet.
    pub(super) fn begin_after(&mut self, random: u64) {
        // Far from the end of the numbers, whatever the number is.
        self.last_guard = random >> 2;
    }

    /// Voids all guards; new ones are still unlike any old one.
    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.oldest_first.clear();
    }

    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.oldest_first.pop_first() {
            self.of.remove(&id);
        }
    }
}

impl Verification {
    /// A higher epoch takes the verification over, the same epoch keeps the lowest sequence (P-21).
    fn join(&mut self, request: &VerificationRequest) -> Result<(), VerificationRefused> {
        if request.producer_epoch < self.producer_epoch {
            return Err(VerificationRefused::StaleEpoch {
                current: self.producer_epoch,
                found: request.producer_epoch,
            });
        }
        self.lowest_sequence = if request.producer_epoch > self.producer_epoch {
            request.base_sequence
        } else {
            self.lowest_sequence.min(request.base_sequence)
        };
        self.producer_epoch = request.producer_epoch;
        self.supports_epoch_bump = request.supports_epoch_bump;
        Ok(())
    }
}
