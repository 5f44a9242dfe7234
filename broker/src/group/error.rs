//! Why a group request is refused, with Kafka's error code for each reason.

use std::fmt;

/// A refusal of a group or offset request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupError {
    /// Something on this side failed in a way the client cannot mend.
    Unknown,
    /// The topic or partition does not exist.
    UnknownTopicOrPartition,
    /// The metadata of a commit is too long.
    OffsetMetadataTooLarge,
    /// The coordinator cannot serve the group now; retry.
    CoordinatorNotAvailable,
    /// The generation of the request is not the group's.
    IllegalGeneration,
    /// The protocols of the request do not fit the group's.
    InconsistentProtocol,
    /// The group id is not usable with this API.
    InvalidGroupId,
    /// The group does not know the member; it joins anew.
    UnknownMember,
    /// The session timeout is outside what this broker allows.
    InvalidSessionTimeout,
    /// A rebalance is under way; the member rejoins.
    RebalanceInProgress,
    /// The commit does not fit into a record batch.
    InvalidCommitOffsetSize,
    /// The request contradicts itself.
    InvalidRequest,
    /// The group has members (or is of another type) and cannot be deleted.
    NonEmptyGroup,
    /// There is no such group.
    GroupIdNotFound,
    /// The member joins again, with the id it is given here.
    MemberIdRequired,
    /// The group has as many members as it may.
    GroupMaxSizeReached,
    /// A newer member has taken over this static instance id.
    FencedInstanceId,
    /// A member is subscribed to the topic.
    GroupSubscribedToTopic,
    /// A transactional commit of the partition is undecided.
    UnstableOffsetCommit,
    /// No topic has this id.
    UnknownTopicId,
}

impl GroupError {
    /// Kafka's number for it.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Unknown => -1,
            Self::UnknownTopicOrPartition => 3,
            Self::OffsetMetadataTooLarge => 12,
            Self::CoordinatorNotAvailable => 15,
            Self::IllegalGeneration => 22,
            Self::InconsistentProtocol => 23,
            Self::InvalidGroupId => 24,
            Self::UnknownMember => 25,
            Self::InvalidSessionTimeout => 26,
            Self::RebalanceInProgress => 27,
            Self::InvalidCommitOffsetSize => 28,
            Self::InvalidRequest => 42,
            Self::NonEmptyGroup => 68,
            Self::GroupIdNotFound => 69,
            Self::MemberIdRequired => 79,
            Self::GroupMaxSizeReached => 81,
            Self::FencedInstanceId => 82,
            Self::GroupSubscribedToTopic => 86,
            Self::UnstableOffsetCommit => 88,
            Self::UnknownTopicId => 100,
        }
    }

    /// The number for an outcome: 0 for success.
    #[must_use]
    pub fn code_of<T>(outcome: &Result<T, Self>) -> i16 {
        outcome.as_ref().err().map_or(0, |error| error.code())
    }

    /// What a client is told when a record of its group could not be stored.
    #[must_use]
    pub fn from_store(error: &oncelog::Error) -> Self {
        match error.kind() {
            oncelog::ErrorKind::BatchTooLarge | oncelog::ErrorKind::LargerThanSegment => {
                Self::Unknown
            }
            _ => Self::CoordinatorNotAvailable,
        }
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.code())
    }
}

impl std::error::Error for GroupError {}
