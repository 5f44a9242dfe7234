//! What a group asks its surroundings to do: answer a parked request, or store its record.

use super::error::GroupError;
use super::member::Waiter;
use super::records::GroupValue;
use bytes::Bytes;
use std::sync::Arc;

/// Names a write until [`super::state::Group::stored`] reports its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Token(pub(super) u64);

/// One thing to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Answer a JoinGroup.
    AnswerJoin(Waiter, JoinReply),
    /// Answer a SyncGroup.
    AnswerSync(Waiter, SyncReply),
    /// Store the group's record, then report the outcome under the token.
    Persist(Token, GroupValue),
}

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinReply {
    pub(super) error: Option<GroupError>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Arc<str>,
    pub(super) skip_assignment: bool,
    pub(super) member_id: Arc<str>,
    pub(super) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinedMember {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) metadata: Bytes,
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyncReply {
    pub(super) error: Option<GroupError>,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) assignment: Bytes,
}

impl JoinReply {
    /// A refusal; `member_id` tells the client which id to go on with.
    pub(super) fn refused(error: GroupError, member_id: Arc<str>) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl SyncReply {
    pub(super) fn refused(error: GroupError) -> Self {
        Self { error: Some(error), protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}
