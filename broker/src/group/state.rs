//! A classic consumer group as a state machine: events in, effects out, time given from outside.
//!
//! ```text
//!             join                    all joined, or time is up            assignment stored
//!   Empty ────────▶ PreparingRebalance ────────────────▶ CompletingRebalance ────────▶ Stable
//!     ▲                 │      ▲                                 │ join, leave, expiry    │
//!     └── nobody left ──┘      └─────────────────────────────────┴────────────────────────┘
//! ```
//!
//! Nothing here waits, locks, reads a clock or touches a disk. This file owns the data and its
//! invariants; the events are in `join`, `sync`, `leave`, and what they share in `round`.
//!
//! Invariants: a group that is not Empty or Dead has at least one member and its leader is one of
//! them (but for the moment inside an event); a static instance id belongs to exactly one member;
//! the generation never falls; a member has at most one parked request, and each is answered once.

use super::effect::{Effect, JoinedMember, Token};
use super::error::GroupError;
use super::member::{Member, Parked, Protocol};
use super::records::{GroupValue, MemberValue};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Where a group is in its cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    /// No members; committed offsets may exist.
    Empty,
    /// Members are joining the next generation.
    PreparingRebalance,
    /// The generation is fixed; the leader is computing the assignment.
    CompletingRebalance,
    /// Members have their assignment.
    Stable,
    /// The group is being deleted.
    Dead,
}

impl State {
    /// Kafka's name for it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// The moment of an event on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Milliseconds on a clock that never goes back; for timers.
    pub(super) monotonic_ms: i64,
    /// Milliseconds since the Unix epoch; for what is stored.
    pub(super) wall_ms: i64,
}

/// What bounds a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) initial_rebalance_delay_ms: i64,
    pub(super) members_max: usize,
}

/// Most ids handed out with [`GroupError::MemberIdRequired`] and not yet used, per group.
pub(super) const PENDING_MAX: usize = 10_000;

/// How long a member may wait for its first round: its client may be gone without a trace.
pub(super) const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// A write under way and what it decides.
#[derive(Debug)]
pub(super) enum Write {
    /// The group became empty; nobody waits for it.
    Emptied,
    /// The leader's assignment of a generation.
    Assignment { generation: i32, assignment: HashMap<Arc<str>, Bytes> },
    /// A static member came back under a new id without a rebalance.
    Replacement(Box<Replacement>),
}

/// How to answer, or to undo, the silent return of a static member.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) generation: i32,
    pub(super) new_id: Arc<str>,
    pub(super) old: Member,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) skip_assignment: bool,
}

/// The first round of an empty group: how much longer it may be put off.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialRound {
    pub(super) remaining_ms: i64,
    pub(super) joined_since: bool,
}

/// A classic group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) state_since_ms: i64,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) statics: HashMap<Arc<str>, Arc<str>>,
    /// Ids handed out and not yet used, with the time each is forgotten (G-10).
    pub(super) pending: BTreeMap<Arc<str>, i64>,
    /// Per protocol name, how many members support it.
    supporters: HashMap<Arc<str>, usize>,
    awaiting_join: usize,
    pub(super) initial: Option<InitialRound>,
    pub(super) join_deadline_ms: Option<i64>,
    pub(super) sync_deadline_ms: Option<i64>,
    pub(super) awaiting_sync: BTreeSet<Arc<str>>,
    pub(super) writes: BTreeMap<Token, Write>,
    next_token: u64,
}

impl Group {
    /// An empty group nobody has written anything for.
    #[must_use]
    pub(super) fn new(limits: Limits, now: Now) -> Self {
        Self {
            limits,
            state: State::Empty,
            state_since_ms: now.wall_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: HashMap::new(),
            pending: BTreeMap::new(),
            supporters: HashMap::new(),
            awaiting_join: 0,
            initial: None,
            join_deadline_ms: None,
            sync_deadline_ms: None,
            awaiting_sync: BTreeSet::new(),
            writes: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// The group a stored record describes, every member with a fresh session (G-19).
    #[must_use]
    pub(super) fn restore(limits: Limits, now: Now, value: GroupValue) -> Self {
        let mut group = Self::new(limits, now);
        group.state_since_ms = value.state_since_ms.unwrap_or(-1);
        group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
        group.generation = value.generation.max(0);
        let protocol = value.protocol.clone().unwrap_or_else(|| Arc::from(""));
        for stored in value.members {
            let member = restored_member(stored, &protocol, now);
            let taken = member.instance_id.as_ref().is_some_and(|i| group.statics.contains_key(i));
            if !taken && !group.members.contains_key(&member.id) {
                group.insert(member);
            }
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
            group.protocol = value.protocol;
            // A record can name a leader that is not a member; some member must lead.
            let named = value.leader.filter(|leader| group.members.contains_key(leader));
            group.leader = named.or_else(|| group.members.keys().next().cloned());
        }
        group
    }

    /// Where the group is in its cycle.
    #[must_use]
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether nothing distinguishes it from a group that never was.
    #[must_use]
    pub(super) fn is_vacant(&self) -> bool {
        self.state == State::Empty
            && self.generation == 0
            && self.pending.is_empty()
            && self.writes.is_empty()
    }

    /// Whether it has neither members nor ids that may still join.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.writes.is_empty()
    }

    pub(super) fn enter(&mut self, state: State, now: Now) {
        self.state = state;
        self.state_since_ms = now.wall_ms;
    }

    /// Whether a member with these protocols could live in the group (G-9).
    pub(super) fn accepts_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = |name| self.supporters.get(name).copied() == Some(self.members.len());
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| everyone(&*protocol.name))
    }

    /// The protocol of the next generation: of those everybody supports, the one that most members
    /// like best (G-13). A tie goes to the leader's preference.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let everyone = |protocol: &&Protocol| {
            self.supporters.get(&protocol.name).copied() == Some(self.members.len())
        };
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            if let Some(first) = member.protocols.iter().find(everyone) {
                *votes.entry(&*first.name).or_insert(0) += 1;
            }
        }
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let candidates = leader.protocols.iter().filter(everyone);
        // `max_by_key` keeps the last of equals, so the leader's order is walked backwards.
        let backwards = candidates.rev();
        let best = backwards.max_by_key(|p| votes.get(&*p.name).copied().unwrap_or(0));
        best.map(|protocol| protocol.name.clone())
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    pub(super) fn all_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending.is_empty()
    }

    /// The longest any member may take to rejoin.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        i64::from(longest.unwrap_or(0).max(0))
    }

    /// Whether `member_id`, perhaps speaking for a static instance, may act in the group.
    ///
    /// # Errors
    /// [`GroupError::UnknownMember`], [`GroupError::FencedInstanceId`] (G-16).
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance_id {
            match self.statics.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(owner) if &**owner != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// Adds a member; the first one becomes the leader.
    pub(super) fn insert(&mut self, member: Member) {
        self.pending.remove(&member.id);
        for protocol in &member.protocols {
            *self.supporters.entry(protocol.name.clone()).or_insert(0) += 1;
        }
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.awaiting_join += usize::from(member.awaits_join());
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, whole; leadership passes on. Its parked request is the caller's to answer.
    pub(super) fn take(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        for protocol in &member.protocols {
            if let Some(count) = self.supporters.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(&protocol.name);
                }
            }
        }
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        self.awaiting_join -= usize::from(member.awaits_join());
        self.awaiting_sync.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Puts `member` in the place, and if need be the lead, of `old_id`; returns who was there.
    pub(super) fn replace(&mut self, old_id: &str, member: Member) -> Option<Member> {
        let led = self.is_leader(old_id);
        let old = self.take(old_id);
        if led {
            self.leader = Some(member.id.clone());
        }
        self.insert(member);
        old
    }

    /// Changes what a member waits for; returns what it waited for before.
    pub(super) fn park(&mut self, member_id: &str, parked: Parked) -> Parked {
        let Some(member) = self.members.get_mut(member_id) else {
            return Parked::Nothing;
        };
        self.awaiting_join -= usize::from(member.awaits_join());
        let before = std::mem::replace(&mut member.parked, parked);
        self.awaiting_join += usize::from(member.awaits_join());
        before
    }

    pub(super) fn renew_session(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            let timeout = i64::from(member.session_timeout_ms.max(0));
            member.session_deadline_ms = now.monotonic_ms.saturating_add(timeout);
        }
    }

    /// Every member with its metadata for the chosen protocol.
    pub(super) fn members_for_leader(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let joined = self.members.values().map(|member| JoinedMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        joined.collect()
    }

    /// Begins a write of the group's record as it is now, with `assignment` in place of what
    /// members hold if it is given.
    pub(super) fn persist(
        &mut self,
        write: Write,
        assignment: Option<&HashMap<Arc<str>, Bytes>>,
        effects: &mut Vec<Effect>,
    ) {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.writes.insert(token, write);
        effects.push(Effect::Persist(token, self.value(assignment)));
    }

    /// The group as its last record says, if it was ever stored; at rest only.
    pub(super) fn record(&self) -> Option<GroupValue> {
        (self.generation > 0).then(|| self.value(None))
    }

    fn value(&self, assignment: Option<&HashMap<Arc<str>, Bytes>>) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.values().map(|member| MemberValue {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assignment {
                Some(assignment) => assignment.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: Some(self.state_since_ms),
            members: members.collect(),
        }
    }
}

fn restored_member(stored: MemberValue, protocol: &Arc<str>, now: Now) -> Member {
    let timeout = i64::from(stored.session_timeout_ms.max(0));
    Member {
        id: stored.id,
        instance_id: stored.instance_id,
        client_id: stored.client_id,
        client_host: stored.client_host,
        rebalance_timeout_ms: stored.rebalance_timeout_ms,
        session_timeout_ms: stored.session_timeout_ms,
        // Only the chosen protocol is stored; a member that supports more says so when it rejoins.
        protocols: vec![Protocol { name: protocol.clone(), metadata: stored.subscription }],
        assignment: stored.assignment,
        parked: Parked::Nothing,
        is_new: false,
        id_told: true,
        session_deadline_ms: now.monotonic_ms.saturating_add(timeout),
    }
}
