//! ListGroups, DescribeGroups and DeleteGroups, from wire to group and back.

use super::clockwork::{TOMBSTONES_MAX, bury, group_tombstone};
use super::coordinator::{Cell, Coordinator, Shared, Slot};
use super::error::GroupError;
use super::state::{Group, State};
use crate::protocol::delete_groups::DeletableGroupResult;
use crate::protocol::describe_groups::{DescribedGroup, DescribedGroupMember};
use crate::protocol::list_groups::ListedGroup;
use crate::protocol::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse, Str,
};
use crate::state_log::Written;
use std::sync::Arc;

/// The type of every group here, as Kafka names it.
const CLASSIC: &str = "classic";
/// Read, delete, describe: what anybody may do with a group when nothing is forbidden.
const ALL_GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

impl Coordinator {
    /// Which groups there are; names in the filters count without regard to case.
    #[must_use]
    pub fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let passes = |filter: &[Str], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        if !passes(&request.types_filter, CLASSIC) {
            return ListGroupsResponse::default();
        }
        let mut groups = Vec::new();
        for slot in self.shared.slots() {
            self.shared.on(&slot, |cell, _now, _effects| {
                let state = cell.group.state().name();
                if !cell.removed && passes(&request.states_filter, state) {
                    groups.push(listed(&slot, &cell.group));
                }
            });
        }
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        ListGroupsResponse { groups, ..ListGroupsResponse::default() }
    }

    /// State and members of groups.
    #[must_use]
    pub fn describe(
        &self,
        request: &DescribeGroupsRequest,
        version: i16,
    ) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|group_id| {
            let mut described = self.describe_one(group_id, version);
            if request.include_authorized_operations && described.error_code == 0 {
                described.authorized_operations = ALL_GROUP_OPERATIONS;
            }
            described
        });
        DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
    }

    fn describe_one(&self, group_id: &Str, version: i16) -> DescribedGroup {
        if group_id.is_empty() {
            return undescribed(group_id, Some(GroupError::InvalidGroupId));
        }
        let found = self.shared.glance(group_id, |cell, _now| {
            let alive = cell.group.state() != State::Dead;
            alive.then(|| described(group_id, &cell.group))
        });
        found.flatten().unwrap_or_else(|| {
            // Before version 6 an unknown group was an answer, not an error.
            let error = (version >= 6).then_some(GroupError::GroupIdNotFound);
            undescribed(group_id, error)
        })
    }

    /// Deletes groups without members, with all their offsets (G-33).
    pub async fn delete(&self, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut results = Vec::new();
        for group_id in request.groups_names {
            let outcome = self.delete_one(&group_id).await;
            let error_code = GroupError::code_of(&outcome);
            results.push(DeletableGroupResult { group_id, error_code });
        }
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
    }

    async fn delete_one(&self, group_id: &str) -> Result<(), GroupError> {
        // Deleting what never was must not create the partition it would have been in.
        self.shared.find(group_id).ok_or(GroupError::GroupIdNotFound)?;
        self.shared.prepare(group_id).await?;
        let begun = self.shared.with(group_id, |slot, cell, now, _effects| {
            if cell.group.state() == State::Dead {
                return Err(GroupError::GroupIdNotFound);
            }
            if !cell.group.kill(now) {
                return Err(GroupError::NonEmptyGroup);
            }
            let begun = entomb(&self.shared, slot, cell);
            if begun.is_err() {
                cell.group.revive(now);
            }
            Ok((slot.clone(), begun?))
        });
        let (slot, burial) = begun.unwrap_or(Err(GroupError::GroupIdNotFound))?;
        // Its own task: a client that goes away must not leave the group half dead.
        let shared = self.shared.clone();
        let done = tokio::spawn(async move { burial.finish(&shared, &slot).await }).await;
        done.unwrap_or(Err(GroupError::CoordinatorNotAvailable))
    }
}

/// The removals of a group that is being deleted. The group's own comes last.
struct Burial {
    offsets: Vec<super::commits::Stored>,
    group: Written,
}

fn entomb(shared: &Arc<Shared>, slot: &Arc<Slot>, cell: &mut Cell) -> Result<Burial, GroupError> {
    let partitions = cell.offsets.partitions();
    let chunks = partitions.chunks(TOMBSTONES_MAX);
    let offsets = chunks.map(|chunk| bury(shared, slot, cell, chunk)).collect();
    let entry = group_tombstone(&slot.id).ok_or(GroupError::InvalidGroupId)?;
    Ok(Burial { offsets, group: shared.append(slot.partition, &[entry])? })
}

impl Burial {
    async fn finish(self, shared: &Arc<Shared>, slot: &Arc<Slot>) -> Result<(), GroupError> {
        let mut outcome = Ok(());
        for stored in self.offsets {
            outcome = outcome.and(stored.outcome().await);
        }
        let group = self.group.stored.await.map_err(|error| GroupError::from_store(&error));
        outcome = outcome.and(group);
        shared.on(slot, |cell, now, _effects| match outcome {
            Ok(()) => cell.removed = true,
            Err(_) => cell.group.revive(now),
        });
        outcome
    }
}

fn listed(slot: &Slot, group: &Group) -> ListedGroup {
    ListedGroup {
        group_id: Str::from(&*slot.id),
        protocol_type: Str::from(group.protocol_type.as_deref().unwrap_or("")),
        group_state: Str::from_static(group.state().name()),
        group_type: Str::from_static(CLASSIC),
    }
}

fn undescribed(group_id: &Str, error: Option<GroupError>) -> DescribedGroup {
    let message = error.map(|_| Str::from(format!("Group {group_id} not found.")));
    DescribedGroup {
        error_code: error.map_or(0, GroupError::code),
        error_message: message,
        group_id: group_id.clone(),
        group_state: Str::from_static(State::Dead.name()),
        ..DescribedGroup::default()
    }
}

/// Metadata and assignments are shown where they belong together: in a stable group.
fn described(group_id: &Str, group: &Group) -> DescribedGroup {
    let protocol = match group.state() {
        State::Stable => group.protocol.as_deref().unwrap_or(""),
        _ => "",
    };
    let settled = group.state() == State::Stable;
    let members = group.members.values().map(|member| DescribedGroupMember {
        member_id: Str::from(&*member.id),
        group_instance_id: member.instance_id.as_deref().map(Str::from),
        client_id: Str::from(&*member.client_id),
        client_host: Str::from(&*member.client_host),
        member_metadata: if settled { member.metadata(protocol) } else { Default::default() },
        member_assignment: if settled { member.assignment.clone() } else { Default::default() },
    });
    DescribedGroup {
        group_id: group_id.clone(),
        group_state: Str::from_static(group.state().name()),
        protocol_type: Str::from(group.protocol_type.as_deref().unwrap_or("")),
        protocol_data: Str::from(protocol),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}
