//! What a group asks its surroundings to do: answer a parked request, or store its record.

use super::error::GroupError;
use super::member::Waiter;
use super::records::GroupValue;
use bytes::Bytes;
use std::sync::Arc;

/// Names a write until [`super::state::Group::stored`] reports its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(super) u64);

/// One thing to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Answer a JoinGroup.
    AnswerJoin(Waiter, JoinReply),
    /// Answer a SyncGroup.
    AnswerSync(Waiter, SyncReply),
    /// Store the group's record, then report the outcome under the token.
    Persist(Token, GroupValue),
}

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinReply {
    pub(crate) error: Option<GroupError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Arc<str>,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: Arc<str>,
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedMember {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) metadata: Bytes,
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReply {
    pub(crate) error: Option<GroupError>,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) assignment: Bytes,
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
        Self {
            error: Some(error),
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}
