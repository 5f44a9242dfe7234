//! An embeddable, segmented, durable log in Kafka's record-batch format.
//!
//! `oncelog` gives a program Kafka's log as a library: record batches appended with producer id and
//! sequence so that a retry is recognised, transactions whose aborted records readers skip, and an
//! acknowledgement that means *on stable storage*.
//!
//! ```
//! use oncelog::batch::{BatchBuilder, DecodeLimits};
//! use oncelog::{AppendOptions, Engine, EngineOptions, Isolation, LogConfig, LogName, Offset};
//!
//! # fn main() -> oncelog::Result<()> {
//! # let directory = tempfile::tempdir().expect("a temporary directory");
//! # let path = directory.path();
//! let engine = Engine::open(EngineOptions::new(path))?;
//! let log = engine.open_log(&LogName::new("orders", 0)?, LogConfig::default())?;
//!
//! let mut batch = BatchBuilder::new();
//! batch.append(1_700_000_000_000, Some(b"anna"), Some(b"tea"), &[])?;
//! let ticket = log.append(&batch.build()?, &AppendOptions::default())?; // CPU only
//! let appended = ticket.wait()?; // or `ticket.await`: now it survives a power cut
//! assert_eq!(appended.base_offset, Offset::ZERO);
//!
//! for stored in log.batches(Offset::ZERO, Isolation::ReadCommitted) {
//!     for record in stored?.batch().records(&DecodeLimits::default())?.iter() {
//!         let record = record?;
//!         assert_eq!((record.key(), record.value()), (Some(&b"anna"[..]), Some(&b"tea"[..])));
//!     }
//! }
//! engine.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! | after | what is still there |
//! |---|---|
//! | process kill | everything acknowledged at [`Durability::Written`] or [`Durability::Durable`] |
//! | kernel panic, power loss | everything acknowledged at [`Durability::Durable`] (the default) |
//! | disk full | everything; appends are refused with [`ErrorKind::DiskFull`] until space returns |
//! | a flipped bit | everything but the damaged batch, which is reported, never served or deleted |
//!
//! The last line holds for batches that are verified when read, which is the default
//! ([`ReadOptions::verify`]).
//!
//! # Where to begin
//!
//! [`Engine`] owns data directories and hands out [`Log`]s. [`Log::append`] returns an
//! [`AppendTicket`], a future that any executor can await and any thread can wait for.
//! [`Log::read`] returns slices of whole batches, [`Log::batches`] one batch after the other.
//! [`Engine::begin`] begins a [`Transaction`] over several logs.
//! [`batch`] builds and decodes batches, [`io`] is the seam to the outside world, which a program
//! may replace. Nothing here needs an async runtime of its caller.
//!
//! The directory `examples` of the repository holds complete programs, and `DESIGN.md` how it works.

pub mod batch;
mod checkpoint;
mod commit;
mod engine;
mod epoch;
mod error;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod fuzzing;
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
mod txn;
mod types;

pub use engine::{Engine, RetentionVeto};
pub use error::{Error, ErrorKind, Result};
pub use index::AbortedTxn;
pub use log::{
    AppendOptions, AppendTicket, Appended, BatchReader, BlockingBatches, CommittedFilter,
    FileRange, Isolation, Log, LogOffsets, OpenTransaction, ReadOptions, ReadOutcome,
    RecoveryReport, StoredBatch, TimestampedOffset, Verification, WaitFor,
};
pub use options::{
    Backend, CleanupPolicy, Durability, EngineOptions, LogConfig, LogName, TimestampType,
};
pub use producer::{ProducerDescription, VerificationGuard};
pub use txn::{CommitTicket, Transaction};
pub use types::{LeaderEpoch, Offset, Origin, ProducerEpoch, ProducerId, Sequence};
