//! Transactions over several logs of an engine, for an embedder without a coordinator of its own.
//!
//! The one idea: the *decision* travels with the data. Committing stages one record in the
//! transaction log that names every log with the offsets it must hold, and all of it goes to the
//! device in one commit group. The transaction is committed if and only if the decision is durable
//! and every log named holds its part; recovery asks just that. So there is one round of flushes up to
//! the commit point, and one for the markers, however many logs take part.
//!
//! ```text
//! begin          a producer id of the reserved range, a slot of a pool
//! append         batches of that producer, transactional: no reader may see them yet
//! commit         decision ─┐
//!                data      ├─► one group ═► commit point: positions move
//!                data     ─┘                markers ─► next group ═► readers see it; answered
//! abort, drop    abort markers. No record: what no decision names is aborted
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `transaction` | [`Transaction`]: what an embedder holds |
//! | `commit` | from the decision to the answer: [`CommitTicket`] |
//! | `coordinator` | slots, numbers, positions, the transaction log while it is written |
//! | `recover` | the transaction log read back; undecided transactions brought to their end |
//! | `record` | the bytes of the transaction log |

mod commit;
mod coordinator;
mod positions;
mod record;
mod recover;
mod transaction;

pub use commit::CommitTicket;
pub(crate) use coordinator::Coordinator;
pub use transaction::Transaction;

use crate::options::LogName;
use crate::types::{ProducerEpoch, ProducerId};

/// The first producer id of the range that is the engine's own; a broker allots from 0 upward.
///
/// Bits 31 to 61 name the engine (from its transaction log's id), so that a log copied from another
/// engine by a follower does not look as if its open transactions were ours; bits 0 to 30 are the
/// slot.
const RESERVED: i64 = 1 << 62;
const SLOT_BITS: u32 = 31;

/// Slots are told apart by offsets, not by epochs: see `recover`.
pub(crate) const PRODUCER_EPOCH: ProducerEpoch = ProducerEpoch::new(0);
/// There is one coordinator, and nobody to fence.
pub(crate) const COORDINATOR_EPOCH: i32 = 0;

/// Whether `id` is out of the engine's own range.
pub(crate) const fn is_reserved(id: ProducerId) -> bool {
    id.get() >= RESERVED
}

/// The part of an engine's producer ids that its slots share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner(i64);

impl Owner {
    /// From the id of the engine's transaction log.
    fn new(id: [u8; 16]) -> Self {
        let [a, b, c, d, ..] = id;
        let number = i64::from(u32::from_be_bytes([a, b, c, d]) >> 1);
        Self(RESERVED | number << SLOT_BITS)
    }

    fn producer(self, slot: u32) -> ProducerId {
        ProducerId::new(self.0 | i64::from(slot))
    }

    fn owns(self, id: ProducerId) -> bool {
        id.get() >> SLOT_BITS == self.0 >> SLOT_BITS
    }
}

/// The name of the transaction log: the engine's own, not handed out.
pub(crate) fn log_name() -> LogName {
    LogName::new("__oncelog_transactions", 0).expect("a legal name")
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
