//! What all events of a group share: beginning a round, ending its join phase, and the clock.

use super::effect::{Effect, JoinReply, SyncReply};
use super::error::GroupError;
use super::member::{Member, Parked, Waiter};
use super::state::{Group, InitialRound, Now, State, Write};
use std::sync::Arc;

/// Shortest wait before a round of absent static members is looked at again.
const EXTENSION_MIN_MS: i64 = 1000;

impl Group {
    /// Starts a new round: whoever waits for an assignment is sent back to join.
    pub(super) fn begin_round(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(GroupError::RebalanceInProgress, now, effects);
        }
        self.sync_deadline_ms = None;
        self.awaiting_sync.clear();
        let initial = self.state == State::Empty;
        self.enter(State::PreparingRebalance, now);
        if !initial {
            self.settle_join(now, effects);
            return;
        }
        let delay_ms = self.limits.initial_rebalance_delay_ms;
        if delay_ms <= 0 {
            self.complete_join(now, effects);
            return;
        }
        let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
        self.initial = Some(InitialRound { remaining_ms, joined_since: false });
        self.join_deadline_ms = Some(now.monotonic_ms.saturating_add(delay_ms));
    }

    /// After a member came or went: ends the join phase if nobody is missing any more.
    pub(super) fn settle_join(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        let everybody = self.initial.is_none() && self.all_joined();
        if everybody || self.members.is_empty() {
            self.complete_join(now, effects);
        } else if self.join_deadline_ms.is_none() {
            let timeout_ms = self.rebalance_timeout_ms();
            self.join_deadline_ms = Some(now.monotonic_ms.saturating_add(timeout_ms));
        }
    }

    /// Rebalances after members left, in whatever way the state asks for.
    pub(super) fn after_departure(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.begin_round(now, effects),
            State::PreparingRebalance => self.settle_join(now, effects),
            State::Empty | State::Dead => {}
        }
    }

    /// Ends the join phase with those who are there (G-12).
    fn complete_join(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.initial = None;
        self.join_deadline_ms = None;
        let absent = self.members.values().filter(|m| !m.awaits_join() && !m.is_static());
        let absent: Vec<Arc<str>> = absent.map(|member| member.id.clone()).collect();
        for member_id in absent {
            self.expel(&member_id, effects);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left and none is back: wait on; their sessions bound it.
            let timeout_ms = self.rebalance_timeout_ms().max(EXTENSION_MIN_MS);
            self.join_deadline_ms = Some(now.monotonic_ms.saturating_add(timeout_ms));
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        if self.members.is_empty() {
            self.become_empty(now, effects);
        } else {
            self.begin_generation(now, effects);
        }
    }

    fn become_empty(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.leader = None;
        self.protocol = None;
        self.enter(State::Empty, now);
        self.persist(Write::Emptied, None, effects);
    }

    fn begin_generation(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.protocol = self.choose_protocol();
        self.enter(State::CompletingRebalance, now);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        self.awaiting_sync = ids.iter().cloned().collect();
        self.sync_deadline_ms = Some(now.monotonic_ms.saturating_add(self.rebalance_timeout_ms()));
        for member_id in ids {
            self.renew_session(&member_id, now);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
                member.id_told |= member.awaits_join();
            }
            if let Parked::Join(waiter) = self.park(&member_id, Parked::Nothing) {
                effects.push(Effect::AnswerJoin(waiter, self.current_join_reply(&member_id)));
            }
        }
    }

    /// A lead who did not rejoin gives way to somebody who did; false if nobody did.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(Member::awaits_join) {
            return true;
        }
        let candidate = self.members.values().find(|member| member.awaits_join());
        let Some(candidate) = candidate else {
            return false;
        };
        self.leader = Some(candidate.id.clone());
        true
    }

    /// The join answer for a member of the current generation (G-14).
    pub(super) fn current_join_reply(&self, member_id: &Arc<str>) -> JoinReply {
        let leads = self.is_leader(member_id);
        JoinReply {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if leads { self.members_for_leader() } else { Vec::new() },
        }
    }

    /// Removes a member; if it waits for something, it learns that it is unknown now.
    pub(super) fn expel(&mut self, member_id: &str, effects: &mut Vec<Effect>) {
        if let Some(member) = self.take(member_id) {
            dismiss(&member, GroupError::UnknownMember, &Arc::from(""), effects);
        }
        self.rest_if_all_synced();
    }

    /// Ends the wait for syncs once nobody owes one.
    pub(super) fn rest_if_all_synced(&mut self) {
        if self.awaiting_sync.is_empty() {
            self.sync_deadline_ms = None;
        }
    }

    /// Forgets the generation's assignment and sends everybody who waits for it away.
    pub(super) fn refuse_syncs(&mut self, error: GroupError, now: Now, effects: &mut Vec<Effect>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in ids {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = bytes::Bytes::new();
                if let Parked::Sync(waiter) = member.parked {
                    member.parked = Parked::Nothing;
                    self.renew_session(&member_id, now);
                    effects.push(Effect::AnswerSync(waiter, SyncReply::refused(error)));
                }
            }
        }
    }

    /// The next moment at which [`Group::tick`] has something to do.
    #[must_use]
    pub(super) fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self.members.values().filter_map(Member::expires_at_ms);
        let pending = self.pending.values().copied();
        let phases = [self.join_deadline_ms, self.sync_deadline_ms];
        sessions.chain(pending).chain(phases.into_iter().flatten()).min()
    }

    /// Does whatever has become due.
    pub(super) fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.forget_pending(now, effects);
        self.expire_sessions(now, effects);
        if self.join_deadline_ms.is_some_and(|deadline| deadline <= now.monotonic_ms) {
            self.join_phase_over(now, effects);
        }
        if self.sync_deadline_ms.is_some_and(|deadline| deadline <= now.monotonic_ms) {
            self.sync_phase_over(now, effects);
        }
    }

    fn forget_pending(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now.monotonic_ms);
        if self.pending.len() < before {
            self.settle_join(now, effects);
        }
    }

    /// Removes the silent (G-18).
    fn expire_sessions(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due =
            |member: &&Member| member.expires_at_ms().is_some_and(|at| at <= now.monotonic_ms);
        let silent: Vec<Arc<str>> =
            self.members.values().filter(due).map(|member| member.id.clone()).collect();
        for member_id in &silent {
            self.expel(member_id, effects);
        }
        if !silent.is_empty() {
            self.after_departure(now, effects);
        }
    }

    /// The initial delay is extended while members keep coming (G-11); any other round ends.
    fn join_phase_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(initial) = self.initial.as_mut()
            && initial.joined_since
            && initial.remaining_ms > 0
        {
            let delay_ms = self.limits.initial_rebalance_delay_ms.min(initial.remaining_ms);
            initial.joined_since = false;
            initial.remaining_ms -= delay_ms;
            self.join_deadline_ms = Some(now.monotonic_ms.saturating_add(delay_ms));
            return;
        }
        self.complete_join(now, effects);
    }

    /// Who has not synced by now holds up the others and is removed (G-15).
    fn sync_phase_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let late = std::mem::take(&mut self.awaiting_sync);
        self.sync_deadline_ms = None;
        for member_id in &late {
            self.expel(member_id, effects);
        }
        if !late.is_empty() {
            self.after_departure(now, effects);
        }
    }

    /// The connection behind a parked request is gone: nobody will read its answer.
    ///
    /// A member whose client knows its id may come back within its session; one whose client does
    /// not is removed at once, so that it never becomes a silent part of a generation.
    pub(super) fn abandon(&mut self, now: Now, waiter: Waiter, effects: &mut Vec<Effect>) {
        let holder = self.members.values().find(|member| member.waiter() == Some(waiter));
        let Some(holder) = holder else { return };
        let (member_id, lost) = (holder.id.clone(), !holder.id_told && !holder.is_static());
        self.park(&member_id, Parked::Nothing);
        self.renew_session(&member_id, now);
        if lost {
            self.expel(&member_id, effects);
            self.after_departure(now, effects);
        }
    }

    /// Rebalances a group that has more members than it may; places go to who comes first (G-19).
    pub(super) fn shrink_to_limit(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state == State::Stable && self.members.len() > self.limits.members_max {
            self.begin_round(now, effects);
        }
    }

    /// Marks an empty group as being deleted; false if it has members.
    pub(super) fn kill(&mut self, now: Now) -> bool {
        if self.state != State::Empty {
            return false;
        }
        self.pending.clear();
        self.enter(State::Dead, now);
        true
    }

    /// Takes a deletion back whose tombstone could not be stored.
    pub(super) fn revive(&mut self, now: Now) {
        if self.state == State::Dead {
            self.enter(State::Empty, now);
        }
    }
}

/// Answers whatever `member` waits for with a refusal.
pub(super) fn dismiss(
    member: &Member,
    error: GroupError,
    told_id: &Arc<str>,
    effects: &mut Vec<Effect>,
) {
    match member.parked {
        Parked::Nothing => {}
        Parked::Join(waiter) => {
            let reply = JoinReply::refused(error, told_id.clone());
            effects.push(Effect::AnswerJoin(waiter, reply));
        }
        Parked::Sync(waiter) => {
            effects.push(Effect::AnswerSync(waiter, SyncReply::refused(error)));
        }
    }
}
