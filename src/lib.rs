//! An embeddable, segmented, durable log in Kafka's record-batch format.
//!
//! `oncelog` gives a program Kafka's log as a library: record batches appended with producer id and
//! sequence so that a retry is recognised, transactions whose aborted records readers skip, and an
//! acknowledgement that means *on stable storage*.
//!
//! | after | what is still there |
//! |---|---|
//! | process kill | everything acknowledged at [`Durability::Written`] or [`Durability::Durable`] |
//! | kernel panic, power loss | everything acknowledged at [`Durability::Durable`] (the default) |
//! | disk full | everything; appends are refused with [`ErrorKind::DiskFull`] until space returns |
//! | a flipped bit | everything but the damaged batch, which is reported, never served or deleted |

pub mod batch;
mod checkpoint;
mod commit;
mod engine;
mod epoch;
mod error;
mod index;
pub mod io;
mod log;
mod options;
#[cfg(any(test, feature = "test-util"))]
pub mod planted;
#[cfg(not(any(test, feature = "test-util")))]
mod planted;
mod producer;
mod segment;
mod types;

pub use engine::{Engine, RetentionVeto};
pub use error::{Error, ErrorKind, Result};
pub use log::{
    AbortedTxn, AppendOptions, AppendTicket, Appended, BatchReader, CommittedFilter, Isolation,
    Log, LogOffsets, Origin, ProducerDescription, ReadOptions, ReadOutcome, RecoveryReport,
    StoredBatch, TimestampedOffset, WaitFor,
};
pub use options::{
    Backend, CleanupPolicy, Durability, EngineOptions, LogConfig, LogName, TimestampType,
};
pub use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
