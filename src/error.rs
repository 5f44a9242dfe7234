//! The engine's one error type: its kind says what the caller should do next.

use crate::types::{Offset, ProducerEpoch, Sequence};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why an operation failed, and through [`Error::kind`] what to do about it.
///
/// Cheap to clone: a failure that poisons a log is handed to every waiter.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

/// A short alias for the engine's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms of what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The batch's bytes are damaged: its checksum or its length is wrong. Nothing was appended. These
    /// bytes will never be accepted; fetch or build the batch again (Kafka's code 2).
    CorruptBatch,
    /// The batch is well-formed but breaks a rule of the log. Nothing was appended; do not repeat
    /// it unchanged (Kafka's code 87).
    InvalidBatch,
    /// A record's timestamp is outside what the log accepts. Nothing was appended; set the clock right, or
    /// `timestamp_before_max_ms` and `timestamp_after_max_ms` (Kafka's code 32).
    InvalidTimestamp,
    /// The batch is larger than `max_message_bytes`. Nothing was appended; split it (Kafka's code 10).
    BatchTooLarge,
    /// The batch is larger than a whole segment. Nothing was appended; split it (Kafka's code 18).
    LargerThanSegment,
    /// The codec of the batch is unknown or not compiled in. Use another, or the feature `compression`
    /// (Kafka's code 76).
    UnsupportedCompression,
    /// The producer's sequence does not follow its last one: a batch before it is missing. Nothing was
    /// appended; send what is missing first (Kafka's code 45).
    OutOfOrderSequence {
        /// The sequence that would have been accepted.
        expected: Sequence,
        /// The sequence of the batch.
        found: Sequence,
    },
    /// A newer incarnation of this producer has written. Nothing was appended; this one must stop
    /// (Kafka's code 47).
    InvalidProducerEpoch {
        /// The producer's current epoch in this log.
        current: ProducerEpoch,
        /// The epoch of the batch.
        found: ProducerEpoch,
    },
    /// The batch does not fit the producer's transaction state. Nothing was appended; abort the
    /// transaction (Kafka's code 48).
    InvalidTxnState,
    /// The marker that ends a transaction of the producer's older epoch has not arrived yet. Retry in a
    /// moment (Kafka's code 51).
    ConcurrentTransactions,
    /// A marker of an older transaction coordinator. Nothing was appended; that one must stop (Kafka's
    /// code 52).
    CoordinatorFenced,
    /// A cap on the number of producers is reached and none may be evicted. Retry later or raise it.
    TooManyProducers,
    /// The offset is outside the log; `start..end` is what may be asked for (Kafka's code 1).
    OutOfRange {
        /// The first offset that may be asked for.
        start: Offset,
        /// The end of what may be asked for; itself a legal position with nothing there yet.
        end: Offset,
    },
    /// The transaction was aborted for good, in all its logs, since one of them failed before it was
    /// decided. Nothing of it will be seen: do it again. The log that failed needs the engine to be opened
    /// again.
    TransactionAborted,
    /// The transaction is committed for good, but a log of it failed before its readers could see it:
    /// they do once the engine was opened again. Do not repeat it.
    TransactionUnseen,
    /// Whether the transaction is committed is not known before the engine was opened again: then it is
    /// committed or aborted as a whole, and a position stored in it tells which.
    TransactionInDoubt,
    /// The log was truncated since the append; whether what was appended went with it is for the one
    /// who truncated to say.
    Truncated,
    /// The leader epoch asked for is older than the log's: learn of the new leader (Kafka's code 74).
    FencedLeaderEpoch,
    /// The leader epoch asked for is newer than the log's: this log has not heard of it yet (Kafka's
    /// code 75).
    UnknownLeaderEpoch,
    /// Stored bytes are damaged. The context names file, position and offsets; the range stays
    /// unreadable, its neighbours do not. Nothing was deleted.
    Corrupt {
        /// First offset of the unreadable range.
        first: Offset,
        /// The offset after the range, where reading can go on.
        next: Offset,
    },
    /// Too many bytes wait for the disk. Nothing was appended; retry when some are written.
    Busy,
    /// The disk is too full: an append would use the reserve, or a file could not be written. Nothing was
    /// appended; service resumes when space returns. The context names directory and reserve.
    DiskFull,
    /// An operating-system call failed in a way that lost nothing; see the source, which also says whether
    /// trying again may help.
    Io,
    /// An earlier write or flush failed, so what the disk holds is unknown. Reopen the log.
    Poisoned,
    /// The data directory is in use by another process or engine.
    Locked,
    /// A data directory belongs to another cluster or node, is a copy of another one in use, or belongs
    /// together with one that is missing. Look at what is mounted where; nothing in it was changed.
    WrongDirectory,
    /// A file carries a format version newer than this library knows. Its bytes were not touched; open
    /// it with the version that wrote it, or a later one.
    NewerFormat,
    /// The log does not exist.
    NotFound,
    /// A log of that name exists already.
    AlreadyExists,
    /// An argument or option is outside its documented bounds, which the context names, or the call does
    /// not fit its object. Change the call.
    Invalid,
    /// The engine or log was closed, deleted or dropped; or the transaction has ended. Open it again.
    Closed,
}

impl Error {
    /// An error of `kind`; `context` says what was attempted and with which values.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { inner: Arc::new(Inner { kind, context: context.into(), source: None }) }
    }

    /// An error of `kind` caused by `source`.
    #[must_use]
    pub fn with_source(
        kind: ErrorKind,
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        let inner = Inner { kind, context: context.into(), source: Some(source.into()) };
        Self { inner: Arc::new(inner) }
    }

    /// An operating-system error met while doing `context`; a full disk gets its own kind.
    #[must_use]
    pub fn io(context: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Self::with_source(kind, context, source)
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// What was attempted.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.inner.context
    }

    /// Whether the very same call may succeed later: what hinders it goes by itself, or when an operator
    /// makes room. So for [`Busy`](ErrorKind::Busy), [`DiskFull`](ErrorKind::DiskFull),
    /// [`TooManyProducers`](ErrorKind::TooManyProducers) and
    /// [`ConcurrentTransactions`](ErrorKind::ConcurrentTransactions), and for no other kind.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.inner.kind,
            ErrorKind::Busy
                | ErrorKind::DiskFull
                | ErrorKind::TooManyProducers
                | ErrorKind::ConcurrentTransactions
        )
    }

    /// Whether the log refuses everything from now on until it is reopened.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.inner.kind, ErrorKind::Poisoned | ErrorKind::Closed)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Error");
        s.field("kind", &self.inner.kind).field("context", &self.inner.context);
        if let Some(source) = &self.inner.source {
            s.field("source", source);
        }
        s.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.context)?;
        match &self.inner.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|s| -> &(dyn StdError + 'static) { s.as_ref() })
    }
}
