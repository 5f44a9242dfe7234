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

/// For fuzzing: a record that is taken is written as bytes that say the same.
#[cfg(feature = "test-util")]
pub(crate) fn check_record(bytes: &[u8]) {
    let Ok(read) = record::Record::decode(bytes) else { return };
    let written = read.encode();
    let again = record::Record::decode(&written).expect("what was written is read");
    assert!(again == read && again.encode() == written, "{read:?} became {again:?}");
}

/// The name of the transaction log: the engine's own, not handed out.
pub(crate) fn log_name() -> LogName {
    LogName::new("__oncelog_transactions", 0).expect("a legal name")
}
