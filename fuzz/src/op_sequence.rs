//! Bytes as a program: operations on two logs, faults, kills and power cuts, judged by a model.
//!
//! Each operation takes a byte and a few more as arguments; when the bytes are used up, the power
//! goes a last time. After every recovery a log must be a prefix of what was appended, hold all that
//! was acknowledged, recognise the retries of each producer's last five batches, and show readers
//! what the model shows them.

use super::world;
use oncelog::batch::{BatchBuilder, DecodeLimits, EndMarker, MarkerKind, marker_batch};
use oncelog::io::sim::{Crash, Fault, FaultKind, SimDisk};
use oncelog::{
    AppendOptions, AppendTicket, Durability, Engine, Error, ErrorKind, Isolation, LeaderEpoch, Log,
    LogName, Offset, Origin, ProducerEpoch, ProducerId, Sequence,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const LOGS: usize = 2;
/// Producers 1 and 2 are idempotent, 3 and 4 write transactions, −1 is none.
const PRODUCERS: [i64; 5] = [-1, 1, 2, 3, 4];
const CACHED_BATCHES: usize = 5;

pub fn check(program: &[u8]) {
    let mut run = Run::new(Program { bytes: program });
    while !run.program.bytes.is_empty() {
        run.step();
    }
    run.crash();
}

/// The bytes that are left; past their end every argument is zero.
struct Program<'a> {
    bytes: &'a [u8],
}

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn word(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// A batch as it was appended.
#[derive(Clone, Debug)]
struct Item {
    base: i64,
    last: i64,
    producer: i64,
    epoch: i16,
    sequence: i32,
    /// `Some(commit)` for an end marker.
    marker: Option<bool>,
    /// First of the numbers that its records hold, and how much is in each record besides.
    value: u64,
    padding: usize,
    /// What it was acknowledged to survive.
    acknowledged: Option<Durability>,
}

impl Item {
    fn records(&self) -> i64 {
        self.last - self.base + 1
    }

    fn is_transactional(&self) -> bool {
        self.producer >= 3
    }

    fn values(&self) -> impl Iterator<Item = (i64, Vec<u8>)> + '_ {
        let value = |nth| format!("{}{}", self.value + nth, "x".repeat(self.padding)).into_bytes();
        (self.base..=self.last).zip((0..).map(value))
    }

    fn bytes(&self) -> Vec<u8> {
        let (id, epoch) = (ProducerId::new(self.producer), ProducerEpoch::new(self.epoch));
        if let Some(commit) = self.marker {
            let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
            let (zero, none) = (Offset::ZERO, LeaderEpoch::NONE);
            let end = EndMarker::new(kind, 0);
            return marker_batch(zero, none, id, epoch, end, world::TIME_MS).to_vec();
        }
        let mut batch = BatchBuilder::new();
        if self.producer >= 0 {
            batch = batch.producer(id, epoch, Sequence::new(self.sequence));
        }
        if self.is_transactional() {
            batch = batch.transactional();
        }
        for (_, value) in self.values() {
            batch.append(world::TIME_MS, None, Some(&value), &[]).expect("a small record");
        }
        batch.build().expect("a small batch").to_vec()
    }
}

/// One log as it must be.
#[derive(Clone, Debug, Default)]
struct Model {
    items: Vec<Item>,
    /// Acknowledged log start offset, and the largest one asked for.
    start: i64,
    start_asked: i64,
    /// The furthest a reader has seen.
    seen_end: i64,
    /// A truncation that may have taken effect: what reaches it may be gone.
    cut_asked: Option<i64>,
}

impl Model {
    fn end(&self) -> i64 {
        self.items.last().map_or(0, |item| item.last + 1)
    }

    fn epoch(&self, producer: i64) -> i16 {
        let epochs = self.items.iter().filter(|item| item.producer == producer).map(|i| i.epoch);
        epochs.max().unwrap_or(0)
    }

    /// Data batches of a producer's present epoch, newest first.
    fn newest(&self, producer: i64) -> impl Iterator<Item = &Item> {
        let epoch = self.epoch(producer);
        let items = self.items.iter().rev();
        items.filter(move |i| i.producer == producer && i.marker.is_none() && i.epoch == epoch)
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let next = |item: &Item| i64::from(item.sequence) + item.records();
        self.newest(producer).next().map_or(0, |item| i32::try_from(next(item)).expect("short"))
    }

    fn is_open(&self, producer: i64) -> bool {
        let last = self.items.iter().rev().find(|item| item.producer == producer);
        last.is_some_and(|item| item.is_transactional() && item.marker.is_none())
    }

    /// T-3 to T-5: before the first transaction that is open, or whose marker is not replicated.
    fn last_stable(&self, high_watermark: i64, start: i64) -> i64 {
        let mut open = BTreeMap::new();
        let mut unstable = high_watermark;
        for item in self.items.iter().filter(|i| i.is_transactional()) {
            if item.marker.is_none() {
                open.entry(item.producer).or_insert(item.base);
            } else if let Some(first) = open.remove(&item.producer)
                && item.base >= high_watermark
            {
                unstable = unstable.min(first);
            }
        }
        let unstable = open.into_values().min().map_or(unstable, |first| first.min(unstable));
        unstable.max(start).min(high_watermark)
    }

    fn values(&self, from: i64, bound: i64, committed: bool) -> Vec<(i64, Vec<u8>)> {
        let visible = self.items.iter().enumerate().filter(|(nth, item)| {
            let hidden = committed && item.is_transactional() && !self.is_committed(*nth);
            item.marker.is_none() && item.last >= from && item.base < bound && !hidden
        });
        if from >= bound { Vec::new() } else { visible.flat_map(|(_, i)| i.values()).collect() }
    }

    fn is_committed(&self, nth: usize) -> bool {
        let (producer, mut later) = (self.items[nth].producer, self.items[nth..].iter());
        let marker = later.find(|item| item.producer == producer && item.marker.is_some());
        marker.is_some_and(|item| item.marker == Some(true))
    }

    /// Takes over what a recovery made of the log, if it may have. All of `survives` must be there.
    fn recover_to(&mut self, start: i64, end: i64, survives: Durability) {
        let cut = self.cut_asked.take().unwrap_or(i64::MAX);
        let kept = self.items.iter().take_while(|item| item.last < end).count();
        let boundary = self.items[..kept].last().map_or(0, |item| item.last + 1);
        assert!(boundary == end || boundary < end && end == start, "ends at {end}");
        let promised = |item: &&Item| {
            item.acknowledged.is_some_and(|level| level >= survives) && item.last < cut
        };
        let lost = self.items[kept..].iter().find(promised);
        assert!(lost.is_none(), "the log ends at {end}; lost: {lost:?}");
        let seen_end = self.seen_end.min(cut);
        // A truncation inside a batch takes the batch.
        let cut_floor = self.items.iter().take_while(|item| item.last < seen_end).last();
        let seen_end = if cut < i64::MAX { cut_floor.map_or(0, |i| i.last + 1) } else { seen_end };
        assert!(end >= seen_end, "a reader saw up to {seen_end}, the log ends at {end}");
        let asked = self.start..=self.start_asked.max(self.start);
        // A truncation moves the log start back before anything goes.
        let is_moved_back = start < self.start && (cut < i64::MAX || end < self.start);
        assert!(asked.contains(&start) || is_moved_back, "the log starts at {start}: {asked:?}");
        (self.start, self.start_asked) = (start, start);
        self.truncate(kept);
    }

    /// Keeps the first items, all of them durable now.
    fn truncate(&mut self, kept: usize) {
        self.items.truncate(kept);
        self.items.iter_mut().for_each(|item| item.acknowledged = Some(Durability::Durable));
        if self.end() < self.start {
            // The cut met the log start inside a batch: the log begins where that batch did.
            (self.start, self.start_asked) = (self.end(), self.end());
        }
        self.seen_end = self.seen_end.min(self.end());
    }
}

struct Run<'a> {
    program: Program<'a>,
    disk: Arc<SimDisk>,
    engine: Engine,
    logs: Vec<Log>,
    models: Vec<Model>,
    /// Appends nobody has waited for yet: log, item, level.
    pending: Vec<(usize, usize, Durability, AppendTicket)>,
    next_value: u64,
    /// A failed write or flush was planned in this life of the engine.
    is_faulty: bool,
}

/// What an operation met that ends this life of the engine.
struct Ended;

fn name(log: usize) -> LogName {
    LogName::new("t", i32::try_from(log).expect("few logs")).expect("a legal name")
}

/// The engine may say this of a disk that fails; nothing else.
fn ended(error: &Error) -> Ended {
    let kind = error.kind();
    let expected = matches!(kind, ErrorKind::Poisoned | ErrorKind::Io | ErrorKind::DiskFull);
    assert!(expected, "unexpected: {error:?}");
    Ended
}

impl<'a> Run<'a> {
    fn new(program: Program<'a>) -> Self {
        let disk = SimDisk::new(1);
        let engine = world::open(&disk).expect("an empty disk");
        let create = |log| engine.create_log(&name(log), [9; 16], world::config());
        let logs = (0..LOGS).map(|log| create(log).expect("an empty disk")).collect();
        let models = vec![Model::default(); LOGS];
        let pending = Vec::new();
        Self { program, disk, engine, logs, models, pending, next_value: 0, is_faulty: false }
    }

    fn step(&mut self) {
        let op = self.program.byte();
        let log = usize::from(op >> 7);
        let outcome = match op & 0x1f {
            0..8 => self.append(log),
            8..11 => self.end_transaction(log),
            11..13 => self.retry(log),
            13..15 => self.acknowledge(),
            15..18 => self.read(log),
            18 => {
                self.logs[log].roll();
                Ok(())
            }
            19 => {
                self.engine.tick();
                Ok(())
            }
            20 => self.trim(log),
            21 => self.truncate(log),
            22 => self.reopen(),
            23..25 => {
                self.plan_fault();
                Ok(())
            }
            25..28 => {
                let operation = self.disk.operations() + 1 + u64::from(self.program.byte() % 32);
                self.disk.crash_after(operation);
                Ok(())
            }
            _ => Err(Ended),
        };
        if let Err(Ended) = outcome {
            self.crash();
        }
    }

    fn append(&mut self, log: usize) -> Result<(), Ended> {
        let shape = self.program.byte();
        let producer = PRODUCERS[usize::from(shape) % PRODUCERS.len()];
        let (records, bumps) = (1 + i64::from(shape >> 5 & 3), shape >> 7 == 1);
        let padding = 3 * usize::from(self.program.byte());
        let model = &self.models[log];
        let (base, mut epoch) = (model.end(), model.epoch(producer));
        let mut sequence = model.next_sequence(producer);
        if bumps && producer >= 0 && !model.is_open(producer) && epoch < 100 {
            (epoch, sequence) = (epoch + 1, 0);
        }
        if producer < 0 {
            (epoch, sequence) = (-1, -1);
        }
        let value = self.next_value;
        self.next_value += records.unsigned_abs();
        let (last, marker) = (base + records - 1, None);
        let acknowledged = None;
        self.stage(
            log,
            Item { base, last, producer, epoch, sequence, marker, value, padding, acknowledged },
        )
    }

    fn end_transaction(&mut self, log: usize) -> Result<(), Ended> {
        let shape = self.program.byte();
        let (producer, marker) = (3 + i64::from(shape & 1), Some(shape & 2 == 0));
        let (base, epoch) = (self.models[log].end(), self.models[log].epoch(producer));
        let (last, sequence, value, padding, acknowledged) = (base, -1, 0, 0, None);
        self.stage(
            log,
            Item { base, last, producer, epoch, sequence, marker, value, padding, acknowledged },
        )
    }

    fn stage(&mut self, log: usize, item: Item) -> Result<(), Ended> {
        let how = self.program.byte();
        let mut options = AppendOptions::default();
        if item.marker.is_some() {
            options.origin = Origin::Coordinator;
        }
        let levels = [Durability::Durable, Durability::Durable, Durability::Written];
        let level = levels[usize::from(how >> 1) % levels.len()];
        options.durability = Some(level);
        let ticket =
            self.logs[log].append(&item.bytes(), &options).map_err(|error| ended(&error))?;
        let appended = ticket.appended();
        let right = !appended.duplicate && appended.base_offset.get() == item.base;
        assert!(right, "{appended:?} for {item:?}");
        self.models[log].items.push(item);
        self.pending.push((log, self.models[log].items.len() - 1, level, ticket));
        if how & 1 == 0 { self.acknowledge() } else { Ok(()) }
    }

    fn acknowledge(&mut self) -> Result<(), Ended> {
        for (log, nth, level, ticket) in std::mem::take(&mut self.pending) {
            ticket.wait().map_err(|error| ended(&error))?;
            self.models[log].items[nth].acknowledged = Some(level);
        }
        Ok(())
    }

    /// One of the last five batches again is a duplicate (P-5).
    fn retry(&mut self, log: usize) -> Result<(), Ended> {
        let producer = 1 + i64::from(self.program.byte() % 4);
        let age = self.program.below(CACHED_BATCHES);
        let Some(item) = self.models[log].newest(producer).nth(age).cloned() else { return Ok(()) };
        self.expect_duplicate(log, &item)
    }

    fn expect_duplicate(&self, log: usize, item: &Item) -> Result<(), Ended> {
        let ticket = self.logs[log].append(&item.bytes(), &AppendOptions::default());
        let appended = ticket.map_err(|error| ended(&error))?.appended();
        let right = appended.duplicate && appended.base_offset.get() == item.base;
        assert!(right, "a retry of {item:?} gave {appended:?}");
        Ok(())
    }

    fn trim(&mut self, log: usize) -> Result<(), Ended> {
        let high_watermark = self.logs[log].offsets().high_watermark.get();
        let model = &mut self.models[log];
        let target = (model.start + i64::from(self.program.byte() % 16)).min(high_watermark);
        if target <= model.start {
            return Ok(());
        }
        model.start_asked = target;
        let trimmed = self.logs[log].trim_before(Offset::new(target));
        assert_eq!(trimmed.map_err(|error| ended(&error))?.get(), target);
        self.models[log].start = target;
        Ok(())
    }

    fn truncate(&mut self, log: usize) -> Result<(), Ended> {
        // Tickets of what goes may fail or not.
        self.acknowledge()?;
        let model = &mut self.models[log];
        let target = (model.end() - i64::from(self.program.byte() % 16)).max(model.start);
        model.cut_asked = Some(target);
        self.logs[log].truncate_to(Offset::new(target)).map_err(|error| ended(&error))?;
        let model = &mut self.models[log];
        model.cut_asked = None;
        let kept = model.items.iter().take_while(|item| item.last < target).count();
        model.truncate(kept);
        let offsets = self.logs[log].offsets();
        assert_eq!(offsets.log_end_offset.get(), self.models[log].end(), "{offsets:?}");
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Ended> {
        self.engine.close().map_err(|error| ended(&error))?;
        // The clean close acknowledges everything.
        self.pending.clear();
        for model in &mut self.models {
            model.truncate(model.items.len());
        }
        self.open_and_judge(Durability::Durable);
        Ok(())
    }

    fn plan_fault(&mut self) {
        let how = self.program.byte();
        let kind = if how & 1 == 0 { FaultKind::Flush } else { FaultKind::Write };
        let fault = Fault::new(kind, u64::from(how >> 2 & 7));
        self.disk.fail(if how & 2 == 0 { fault } else { fault.sticky() });
        self.is_faulty = true;
    }

    /// Ends this life of the engine: a kill, or a power cut of some kind.
    fn crash(&mut self) {
        self.pending.clear();
        let how = self.program.byte();
        // After a cut there is no operating system to keep what was written, and after a failed
        // flush what it shows is not what the device has (docs/recovery.md).
        if how.is_multiple_of(4) && self.disk.is_powered() && !self.is_faulty {
            self.disk = self.disk.kill();
            self.open_and_judge(Durability::Written);
            return;
        }
        let crash = self.cut(how);
        self.disk = self.disk.crash(&crash);
        self.open_and_judge(Durability::Durable);
    }

    fn cut(&mut self, how: u8) -> Crash {
        match how % 8 {
            1 => Crash::LoseAll,
            2 => Crash::KeepAll,
            3 | 5 => Crash::Exact(vec![self.program.word(), self.program.word()]),
            _ => Crash::Random { seed: self.program.word(), garbage: false },
        }
    }

    fn open_and_judge(&mut self, mut survives: Durability) {
        self.disk.heal();
        self.is_faulty = false;
        // Recovery itself may be cut short, by the power.
        let mut attempts = self.program.byte() % 4;
        while attempts > 0 && !self.program.bytes.is_empty() {
            attempts -= 1;
            // What was only written outlives a kill, and not the power.
            survives = Durability::Durable;
            let operation = self.disk.operations() + 1 + u64::from(self.program.byte() % 32);
            self.disk.crash_after(operation);
            drop(world::open(&self.disk));
            let how = self.program.byte();
            let crash = self.cut(how);
            self.disk = self.disk.crash(&crash);
        }
        // Also ends what a planned crash or an earlier life left: the lock.
        self.disk = self.disk.kill();
        self.engine = world::open(&self.disk).expect("a disk without faults opens");
        let load = |log| self.engine.log(&name(log)).expect("a log that was created is there");
        self.logs = (0..LOGS).map(load).collect();
        for report in self.engine.recovery_reports() {
            assert!(report.damaged.is_empty(), "damage where there is none: {report:?}");
        }
        for log in 0..LOGS {
            self.judge(log, survives);
        }
    }

    fn judge(&mut self, log: usize, survives: Durability) {
        let offsets = self.logs[log].offsets();
        let (start, end) = (offsets.log_start_offset.get(), offsets.log_end_offset.get());
        self.models[log].recover_to(start, end, survives);
        let model = &self.models[log];
        for producer in 1..=4 {
            let newest: Vec<Item> = model.newest(producer).take(CACHED_BATCHES).cloned().collect();
            for item in newest {
                let Ok(()) = self.expect_duplicate(log, &item) else {
                    panic!("a disk without faults takes a retry");
                };
            }
        }
        let Ok(()) = self.read(log) else { panic!("a disk without faults is read") };
    }

    fn read(&mut self, log: usize) -> Result<(), Ended> {
        let back = i64::from(self.program.byte());
        let offsets = self.logs[log].offsets();
        let start = offsets.log_start_offset.get();
        let high_watermark = offsets.high_watermark.get();
        let last_stable = offsets.last_stable_offset.get();
        let model = &mut self.models[log];
        model.seen_end = model.seen_end.max(high_watermark);
        assert_eq!(last_stable, model.last_stable(high_watermark, start), "{offsets:?}");
        let from = (high_watermark - back).max(start);
        for (isolation, bound) in
            [(Isolation::ReadUncommitted, high_watermark), (Isolation::ReadCommitted, last_stable)]
        {
            let committed = isolation == Isolation::ReadCommitted;
            let expected = self.models[log].values(from, bound, committed);
            let found = values(&self.logs[log], from, isolation).map_err(|error| ended(&error))?;
            assert_eq!(found, expected, "{isolation:?} from {from} to {bound}");
        }
        Ok(())
    }
}

fn values(log: &Log, from: i64, isolation: Isolation) -> oncelog::Result<Vec<(i64, Vec<u8>)>> {
    let mut found = Vec::new();
    for stored in log.batches(Offset::new(from), isolation) {
        let stored = stored?;
        for record in &stored.batch().records(&DecodeLimits::default())? {
            let record = record?;
            found.push((record.offset().get(), record.value().unwrap_or_default().to_vec()));
        }
    }
    Ok(found)
}
