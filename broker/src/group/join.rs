//! JoinGroup: who may come in, under which id, and whether the group must rebalance for it.

use super::effect::{Effect, JoinReply};
use super::error::GroupError;
use super::member::{Member, Parked, Protocol, Waiter};
use super::round::dismiss;
use super::state::{Group, NEW_MEMBER_TIMEOUT_MS, Now, PENDING_MAX, Replacement, State, Write};
use bytes::Bytes;
use std::sync::Arc;

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub(super) struct Join {
    /// Empty for a newcomer.
    pub(super) member_id: Arc<str>,
    /// The id a newcomer gets.
    pub(super) fresh_id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocol_type: Arc<str>,
    pub(super) protocols: Vec<Protocol>,
    /// Whether a dynamic newcomer is first told its id and must join again with it (G-10).
    pub(super) needs_known_id: bool,
    /// Whether the client understands that a returning leader need not assign again (G-14).
    pub(super) can_skip_assignment: bool,
}

impl Group {
    /// A member wants to be in the next generation, or to hear of the current one.
    pub(super) fn join(&mut self, now: Now, join: Join, waiter: Waiter, effects: &mut Vec<Effect>) {
        let asked_as = join.member_id.clone();
        let refusal = match self.try_join(now, join, waiter, effects) {
            Ok(()) => return,
            Err(refusal) => refusal,
        };
        let told_id = match refusal {
            GroupError::GroupMaxSizeReached => Arc::from(""),
            _ => asked_as,
        };
        effects.push(Effect::AnswerJoin(waiter, JoinReply::refused(refusal, told_id)));
    }

    fn try_join(
        &mut self,
        now: Now,
        join: Join,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if !self.has_room_for(&join.member_id) {
            self.expel(&join.member_id, effects);
            self.settle_join(now, effects);
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.accepts_protocols(&join.protocol_type, &join.protocols) {
            return Err(GroupError::InconsistentProtocol);
        }
        if join.member_id.is_empty() {
            self.join_newcomer(now, join, waiter, effects)
        } else if join.instance_id.is_none() && self.pending.contains_key(&join.member_id) {
            let member_id = join.member_id.clone();
            self.admit(now, member_id, join, waiter, effects);
            Ok(())
        } else {
            self.check_member(&join.member_id, join.instance_id.as_deref())?;
            self.join_again(now, join, waiter, effects)
        }
    }

    /// While a round is open, places go to those who came first; otherwise to those who are in.
    fn has_room_for(&self, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                member.is_some_and(Member::awaits_join)
                    || self.awaiting_join() < self.limits.members_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < self.limits.members_max
            }
        }
    }

    fn join_newcomer(
        &mut self,
        now: Now,
        join: Join,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) -> Result<(), GroupError> {
        let fresh_id = join.fresh_id.clone();
        if let Some(instance) = &join.instance_id {
            match self.statics.get(instance).cloned() {
                Some(old_id) => self.return_static(now, &old_id, join, waiter, effects),
                None => self.admit(now, fresh_id, join, waiter, effects),
            }
            return Ok(());
        }
        if !join.needs_known_id {
            self.admit(now, fresh_id, join, waiter, effects);
            return Ok(());
        }
        if self.pending.len() >= PENDING_MAX {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let forgotten_at = now.monotonic_ms.saturating_add(i64::from(join.session_timeout_ms));
        self.pending.insert(fresh_id.clone(), forgotten_at);
        let reply = JoinReply::refused(GroupError::MemberIdRequired, fresh_id);
        effects.push(Effect::AnswerJoin(waiter, reply));
        Ok(())
    }

    /// Takes a new member in, which always means a rebalance.
    fn admit(
        &mut self,
        now: Now,
        member_id: Arc<str>,
        join: Join,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Some(initial) = self.initial.as_mut() {
            initial.joined_since = true;
        }
        self.insert(Member {
            id: member_id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            parked: Parked::Join(waiter),
            is_new: true,
            id_told: !join.member_id.is_empty(),
            session_deadline_ms: now.monotonic_ms.saturating_add(NEW_MEMBER_TIMEOUT_MS),
        });
        self.rebalance(now, effects);
    }

    fn rebalance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state == State::PreparingRebalance {
            self.settle_join(now, effects);
        } else {
            self.begin_round(now, effects);
        }
    }

    /// A known member joins: for the open round, or because it missed an answer, or because
    /// something about it changed.
    fn join_again(
        &mut self,
        now: Now,
        join: Join,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) -> Result<(), GroupError> {
        let member = self.members.get(&join.member_id).ok_or(GroupError::UnknownMember)?;
        let unchanged = member.protocols == join.protocols;
        let repeat = match self.state {
            State::PreparingRebalance => false,
            State::CompletingRebalance => unchanged,
            // A leader rejoins when what it assigns has changed, which need not show in its metadata.
            State::Stable => unchanged && !self.is_leader(&join.member_id),
            State::Empty | State::Dead => return Err(GroupError::UnknownMember),
        };
        if repeat {
            let reply = self.current_join_reply(&join.member_id);
            self.renew_session(&join.member_id, now);
            effects.push(Effect::AnswerJoin(waiter, reply));
        } else {
            self.update(now, join, waiter, effects);
            self.rebalance(now, effects);
        }
        Ok(())
    }

    fn update(&mut self, now: Now, join: Join, waiter: Waiter, effects: &mut Vec<Effect>) {
        let member_id = join.member_id.clone();
        let Some(old) = self.members.get(&member_id).cloned() else {
            return;
        };
        dismiss(&old, GroupError::RebalanceInProgress, &member_id, effects);
        // Its client has just said its id, so from now on silence alone ends it.
        let member = Member { is_new: false, id_told: true, ..renewed(old, join, waiter) };
        self.replace(&member_id, member);
        self.renew_session(&member_id, now);
    }

    /// A static member is back after a restart, under a new id (G-16).
    fn return_static(
        &mut self,
        now: Now,
        old_id: &Arc<str>,
        join: Join,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) {
        let Some(old) = self.members.get(old_id).cloned() else {
            return;
        };
        dismiss(&old, GroupError::FencedInstanceId, old_id, effects);
        let new_id = join.fresh_id.clone();
        let skip_assignment = join.can_skip_assignment;
        let old_leader = self.leader.clone();
        let member = Member {
            id: new_id.clone(),
            is_new: true,
            id_told: false,
            session_deadline_ms: now.monotonic_ms.saturating_add(NEW_MEMBER_TIMEOUT_MS),
            ..renewed(old.clone(), join, waiter)
        };
        self.replace(old_id, member);
        // Only in a stable group can the old assignment pass on silently; before that the leader
        // may be assigning to the old id.
        if self.state == State::Stable && self.choose_protocol() == self.protocol {
            let old = Member { parked: Parked::Nothing, ..old };
            let generation = self.generation;
            let write = Replacement { generation, new_id, old, old_leader, skip_assignment };
            self.persist(Write::Replacement(Box::new(write)), None, effects);
        } else {
            self.rebalance(now, effects);
        }
    }

    /// The silent return of a static member is stored, or could not be.
    pub(super) fn replacement_stored(
        &mut self,
        now: Now,
        write: Replacement,
        outcome: Result<(), GroupError>,
        effects: &mut Vec<Effect>,
    ) {
        let still = self.state == State::Stable && self.generation == write.generation;
        let waits = self.members.get(&write.new_id).is_some_and(Member::awaits_join);
        if !still || !waits {
            // A round has begun meanwhile and answers the member, or it is gone.
            return;
        }
        let Parked::Join(waiter) = self.park(&write.new_id, Parked::Nothing) else {
            return;
        };
        let reply = match outcome {
            Ok(()) => self.silent_reply(&write),
            Err(error) => {
                let old_id = write.old.id.clone();
                self.replace(&write.new_id, write.old);
                self.renew_session(&old_id, now);
                JoinReply::refused(error, Arc::from(""))
            }
        };
        if let Some(member) = self.members.get_mut(&write.new_id) {
            member.is_new = false;
            member.id_told = true;
        }
        self.renew_session(&write.new_id, now);
        effects.push(Effect::AnswerJoin(waiter, reply));
    }

    fn silent_reply(&self, write: &Replacement) -> JoinReply {
        let current = self.current_join_reply(&write.new_id);
        if write.skip_assignment {
            return JoinReply { skip_assignment: self.is_leader(&write.new_id), ..current };
        }
        // A client that cannot skip assigning must not learn that it leads, or it would assign.
        let leader = write.old_leader.clone().unwrap_or_else(|| Arc::from(""));
        JoinReply { leader, members: Vec::new(), ..current }
    }
}

/// The member with what `join` says about it, waiting for the round.
fn renewed(old: Member, join: Join, waiter: Waiter) -> Member {
    Member {
        client_id: join.client_id,
        client_host: join.client_host,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        session_timeout_ms: join.session_timeout_ms,
        protocols: join.protocols,
        parked: Parked::Join(waiter),
        ..old
    }
}
