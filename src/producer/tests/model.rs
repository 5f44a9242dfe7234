//! Random histories against a model that remembers everything and is too simple to be wrong.
//!
//! Goal: the table's shortcuts (five cached batches in place, evicted order, two sets of ended
//! transactions, state that goes through bytes) change no answer. Method: seeded random batches,
//! markers, bounds and restarts; after each step the model's answer is compared. A failure prints
//! its seed; a range of that seed alone in [`SEEDS`] replays it.

use super::*;
use std::collections::HashMap;
use std::ops::Range;

const SEEDS: Range<u64> = 0..200;
const STEPS: usize = 300;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn small(&mut self, bound: u8) -> i32 {
        i32::try_from(self.below(u64::from(bound))).unwrap()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let len = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(len)).unwrap()]
    }
}

/// Every batch of every producer, in order.
#[derive(Default)]
struct Model {
    producers: HashMap<i64, ModelProducer>,
    /// First offset, marker offset once there is one.
    txns: Vec<(i64, Option<i64>)>,
}

#[derive(Default)]
struct ModelProducer {
    epoch: i16,
    coordinator_epoch: i32,
    /// Of the current epoch.
    batches: Vec<BatchFacts>,
    txn: Option<i64>,
}

/// `0, 1, … MAX, 0, …` by the book.
fn sequence_after(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

impl Model {
    fn admit(&self, facts: &BatchFacts) -> std::result::Result<Admission, ErrorKind> {
        let Some(known) = self.producers.get(&facts.producer_id.get()) else {
            return Ok(Admission::Accept);
        };
        let (epoch, sequence) = (facts.producer_epoch.get(), facts.base_sequence.get());
        if let ControlKind::Marker { coordinator_epoch, .. } = facts.control {
            return match () {
                () if epoch < known.epoch => Err(fenced(known.epoch, epoch)),
                () if coordinator_epoch < known.coordinator_epoch => {
                    Err(ErrorKind::CoordinatorFenced)
                }
                () => Ok(Admission::Accept),
            };
        }
        if epoch == known.epoch {
            let same = |b: &&BatchFacts| {
                (b.base_sequence, b.last_sequence) == (facts.base_sequence, facts.last_sequence)
            };
            // A follower's gaps can make one sequence occur twice; the older batch answers.
            let forgotten = known.batches.len().saturating_sub(5);
            if let Some(b) = known.batches.iter().skip(forgotten).find(same) {
                let (base, last) = (b.base_offset.get(), b.last_offset.get());
                return Ok(duplicate(base, last, b.max_timestamp_ms));
            }
        }
        let last = known.batches.last().map_or(-1, |b| b.last_sequence.get());
        let expected = if epoch == known.epoch { sequence_after(last) } else { 0 };
        match () {
            () if epoch < known.epoch => Err(fenced(known.epoch, epoch)),
            () if sequence != expected => Err(out_of_order(expected, sequence)),
            () if known.txn.is_some() && !facts.transactional => Err(ErrorKind::InvalidTxnState),
            () => Ok(Admission::Accept),
        }
    }

    fn apply(&mut self, facts: &BatchFacts) -> Option<CompletedTxn> {
        let known = self
            .producers
            .entry(facts.producer_id.get())
            .or_insert_with(|| ModelProducer { coordinator_epoch: -1, ..Default::default() });
        if known.epoch != facts.producer_epoch.get() {
            known.epoch = facts.producer_epoch.get();
            known.batches.clear();
        }
        if let ControlKind::Marker { commit, coordinator_epoch, .. } = facts.control {
            known.coordinator_epoch = coordinator_epoch;
            let first = known.txn.take()?;
            return Some(self.complete(facts, first, !commit));
        }
        known.batches.push(*facts);
        if facts.transactional && known.txn.is_none() {
            known.txn = Some(facts.base_offset.get());
            self.txns.push((facts.base_offset.get(), None));
        }
        None
    }

    fn complete(&mut self, facts: &BatchFacts, first: i64, aborted: bool) -> CompletedTxn {
        let marker = facts.last_offset.get();
        self.txns.iter_mut().find(|txn| txn.0 == first).unwrap().1 = Some(marker);
        let other = self.txns.iter().filter(|txn| txn.1.is_none()).map(|txn| txn.0).min();
        CompletedTxn {
            producer_id: facts.producer_id,
            first_offset: Offset::new(first),
            last_offset: facts.last_offset,
            aborted,
            last_stable_offset: Offset::new(other.unwrap_or(marker + 1)),
        }
    }

    fn last_stable_offset(&self, high_watermark: i64, log_start: i64) -> i64 {
        let released = |marker: Option<i64>| marker.is_some_and(|m| m < high_watermark);
        let unstable = self.txns.iter().filter(|txn| !released(txn.1)).map(|txn| txn.0).min();
        unstable.unwrap_or(high_watermark).max(log_start).min(high_watermark)
    }
}

struct Run {
    random: Random,
    table: ProducerTable,
    model: Model,
    next_offset: i64,
    high_watermark: i64,
    log_start: i64,
    counts: [u32; 4],
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            table: ProducerTable::new(limits()),
            model: Model::default(),
            next_offset: 0,
            high_watermark: 0,
            log_start: 0,
            counts: [0; 4],
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 => self.restart(),
            1..=3 => self.move_bounds(),
            4..=6 => self.offer_marker(),
            _ => self.offer_data(),
        }
        let (high_watermark, log_start) =
            (Offset::new(self.high_watermark), Offset::new(self.log_start));
        assert_eq!(
            self.table.last_stable_offset(high_watermark, log_start).get(),
            self.model.last_stable_offset(self.high_watermark, self.log_start)
        );
        assert_eq!(self.table.len(), self.model.producers.len());
    }

    fn restart(&mut self) {
        let bytes = encoded(&self.table, Offset::new(self.next_offset));
        // Long after: every producer is tied to the log or open.
        let at = RestoreAt { now_ms: i64::MAX, log_start: Offset::ZERO };
        self.table = ProducerTable::restore_state(limits(), &bytes, at).unwrap().0;
        assert_eq!(self.table.expire(i64::MAX, Offset::ZERO), 0);
    }

    fn move_bounds(&mut self) {
        self.high_watermark = self.between(self.high_watermark, self.next_offset);
        self.table.on_high_watermark(Offset::new(self.high_watermark));
        if self.random.one_in(4) {
            self.log_start = self.between(self.log_start, self.high_watermark);
            self.table.on_log_start(Offset::new(self.log_start));
        }
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).unwrap() + 1;
        low + i64::try_from(self.random.below(span)).unwrap()
    }

    fn offer_marker(&mut self) {
        let id = i64::from(self.random.small(5));
        let known = self.model.producers.get(&id);
        let (epoch, coordinator_epoch) = known.map_or((0, 0), |k| (k.epoch, k.coordinator_epoch));
        let epoch = (epoch + self.random.pick(&[0, 0, 0, 1, -1])).max(0);
        let coordinator_epoch = coordinator_epoch + self.random.pick(&[0, 0, 0, 1, -1]);
        let batch = marker(id, epoch, self.random.one_in(2), coordinator_epoch);
        self.offer(Origin::Coordinator, batch);
        if self.random.one_in(3) {
            self.offer(Origin::Coordinator, batch);
        }
    }

    fn offer_data(&mut self) {
        let id = i64::from(self.random.small(5));
        let records = 1 + self.random.small(4);
        let near_the_wrap = i32::MAX - self.random.small(20);
        let mut batch = data(id, 0, near_the_wrap).records(records);
        if let Some(known) = self.model.producers.get(&id) {
            let last = known.batches.last().map_or(-1, |b| b.last_sequence.get());
            batch.epoch = known.epoch;
            batch.sequence = sequence_after(last);
            batch.transactional = known.txn.is_some();
        }
        batch.transactional |= self.random.one_in(3);
        self.distort(&mut batch);
        let origin = if self.random.one_in(15) { Origin::Follower } else { Origin::Client };
        self.offer(origin, batch);
    }

    /// Makes some batches retries, gaps, or of another epoch.
    fn distort(&mut self, batch: &mut Batch) {
        match self.random.below(10) {
            0..=2 => self.repeat_an_older(batch),
            3 => batch.sequence = self.random.small(30),
            4 => (batch.epoch, batch.sequence) = (batch.epoch + 1, self.random.pick(&[0, 0, 1])),
            5 => batch.epoch = (batch.epoch - 1).max(0),
            6 => batch.transactional = false,
            _ => {}
        }
    }

    fn repeat_an_older(&mut self, batch: &mut Batch) {
        let Some(known) = self.model.producers.get(&batch.id) else {
            return;
        };
        let back = usize::try_from(self.random.below(8)).unwrap();
        if let Some(older) = known.batches.iter().rev().nth(back) {
            batch.sequence = older.base_sequence.get();
            batch.records = older.last_offset_delta + 1;
        }
    }

    fn offer(&mut self, origin: Origin, batch: Batch) {
        let facts = batch.at(self.next_offset, 7 * self.next_offset);
        let expected = match origin {
            Origin::Follower => Ok(Admission::Accept),
            _ => self.model.admit(&facts),
        };
        let found = self.table.admit(origin, &facts, None).map_err(|e| e.kind().clone());
        assert_eq!(found, expected, "{origin:?} {facts:?}");
        match expected {
            Ok(Admission::Accept) => {
                let completed = self.table.apply(&facts, 7 * self.next_offset);
                assert_eq!(completed, self.model.apply(&facts));
                self.counts[3] += u32::from(completed.is_some());
                self.next_offset = facts.last_offset.next().get();
                self.counts[0] += 1;
            }
            Ok(Admission::Duplicate { .. }) => self.counts[1] += 1,
            Err(_) => self.counts[2] += 1,
        }
    }
}

#[test]
fn random_histories_get_the_models_answers() {
    let mut counts = [0; 4];
    for seed in SEEDS {
        let mut run = Run::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                run.step();
            }
        }));
        assert!(outcome.is_ok(), "seed {seed}");
        counts = std::array::from_fn(|i| counts[i] + run.counts[i]);
    }
    let [accepted, duplicates, refused, ended] = counts;
    let all_exercised = accepted > 10_000 && duplicates > 1000 && refused > 1000 && ended > 1000;
    assert!(all_exercised, "{counts:?}");
}

#[test]
fn the_model_notices_each_planted_bug() {
    let bugs: [fn(&mut Planted); 3] = [
        |p| p.four_cached_batches = true,
        |p| p.lso_off_by_one = true,
        |p| p.markers_not_idempotent = true,
    ];
    for bug in bugs {
        let noticed = SEEDS.take(20).any(|seed| {
            let mut run = Run::new(seed);
            bug(&mut run.table.limits.planted);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..STEPS {
                    let planted = run.table.limits.planted;
                    run.step();
                    run.table.limits.planted = planted;
                }
            }))
            .is_err()
        });
        assert!(noticed);
    }
}
