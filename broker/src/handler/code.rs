//! Kafka's error codes, and which of them an error of the engine becomes.

use oncelog::ErrorKind;

/// An error code of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Code {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    MessageTooLarge = 10,
    InvalidTopic = 17,
    RecordListTooLarge = 18,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    PolicyViolation = 44,
    OutOfOrderSequence = 45,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    ConcurrentTransactions = 51,
    CoordinatorNotAvailable = 15,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    KafkaStorageError = 56,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompression = 76,
    InvalidRecord = 87,
    UnknownTopicId = 100,
    FetchSessionTopicIdError = 106,
    RequestTimedOut = 7,
    TransactionAbortable = 120,
}

impl Code {
    /// The number on the wire.
    pub(crate) const fn get(self) -> i16 {
        self as i16
    }
}

impl From<&ErrorKind> for Code {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            // A stored batch that is damaged is the reader's to step over, so it must not look like
            // something that passes.
            ErrorKind::CorruptBatch | ErrorKind::Corrupt { .. } => Self::CorruptMessage,
            ErrorKind::InvalidBatch => Self::InvalidRecord,
            ErrorKind::InvalidTimestamp => Self::InvalidTimestamp,
            ErrorKind::BatchTooLarge => Self::MessageTooLarge,
            ErrorKind::LargerThanSegment => Self::RecordListTooLarge,
            ErrorKind::UnsupportedCompression => Self::UnsupportedCompression,
            ErrorKind::OutOfOrderSequence { .. } => Self::OutOfOrderSequence,
            ErrorKind::InvalidProducerEpoch { .. } => Self::InvalidProducerEpoch,
            ErrorKind::InvalidTxnState => Self::InvalidTxnState,
            ErrorKind::ConcurrentTransactions => Self::ConcurrentTransactions,
            ErrorKind::CoordinatorFenced => Self::TransactionCoordinatorFenced,
            ErrorKind::OutOfRange { .. } => Self::OffsetOutOfRange,
            ErrorKind::FencedLeaderEpoch => Self::FencedLeaderEpoch,
            ErrorKind::UnknownLeaderEpoch => Self::UnknownLeaderEpoch,
            ErrorKind::NotFound => Self::UnknownTopicOrPartition,
            // Nothing was appended and a retry may succeed: the one code that says both.
            ErrorKind::Busy | ErrorKind::TooManyProducers => Self::NotEnoughReplicas,
            ErrorKind::DiskFull | ErrorKind::Io | ErrorKind::Poisoned | ErrorKind::Closed => {
                Self::KafkaStorageError
            }
            _ => Self::UnknownServerError,
        }
    }
}

impl From<&oncelog::Error> for Code {
    fn from(error: &oncelog::Error) -> Self {
        Self::from(error.kind())
    }
}
