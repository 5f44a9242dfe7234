//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup, from wire to group and back.

use super::coordinator::{Caller, Coordinator};
use super::effect::{JoinReply, SyncReply};
use super::error::GroupError;
use super::join::Join;
use super::leave::Leaver;
use super::member::Protocol;
use super::sync::Sync;
use crate::protocol::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use crate::protocol::leave_group::{MemberIdentity, MemberResponse};
use crate::protocol::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, Str, SyncGroupRequest, SyncGroupResponse, Uuid,
};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

impl Coordinator {
    /// Enters a group; resolves when the next generation begins. Dropping the future withdraws it.
    pub async fn join(
        &self,
        caller: &Caller,
        request: JoinGroupRequest,
        version: i16,
    ) -> JoinGroupResponse {
        let asked_as = shared_str(&request.member_id);
        let reply = self.try_join(caller, request, version).await;
        join_response(reply.unwrap_or_else(|error| JoinReply::refused(error, asked_as)), version)
    }

    async fn try_join(
        &self,
        caller: &Caller,
        request: JoinGroupRequest,
        version: i16,
    ) -> Result<JoinReply, GroupError> {
        check_group_id(&request.group_id)?;
        let config = &self.shared.config;
        let allowed = config.min_session_timeout_ms..=config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        self.shared.prepare(&request.group_id).await?;
        let join = self.join_event(caller, &request, version);
        let mut join = Some(join);
        let parked = if request.member_id.is_empty() {
            Some(self.shared.with_new(&request.group_id, |slot, cell, now, effects| {
                let (waiter, parking) = self.shared.park_join(slot, cell);
                if let Some(join) = join.take() {
                    cell.group.join(now, join, waiter, effects);
                }
                parking
            }))
        } else {
            self.shared.with(&request.group_id, |slot, cell, now, effects| {
                let (waiter, parking) = self.shared.park_join(slot, cell);
                if let Some(join) = join.take() {
                    cell.group.join(now, join, waiter, effects);
                }
                parking
            })
        };
        parked.ok_or(GroupError::UnknownMember)?.answer().await
    }

    fn join_event(&self, caller: &Caller, request: &JoinGroupRequest, version: i16) -> Join {
        let name = request.group_instance_id.as_deref().unwrap_or(&caller.client_id);
        let fresh_id = format!("{name}-{}", hyphenated(self.shared.host.random_id()));
        Join {
            member_id: shared_str(&request.member_id),
            fresh_id: Arc::from(fresh_id),
            instance_id: request.group_instance_id.as_ref().map(shared_str),
            client_id: caller.client_id.clone(),
            client_host: caller.client_host.clone(),
            // Version 0 had one timeout for both purposes.
            rebalance_timeout_ms: match version {
                0 => request.session_timeout_ms,
                _ => request.rebalance_timeout_ms,
            },
            session_timeout_ms: request.session_timeout_ms,
            protocol_type: shared_str(&request.protocol_type),
            protocols: distinct_protocols(&request.protocols),
            needs_known_id: version >= 4,
            can_skip_assignment: version >= 9,
        }
    }

    /// Brings or fetches the assignment of a generation. Dropping the future withdraws it.
    pub async fn sync(&self, request: SyncGroupRequest, version: i16) -> SyncGroupResponse {
        let reply = self.try_sync(&request, version).await;
        let reply = reply.unwrap_or_else(SyncReply::refused);
        SyncGroupResponse {
            error_code: reply.error.map_or(0, GroupError::code),
            protocol_type: reply.protocol_type.as_deref().map(Str::from),
            protocol_name: reply.protocol.as_deref().map(Str::from),
            assignment: reply.assignment,
            ..SyncGroupResponse::default()
        }
    }

    async fn try_sync(
        &self,
        request: &SyncGroupRequest,
        version: i16,
    ) -> Result<SyncReply, GroupError> {
        check_group_id(&request.group_id)?;
        let named = request.protocol_type.is_some() && request.protocol_name.is_some();
        if version >= 5 && !named {
            return Err(GroupError::InconsistentProtocol);
        }
        let assignments = request.assignments.iter().map(|assigned| {
            (shared_str(&assigned.member_id), Bytes::copy_from_slice(&assigned.assignment))
        });
        let sync = Sync {
            member_id: shared_str(&request.member_id),
            instance_id: request.group_instance_id.as_ref().map(shared_str),
            generation: request.generation_id,
            protocol_type: request.protocol_type.as_ref().map(shared_str),
            protocol: request.protocol_name.as_ref().map(shared_str),
            assignment: assignments.collect(),
        };
        let parked = self.shared.with(&request.group_id, |slot, cell, now, effects| {
            let (waiter, parking) = self.shared.park_sync(slot, cell);
            cell.group.sync(now, sync, waiter, effects);
            parking
        });
        parked.ok_or(GroupError::UnknownMember)?.answer().await
    }

    /// Keeps a member alive (G-7).
    #[must_use]
    pub fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let outcome = check_group_id(&request.group_id).and_then(|()| {
            let member_id = &request.member_id;
            let instance_id = request.group_instance_id.as_deref();
            let heard = self.shared.with(&request.group_id, |_slot, cell, now, _effects| {
                cell.group.heartbeat(now, member_id, instance_id, request.generation_id)
            });
            heard.unwrap_or(Err(GroupError::UnknownMember))
        });
        let error_code = GroupError::code_of(&outcome);
        HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
    }

    /// Removes members from a group (G-17).
    #[must_use]
    pub fn leave(&self, request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
        let leavers = leavers(request, version);
        let outcome = check_group_id(&request.group_id).and_then(|()| {
            let left = self.shared.with(&request.group_id, |_slot, cell, now, effects| {
                cell.group.leave(now, &leavers, effects)
            });
            // In a group that does not exist nobody is known.
            left.unwrap_or_else(|| Ok(vec![Err(GroupError::UnknownMember); leavers.len()]))
        });
        leave_response(&leavers, &outcome, version)
    }
}

/// Membership needs a group id (G-4).
pub(super) fn check_group_id(group_id: &str) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}

/// A copy that outlives the request without keeping its frame alive.
pub(super) fn shared_str(text: &Str) -> Arc<str> {
    Arc::from(text.as_str())
}

/// A client that names a protocol twice means the first.
fn distinct_protocols(protocols: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut seen = HashSet::new();
    let distinct = protocols.iter().filter(|protocol| seen.insert(protocol.name.as_str()));
    let kept = distinct.map(|protocol| Protocol {
        name: shared_str(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    kept.collect()
}

/// The form in which Kafka's member ids carry their random part.
fn hyphenated(id: Uuid) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(id.0));
    let mut text = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

fn join_response(reply: JoinReply, version: i16) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: Str::from(&*member.id),
        group_instance_id: member.instance_id.as_deref().map(Str::from),
        metadata: member.metadata,
    });
    // Before version 7 the protocol may not be null.
    let absent = if version < 7 { Some(Str::EMPTY) } else { None };
    JoinGroupResponse {
        error_code: reply.error.map_or(0, GroupError::code),
        generation_id: reply.generation,
        protocol_type: reply.protocol_type.as_deref().map(Str::from),
        protocol_name: reply.protocol.as_deref().map(Str::from).or(absent),
        leader: Str::from(&*reply.leader),
        skip_assignment: reply.skip_assignment,
        member_id: Str::from(&*reply.member_id),
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn leavers(request: &LeaveGroupRequest, version: i16) -> Vec<Leaver> {
    let leaver = |member: &MemberIdentity| Leaver {
        member_id: shared_str(&member.member_id),
        instance_id: member.group_instance_id.as_ref().map(shared_str),
    };
    if version >= 3 {
        return request.members.iter().map(leaver).collect();
    }
    vec![Leaver { member_id: shared_str(&request.member_id), instance_id: None }]
}

fn leave_response(
    leavers: &[Leaver],
    outcome: &Result<Vec<Result<(), GroupError>>, GroupError>,
    version: i16,
) -> LeaveGroupResponse {
    let outcomes = match outcome {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let error_code = error.code();
            return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        }
    };
    if version < 3 {
        let error_code = outcomes.first().map_or(0, GroupError::code_of);
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let members = leavers.iter().zip(outcomes).map(|(leaver, outcome)| MemberResponse {
        member_id: Str::from(&*leaver.member_id),
        group_instance_id: leaver.instance_id.as_deref().map(Str::from),
        error_code: GroupError::code_of(outcome),
    });
    LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
}
