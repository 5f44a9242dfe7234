//! The producers of the engine's own transactions: a range of ids that no broker allots.

use crate::types::{ProducerEpoch, ProducerId};

/// The first producer id of the range that is the engine's own; a broker allots from 0 upward.
///
/// Bits 31 to 61 name the engine (from its transaction log's id), so that a log copied from another
/// engine by a follower does not look as if its open transactions were ours; bits 0 to 30 are the
/// slot.
const RESERVED: i64 = 1 << 62;
pub(crate) const SLOT_BITS: u32 = 31;

/// Slots are told apart by offsets, not by epochs: see `txn::recover`.
pub(crate) const PRODUCER_EPOCH: ProducerEpoch = ProducerEpoch::new(0);
/// There is one coordinator, and nobody to fence.
pub(crate) const COORDINATOR_EPOCH: i32 = 0;

/// Whether `id` is out of the engine's own range.
pub(crate) const fn is_reserved(id: ProducerId) -> bool {
    id.get() >= RESERVED
}

/// The part of an engine's producer ids that its slots share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(i64);

impl Owner {
    /// From the id of the engine's transaction log.
    pub(crate) fn new(id: [u8; 16]) -> Self {
        let [a, b, c, d, ..] = id;
        let number = i64::from(u32::from_be_bytes([a, b, c, d]) >> 1);
        Self(RESERVED | number << SLOT_BITS)
    }

    pub(crate) fn producer(self, slot: u32) -> ProducerId {
        ProducerId::new(self.0 | i64::from(slot))
    }

    pub(crate) fn owns(self, id: ProducerId) -> bool {
        id.get() >> SLOT_BITS == self.0 >> SLOT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_of_the_engine_are_in_its_range_and_in_nobody_elses() {
        for id in [[0; 16], [0xff; 16], [1; 16]] {
            let owner = Owner::new(id);
            for slot in [0, 1, (1 << SLOT_BITS) - 1] {
                let producer = owner.producer(slot);
                assert!(is_reserved(producer) && owner.owns(producer), "{producer}");
            }
        }
        assert!(!Owner::new([1; 16]).owns(Owner::new([0; 16]).producer(1)));
        assert!(!is_reserved(ProducerId::new(RESERVED - 1)) && !is_reserved(ProducerId::NONE));
    }
}
