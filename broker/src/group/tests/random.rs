//! Random histories of one group. Method: clients that behave, misbehave, vanish and return drive
//! the state machine while time passes and writes succeed or fail; after every event the invariants
//! of the group hold, and at the end, with everything stored and enough time passed, every request
//! has been answered exactly once. A failure prints its seed; run it alone with
//! `ONCELOG_GROUP_SEED=<seed>`.

use super::bench::*;
use crate::group::error::GroupError;
use crate::group::join::Join;
use crate::group::member::{Parked, Waiter};
use crate::group::state::State;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A small generator (splitmix64): equal seeds, equal numbers.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

struct History {
    bench: Bench,
    random: Random,
    /// Every id a client was ever told, or made up.
    ids: Vec<Arc<str>>,
    asked_joins: BTreeSet<Waiter>,
    asked_syncs: BTreeSet<Waiter>,
    abandoned: BTreeSet<Waiter>,
    generation: i32,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let delay_ms = if random.chance(50) { 0 } else { 3_000 };
        let members_max = if random.chance(30) { 3 } else { usize::MAX };
        Self {
            bench: Bench::with(delay_ms, members_max),
            random,
            ids: vec![Arc::from("stranger")],
            asked_joins: BTreeSet::new(),
            asked_syncs: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            generation: 0,
        }
    }

    fn some_id(&mut self) -> Arc<str> {
        let index = self.random.below(self.ids.len());
        self.ids[index].clone()
    }

    fn some_instance(&mut self) -> Option<Arc<str>> {
        let name = format!("i{}", self.random.below(3));
        self.random.chance(30).then(|| Arc::from(name))
    }

    fn some_generation(&mut self) -> i32 {
        let generation = self.bench.group.generation;
        if self.random.chance(80) { generation } else { generation - 1 }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.join(),
            30..50 => self.sync(),
            50..65 => self.heartbeat(),
            65..72 => self.leave(),
            72..78 => self.abandon(),
            78..90 => self.store(),
            _ => {
                let ms = [1, 500, 4_000, 20_000][self.random.below(4)];
                self.bench.pass(ms);
            }
        }
        self.check();
    }

    fn join(&mut self) {
        let fresh: Arc<str> = Arc::from(format!("m{}", self.ids.len()));
        let member_id = if self.random.chance(40) { Arc::from("") } else { self.some_id() };
        let orders: [&[&str]; 4] = [&["x"], &["x", "y"], &["y", "x"], &["z"]];
        let known = if self.random.chance(90) { 3 } else { 4 };
        let order = orders[self.random.below(known)];
        let join = Join {
            member_id,
            fresh_id: fresh.clone(),
            instance_id: self.some_instance(),
            protocols: order.iter().map(|name| protocol(name, "m")).collect(),
            needs_known_id: self.random.chance(50),
            can_skip_assignment: self.random.chance(50),
            ..newcomer("m")
        };
        self.ids.push(fresh);
        self.asked_joins.insert(self.bench.join(join));
    }

    fn sync(&mut self) {
        let member_id = match self.bench.group.leader.clone() {
            Some(leader) if self.random.chance(40) => leader,
            _ => self.some_id(),
        };
        let generation = self.some_generation();
        let sync = leader(&member_id, generation, &[(&*member_id, "work".into())]);
        self.asked_syncs.insert(self.bench.sync(sync));
    }

    fn heartbeat(&mut self) {
        let (id, generation) = (self.some_id(), self.some_generation());
        let heard = self.bench.heartbeat(&id, generation);
        let committed = self.bench.commit(&id, generation);
        if heard.is_ok() && self.bench.state() == State::Stable {
            assert_eq!(committed, Ok(()));
        }
        if self.bench.state() == State::CompletingRebalance {
            assert_ne!(committed, Ok(()));
        }
    }

    fn leave(&mut self) {
        let id = self.some_id();
        if self.bench.leave(&id).is_ok() {
            assert!(!self.bench.group.members.contains_key(&id));
        }
    }

    fn abandon(&mut self) {
        let parked: Vec<Waiter> =
            self.bench.group.members.values().filter_map(|member| member.waiter()).collect();
        if !parked.is_empty() {
            let waiter = parked[self.random.below(parked.len())];
            self.abandoned.insert(waiter);
            self.bench.abandon(waiter);
        }
    }

    fn store(&mut self) {
        if !self.bench.writes.is_empty() {
            let fails = self.random.chance(15);
            self.bench.store(if fails { Err(GroupError::CoordinatorNotAvailable) } else { Ok(()) });
        }
    }

    fn check(&mut self) {
        let group = &self.bench.group;
        assert!(group.generation >= self.generation, "the generation fell");
        self.generation = group.generation;
        let alone = matches!(group.state(), State::Empty | State::Dead);
        assert_eq!(group.members.is_empty(), alone, "{:?}", group.state());
        match &group.leader {
            Some(leader) => assert!(group.members.contains_key(leader), "the leader is a member"),
            None => assert!(alone),
        }
        for (instance, id) in &group.statics {
            assert_eq!(group.members[id].instance_id.as_ref(), Some(instance));
        }
        let statics = group.members.values().filter(|member| member.is_static()).count();
        assert_eq!(statics, group.statics.len(), "an instance is one member");
        let waiting = group.members.values().filter(|member| member.awaits_join()).count();
        assert_eq!(waiting, group.awaiting_join());
        assert!(group.pending.keys().all(|id| !group.members.contains_key(id)));
        for member in group.members.values() {
            let sync = matches!(member.parked, Parked::Sync(_));
            assert!(!sync || group.state() == State::CompletingRebalance, "a sync left behind");
            assert_eq!(&*member.id, group.members.get_key_value(&member.id).unwrap().0.as_ref());
        }
        if matches!(group.state(), State::CompletingRebalance | State::Stable) {
            let protocol = group.protocol.as_ref().expect("a protocol was chosen");
            let others = group
                .members
                .values()
                .filter(|member| !member.protocols.iter().any(|known| known.name == *protocol));
            // Only a member that is on its way into the next round may have dropped it.
            assert_eq!(others.filter(|member| !member.awaits_join()).count(), 0);
        }
        self.check_leaders();
    }

    /// In one generation one member at most was told that it leads.
    fn check_leaders(&self) {
        let mut leaders = std::collections::BTreeMap::new();
        for reply in self.bench.joins.values().filter(|reply| reply.error.is_none()) {
            if reply.members.is_empty() {
                continue;
            }
            assert_eq!(reply.leader, reply.member_id);
            let lineage = leaders.entry(reply.generation).or_insert_with(|| reply.leader.clone());
            let same = *lineage == reply.leader;
            assert!(same || reply.skip_assignment, "two leaders in {}", reply.generation);
        }
    }

    fn finish(mut self) {
        while !self.bench.writes.is_empty() {
            self.bench.store(Ok(()));
            self.check();
        }
        for _ in 0..20 {
            self.bench.pass(400_000);
            while !self.bench.writes.is_empty() {
                self.bench.store(Ok(()));
            }
            self.check();
        }
        assert_eq!(self.bench.state(), State::Empty, "everybody fell silent");
        for waiter in self.asked_joins.difference(&self.abandoned) {
            assert!(self.bench.joins.contains_key(waiter), "join {waiter:?} was never answered");
        }
        for waiter in self.asked_syncs.difference(&self.abandoned) {
            assert!(self.bench.syncs.contains_key(waiter), "sync {waiter:?} was never answered");
        }
    }
}

fn run(seed: u64) {
    let outcome = std::panic::catch_unwind(|| {
        let mut history = History::new(seed);
        for _ in 0..120 {
            history.step();
        }
        history.finish();
    });
    if let Err(panic) = outcome {
        println!("replay with ONCELOG_GROUP_SEED={seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn random_histories_keep_the_invariants_and_answer_everybody() {
    match std::env::var("ONCELOG_GROUP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => run(seed),
        None => (0..1_500).for_each(run),
    }
}
