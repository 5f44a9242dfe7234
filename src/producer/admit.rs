//! The rules that a batch must keep to enter the log (P-5 to P-19d), in the order in which Kafka
//! checks them: duplicate, verification, producer epoch, sequence, transaction state, capacity.

use super::entry::ProducerEntry;
use super::{Admission, BatchFacts, ControlKind, ProducerTable, VerificationGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Origin;
use crate::types::Sequence;

impl ProducerTable {
    /// Decides about a batch without changing anything. What a follower copies is always accepted,
    /// as is a batch without a producer (P-18).
    ///
    /// # Errors
    /// [`ErrorKind::OutOfOrderSequence`], [`ErrorKind::InvalidProducerEpoch`],
    /// [`ErrorKind::InvalidTxnState`], [`ErrorKind::CoordinatorFenced`],
    /// [`ErrorKind::TooManyProducers`].
    pub(crate) fn admit(
        &self,
        origin: Origin,
        facts: &BatchFacts,
        guard: Option<VerificationGuard>,
    ) -> Result<Admission> {
        if origin == Origin::Follower || !facts.producer_id.is_some() {
            return Ok(Admission::Accept);
        }
        match facts.control {
            ControlKind::None => self.admit_data(origin, facts, guard),
            ControlKind::Marker { coordinator_epoch, epoch_must_rise, .. } => {
                self.admit_marker(facts, coordinator_epoch, epoch_must_rise)?;
                Ok(Admission::Accept)
            }
            ControlKind::Empty | ControlKind::Other => Ok(Admission::Accept),
        }
    }

    fn admit_data(
        &self,
        origin: Origin,
        facts: &BatchFacts,
        guard: Option<VerificationGuard>,
    ) -> Result<Admission> {
        let known = self.entries.get(facts.producer_id);
        if origin == Origin::Client
            && let Some(duplicate) = known.and_then(|entry| find_duplicate(entry, facts))
        {
            return Ok(duplicate);
        }
        self.check_verified(known, facts, guard)?;
        if let Some(entry) = known {
            check_epoch(entry, facts)?;
        }
        if origin == Origin::Client {
            self.check_sequence(known, facts)?;
        }
        match known {
            Some(entry) => check_txn_state(entry, facts)?,
            None => self.check_capacity(facts)?,
        }
        Ok(Admission::Accept)
    }

    /// P-14, P-23: the first batch of a transaction needs the guard that is on record now.
    fn check_verified(
        &self,
        known: Option<&ProducerEntry>,
        facts: &BatchFacts,
        guard: Option<VerificationGuard>,
    ) -> Result<()> {
        let ongoing =
            known.is_some_and(|e| e.txn.is_some() && e.producer_epoch == facts.producer_epoch);
        if !self.limits.verification_required || !facts.transactional || ongoing {
            return Ok(());
        }
        let on_record = self.verifications.get(facts.producer_id).map(|v| v.guard);
        if on_record.is_some() && on_record == guard {
            return Ok(());
        }
        let context = format!("the transaction of producer {} is not verified", facts.producer_id);
        Err(Error::new(ErrorKind::InvalidTxnState, context))
    }

    fn check_sequence(&self, known: Option<&ProducerEntry>, facts: &BatchFacts) -> Result<()> {
        if self.limits.verification_required {
            self.check_verified_sequence(known, facts)?;
        }
        let Some(entry) = known.filter(|entry| entry.producer_epoch.get() >= 0) else {
            return Ok(()); // P-7
        };
        let expected = if entry.producer_epoch == facts.producer_epoch {
            entry.last_sequence().advance(1) // P-11; P-11b: nothing remembered is followed by 0
        } else {
            Sequence::new(0) // P-9, P-10
        };
        expect_sequence(facts, expected)
    }

    /// P-12: of several batches in flight when verification began, the first must land first.
    fn check_verified_sequence(
        &self,
        known: Option<&ProducerEntry>,
        facts: &BatchFacts,
    ) -> Result<()> {
        let Some(verification) = self.verifications.get(facts.producer_id) else {
            return Ok(());
        };
        if verification.supports_epoch_bump && known.is_none() {
            expect_sequence(facts, Sequence::new(0))?;
        }
        if facts.base_sequence > verification.lowest_sequence {
            expect_sequence(facts, verification.lowest_sequence)?;
        }
        Ok(())
    }

    /// A new producer needs room, or another one that may be forgotten.
    fn check_capacity(&self, facts: &BatchFacts) -> Result<()> {
        let full = self.entries.len() >= self.limits.producers_max;
        if full && self.entries.longest_unused().is_none() {
            let context = format!(
                "no room for producer {}: all {} producers have open transactions",
                facts.producer_id,
                self.entries.len()
            );
            return Err(Error::new(ErrorKind::TooManyProducers, context));
        }
        Ok(())
    }

    /// A marker is never refused for want of room: it leaves no open transaction behind, so the
    /// next newcomer can take its place.
    fn admit_marker(
        &self,
        facts: &BatchFacts,
        coordinator_epoch: i32,
        epoch_must_rise: bool,
    ) -> Result<()> {
        let Some(entry) = self.entries.get(facts.producer_id) else {
            return Ok(());
        };
        check_epoch(entry, facts)?;
        // P-19d: at an equal epoch only the repetition of a marker is legal.
        let same_epoch = entry.producer_epoch == facts.producer_epoch;
        if epoch_must_rise && same_epoch && entry.txn.is_some() {
            return Err(stale_epoch(entry, facts));
        }
        if coordinator_epoch < entry.coordinator_epoch {
            let context = format!(
                "marker of coordinator epoch {coordinator_epoch} for producer {}, {} is known",
                facts.producer_id, entry.coordinator_epoch
            );
            return Err(Error::new(ErrorKind::CoordinatorFenced, context)); // P-19b
        }
        #[cfg(any(test, feature = "test-util"))]
        if self.limits.planted.markers_not_idempotent && entry.txn.is_none() {
            return Err(Error::new(ErrorKind::InvalidTxnState, "planted: marker repeated"));
        }
        Ok(())
    }
}

/// P-5.
fn find_duplicate(entry: &ProducerEntry, facts: &BatchFacts) -> Option<Admission> {
    if entry.producer_epoch != facts.producer_epoch || facts.base_sequence.get() < 0 {
        return None;
    }
    let batch = entry.batches.as_slice().iter().find(|batch| {
        batch.last_sequence == facts.last_sequence && batch.base_sequence() == facts.base_sequence
    })?;
    Some(Admission::Duplicate {
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset,
        timestamp_ms: batch.timestamp_ms,
    })
}

/// P-8, P-19a.
fn check_epoch(entry: &ProducerEntry, facts: &BatchFacts) -> Result<()> {
    if facts.producer_epoch < entry.producer_epoch {
        return Err(stale_epoch(entry, facts));
    }
    Ok(())
}

/// P-13.
fn check_txn_state(entry: &ProducerEntry, facts: &BatchFacts) -> Result<()> {
    if entry.txn.is_none() || facts.transactional {
        return Ok(());
    }
    let context =
        format!("producer {} wrote outside its transaction while that is open", facts.producer_id);
    Err(Error::new(ErrorKind::InvalidTxnState, context))
}

fn expect_sequence(facts: &BatchFacts, expected: Sequence) -> Result<()> {
    let found = facts.base_sequence;
    if found == expected {
        return Ok(());
    }
    let context = format!(
        "producer {} epoch {}: sequence {found} where {expected} was expected",
        facts.producer_id, facts.producer_epoch
    );
    Err(Error::new(ErrorKind::OutOfOrderSequence { expected, found }, context))
}

fn stale_epoch(entry: &ProducerEntry, facts: &BatchFacts) -> Error {
    let (current, found) = (entry.producer_epoch, facts.producer_epoch);
    let context =
        format!("producer {}: epoch {found} where {current} is the current one", facts.producer_id);
    Error::new(ErrorKind::InvalidProducerEpoch { current, found }, context)
}
