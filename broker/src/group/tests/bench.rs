//! A group on a bench: requests by name, time by hand, answers and writes laid out for inspection.

use crate::group::effect::{Effect, JoinReply, SyncReply, Token};
use crate::group::error::GroupError;
use crate::group::join::Join;
use crate::group::member::{Protocol, Waiter};
use crate::group::records::GroupValue;
use crate::group::state::{Group, Limits, Now, State};
use crate::group::sync::Sync;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Wall-clock time when the bench's own clock is at 0.
pub(super) const EPOCH_MS: i64 = 1_700_000_000_000;

pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) group: Group,
    pub(super) now_ms: i64,
    pub(super) joins: BTreeMap<Waiter, JoinReply>,
    pub(super) syncs: BTreeMap<Waiter, SyncReply>,
    pub(super) writes: VecDeque<(Token, GroupValue)>,
    next: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(0, usize::MAX)
    }

    pub(super) fn with(initial_rebalance_delay_ms: i64, members_max: usize) -> Self {
        let limits = Limits { initial_rebalance_delay_ms, members_max };
        Self {
            group: Group::new(limits, now(0)),
            now_ms: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            writes: VecDeque::new(),
            next: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        now(self.now_ms)
    }

    fn waiter(&mut self) -> Waiter {
        self.next += 1;
        Waiter(self.next)
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let twice = match effect {
                Effect::AnswerJoin(waiter, reply) => self.joins.insert(waiter, reply).is_some(),
                Effect::AnswerSync(waiter, reply) => self.syncs.insert(waiter, reply).is_some(),
                Effect::Persist(token, value) => {
                    self.writes.push_back((token, value));
                    false
                }
            };
            assert!(!twice, "a request was answered twice");
        }
    }

    pub(super) fn join(&mut self, join: Join) -> Waiter {
        let waiter = self.waiter();
        let mut effects = Vec::new();
        self.group.join(self.now(), join, waiter, &mut effects);
        self.carry_out(effects);
        waiter
    }

    pub(super) fn sync(&mut self, sync: Sync) -> Waiter {
        let waiter = self.waiter();
        let mut effects = Vec::new();
        self.group.sync(self.now(), sync, waiter, &mut effects);
        self.carry_out(effects);
        waiter
    }

    pub(super) fn leave(&mut self, member_id: &str) -> Result<(), GroupError> {
        self.leave_as(member_id, None)
    }

    pub(super) fn leave_as(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        let leaver = crate::group::leave::Leaver {
            member_id: Arc::from(member_id),
            instance_id: instance_id.map(Arc::from),
        };
        let mut effects = Vec::new();
        let outcomes = self.group.leave(self.now(), &[leaver], &mut effects);
        self.carry_out(effects);
        outcomes.and_then(|outcomes| outcomes[0])
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), GroupError> {
        self.group.heartbeat(self.now(), member_id, None, generation)
    }

    pub(super) fn commit(&mut self, member_id: &str, generation: i32) -> Result<(), GroupError> {
        let committer = crate::group::sync::Committer {
            member_id,
            instance_id: None,
            generation,
            transactional: false,
        };
        self.group.check_commit(self.now(), committer)
    }

    pub(super) fn abandon(&mut self, waiter: Waiter) {
        let mut effects = Vec::new();
        self.group.abandon(self.now(), waiter, &mut effects);
        self.carry_out(effects);
    }

    /// Lets time pass, timer by timer.
    pub(super) fn pass(&mut self, ms: i64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.group.next_deadline_ms().filter(|due| *due <= end) {
            self.now_ms = self.now_ms.max(due);
            let mut effects = Vec::new();
            self.group.tick(self.now(), &mut effects);
            self.carry_out(effects);
        }
        self.now_ms = end;
    }

    /// Reports the oldest write as stored, or failed.
    pub(super) fn store(&mut self, outcome: Result<(), GroupError>) -> GroupValue {
        let (token, value) = self.writes.pop_front().expect("a write under way");
        let mut effects = Vec::new();
        self.group.stored(self.now(), token, outcome, &mut effects);
        self.carry_out(effects);
        value
    }

    pub(super) fn joined(&self, waiter: Waiter) -> &JoinReply {
        self.joins.get(&waiter).expect("the join was answered")
    }

    pub(super) fn synced(&self, waiter: Waiter) -> &SyncReply {
        self.syncs.get(&waiter).expect("the sync was answered")
    }

    pub(super) fn state(&self) -> State {
        self.group.state()
    }

    /// A group whose members `names` wait for the leader's assignment.
    pub(super) fn completing(names: &[&str]) -> Self {
        let mut bench = Self::new();
        let mut waiters = vec![bench.join(newcomer(names[0]))];
        for name in &names[1..] {
            waiters.push(bench.join(newcomer(name)));
        }
        // The first joined alone; it comes again for the round the others opened.
        if names.len() > 1 {
            bench.join(rejoin(names[0]));
            for name in &names[1..] {
                if bench.state() == State::PreparingRebalance {
                    bench.join(rejoin(name));
                }
            }
        }
        assert_eq!(bench.state(), State::CompletingRebalance);
        bench
    }

    /// A group whose members `names` have the assignment `for-<name>`; the first leads.
    pub(super) fn stable(names: &[&str]) -> Self {
        let mut bench = Self::completing(names);
        bench.stabilise(names);
        bench
    }

    /// The leader, `names[0]`, assigns to everybody; all sync.
    pub(super) fn stabilise(&mut self, names: &[&str]) {
        let generation = self.group.generation;
        let assignment: Vec<(&str, String)> =
            names.iter().map(|name| (*name, format!("for-{name}"))).collect();
        for name in &names[1..] {
            self.sync(follower(name, generation));
        }
        self.sync(leader(names[0], generation, &assignment));
        self.store(Ok(()));
        assert_eq!(self.state(), State::Stable);
    }
}

pub(super) fn now(monotonic_ms: i64) -> Now {
    Now { monotonic_ms, wall_ms: EPOCH_MS + monotonic_ms }
}

pub(super) fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol { name: Arc::from(name), metadata: Bytes::copy_from_slice(metadata.as_bytes()) }
}

/// A join as a client sends it that knows nothing of ids beforehand: `name` becomes its id.
pub(super) fn newcomer(name: &str) -> Join {
    Join {
        member_id: Arc::from(""),
        fresh_id: Arc::from(name),
        instance_id: None,
        client_id: Arc::from("client"),
        client_host: Arc::from("/127.0.0.1"),
        rebalance_timeout_ms: REBALANCE_MS,
        session_timeout_ms: SESSION_MS,
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol("range", name)],
        needs_known_id: false,
        can_skip_assignment: false,
    }
}

pub(super) fn rejoin(name: &str) -> Join {
    Join { member_id: Arc::from(name), ..newcomer(name) }
}

pub(super) fn follower(name: &str, generation: i32) -> Sync {
    leader(name, generation, &[])
}

pub(super) fn leader(name: &str, generation: i32, assignment: &[(&str, String)]) -> Sync {
    let assignment = assignment.iter();
    Sync {
        member_id: Arc::from(name),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignment: assignment.map(|(to, what)| (Arc::from(*to), what.clone().into())).collect(),
    }
}
