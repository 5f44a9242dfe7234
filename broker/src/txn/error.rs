//! Why a transactional request is refused, with Kafka's error code for each reason.

use oncelog::ErrorKind;

/// A refusal of the transaction coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxnError {
    /// The coordinator cannot store its state now; retry.
    NotAvailable,
    /// The transactional id is not one (42).
    InvalidRequest,
    /// Nobody has this transactional id, or it belongs to another producer id.
    InvalidProducerIdMapping,
    /// A newer incarnation of the producer exists.
    ProducerFenced,
    /// Another request for the id is under way, or its last transaction is not quite done; retry.
    Concurrent,
    /// The transaction's state does not allow it.
    InvalidTxnState,
    /// The timeout is not positive, or above what this broker allows.
    InvalidTimeout,
    /// The partition is not part of the transaction: abort it.
    Abortable,
    /// There is no such transactional id.
    NotFound,
}

impl TxnError {
    /// Kafka's number for it.
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::NotAvailable => 15,
            Self::InvalidRequest => 42,
            Self::InvalidTxnState => 48,
            Self::InvalidProducerIdMapping => 49,
            Self::InvalidTimeout => 50,
            Self::Concurrent => 51,
            Self::ProducerFenced => 90,
            Self::NotFound => 105,
            Self::Abortable => 120,
        }
    }

    /// The number for a client that may be too old to know 90 (C-6).
    pub(crate) const fn code_for(self, knows_fenced: bool) -> i16 {
        match self {
            Self::ProducerFenced if !knows_fenced => 47,
            other => other.code(),
        }
    }

    /// What the coordinator's own log said (C-4).
    pub(super) fn from_store(error: &oncelog::Error) -> Self {
        match error.kind() {
            ErrorKind::BatchTooLarge | ErrorKind::LargerThanSegment => Self::InvalidRequest,
            _ => Self::NotAvailable,
        }
    }
}
