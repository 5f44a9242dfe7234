//! Transactions over the wire: the coordinator, and the log that keeps its state.
//!
//! | file | owns |
//! |---|---|
//! | `state` | one transactional id as a pure state machine |
//! | `record` | the bytes of `__transaction_state` |
//! | `coordinator` | all ids, whose turn it is at each, making decisions durable |
//! | `markers` | ending a transaction in the partitions it wrote to |
//! | `load` | reading the log at the start, and finishing what was decided |
//! | `clockwork` | transactions that time out, ids that expire |
//! | `compaction` | keeping that log short |
//! | `describe` | what an administrator sees |
//! | `error` | why a request is refused |
//!
//! The one idea: a commit is complete when it is answered. The decision is made durable, then every
//! marker, in one commit group for all partitions; only then the producer hears of it. So its next
//! transaction never meets the last one, and a reader who asks after the answer sees all of it. Two
//! rounds of flushes, however many partitions there are.

mod clockwork;
mod compaction;
mod coordinator;
mod describe;
mod error;
mod load;
mod markers;
mod record;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use coordinator::{Config, Coordinator, Neighbours};
pub(crate) use describe::{Described, is_state};
pub(crate) use error::TxnError;
pub(crate) use markers::Marker;
pub(crate) use state::Identity;
