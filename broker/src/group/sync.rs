//! SyncGroup, Heartbeat, the check of an offset commit, and what follows a stored record.

use super::effect::{Effect, SyncReply, Token};
use super::error::GroupError;
use super::member::{Parked, Waiter};
use super::state::{Group, Now, State, Write};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    pub(super) member_id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) generation: i32,
    /// Absent where the version does not carry it.
    pub(super) protocol_type: Option<Arc<str>>,
    /// Absent where the version does not carry it.
    pub(super) protocol: Option<Arc<str>>,
    /// The leader's decision; empty from everybody else.
    pub(super) assignment: HashMap<Arc<str>, Bytes>,
}

/// Who commits, as the request says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committer<'a> {
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
    pub(super) generation: i32,
    /// Whether the offsets are part of a transaction (G-24).
    pub(super) transactional: bool,
}

impl Group {
    /// A member wants its assignment; the leader brings everybody's.
    pub(super) fn sync(&mut self, now: Now, sync: Sync, waiter: Waiter, effects: &mut Vec<Effect>) {
        if let Err(error) = self.try_sync(now, sync, waiter, effects) {
            effects.push(Effect::AnswerSync(waiter, SyncReply::refused(error)));
        }
    }

    fn try_sync(
        &mut self,
        now: Now,
        sync: Sync,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if self.state == State::PreparingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        if sync.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |asked: &Option<Arc<str>>, own| asked.is_some() && asked != own;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        self.awaiting_sync.remove(&sync.member_id);
        self.rest_if_all_synced();
        if self.state == State::Stable {
            self.renew_session(&sync.member_id, now);
            let reply = self.sync_reply(&sync.member_id);
            effects.push(Effect::AnswerSync(waiter, reply));
        } else {
            self.collect(sync, waiter, effects);
        }
        Ok(())
    }

    /// Parks a sync until the assignment is stored; the leader's starts the storing.
    fn collect(&mut self, sync: Sync, waiter: Waiter, effects: &mut Vec<Effect>) {
        if let Parked::Sync(older) = self.park(&sync.member_id, Parked::Sync(waiter)) {
            let reply = SyncReply::refused(GroupError::RebalanceInProgress);
            effects.push(Effect::AnswerSync(older, reply));
        }
        let under_way = self.writes.values().any(|write| {
            matches!(write, Write::Assignment { generation, .. } if *generation == self.generation)
        });
        if self.is_leader(&sync.member_id) && !under_way {
            let (generation, assignment) = (self.generation, sync.assignment);
            let stored = assignment.clone();
            self.persist(Write::Assignment { generation, assignment }, Some(&stored), effects);
        }
    }

    fn sync_reply(&self, member_id: &str) -> SyncReply {
        let member = self.members.get(member_id);
        SyncReply {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The outcome of a write asked for with [`Effect::Persist`].
    pub(super) fn stored(
        &mut self,
        now: Now,
        token: Token,
        outcome: Result<(), GroupError>,
        effects: &mut Vec<Effect>,
    ) {
        match self.writes.remove(&token) {
            None | Some(Write::Emptied) => {}
            Some(Write::Assignment { generation, assignment }) => {
                // A new round may have begun while the record was on its way.
                if self.state == State::CompletingRebalance && self.generation == generation {
                    self.assignment_stored(now, assignment, outcome, effects);
                }
            }
            Some(Write::Replacement(write)) => {
                self.replacement_stored(now, *write, outcome, effects);
            }
        }
    }

    fn assignment_stored(
        &mut self,
        now: Now,
        mut assignment: HashMap<Arc<str>, Bytes>,
        outcome: Result<(), GroupError>,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = outcome {
            self.refuse_syncs(error, now, effects);
            self.begin_round(now, effects);
            return;
        }
        self.enter(State::Stable, now);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in ids {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = assignment.remove(&member_id).unwrap_or_default();
            }
            if let Parked::Sync(waiter) = self.park(&member_id, Parked::Nothing) {
                self.renew_session(&member_id, now);
                effects.push(Effect::AnswerSync(waiter, self.sync_reply(&member_id)));
            }
        }
    }

    /// A member says it is alive; the answer says whether it should rejoin (G-7).
    ///
    /// # Errors
    /// As table 6.2.
    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.renew_known_session(member_id, now);
        match self.state {
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether `committer` may commit offsets now; if it is a member, that shows it is alive (G-22).
    ///
    /// # Errors
    /// As table 6.2.
    pub(super) fn check_commit(
        &mut self,
        now: Now,
        committer: Committer<'_>,
    ) -> Result<(), GroupError> {
        let Committer { member_id, instance_id, generation, transactional } = committer;
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        let anonymous = generation < 0 && member_id.is_empty() && instance_id.is_none();
        if anonymous {
            return if transactional { Ok(()) } else { Err(GroupError::UnknownMember) };
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance && !transactional {
            return Err(GroupError::RebalanceInProgress);
        }
        self.renew_known_session(member_id, now);
        Ok(())
    }

    /// Renews the session of a member whose client speaks for itself. One that waits for its first
    /// round keeps the limit it has.
    fn renew_known_session(&mut self, member_id: &str, now: Now) {
        if self.members.get(member_id).is_some_and(|member| !member.is_new) {
            self.renew_session(member_id, now);
        }
    }
}
