//! Index files of foreign bytes: read by themselves, and beside the segment that they lie about.
//!
//! ```text
//! kind: 1 byte | the file, or what to change in the right one
//! ```
//!
//! The reader of an index must be right about its bytes. A log whose index is wrong must answer as
//! if it had none, or at least serve nothing that is not there: indexes have no checksum.

use super::world::{self, Contents, contents};
use oncelog::batch::{Batch, BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, Isolation, LeaderEpoch, Log, Offset, Origin, ProducerEpoch, ProducerId,
    ReadOptions, Sequence, fuzzing,
};
use std::sync::LazyLock;

const KINDS: [&str; 3] = ["index", "timeindex", "txnindex"];

pub fn check(input: &[u8]) {
    let Some((&kind, bytes)) = input.split_first() else { return };
    match kind % 9 {
        0 => fuzzing::offset_index(bytes),
        1 => fuzzing::time_index(bytes),
        2 => fuzzing::aborted_index(bytes),
        kind @ 3..6 => beside_a_log(KINDS[usize::from(kind) % 3], |_| bytes.to_vec()),
        kind => beside_a_log(KINDS[usize::from(kind) % 3], |right| {
            let mut wrong = right.to_vec();
            for (nth, change) in bytes.iter().enumerate() {
                if let Some(byte) = wrong.get_mut(nth) {
                    *byte ^= change;
                }
            }
            wrong
        }),
    }
}

/// A log of several sealed segments with transactions, closed in order.
struct Closed {
    files: Vec<(String, Vec<u8>)>,
    contents: Contents,
    committed: Vec<Offset>,
}

static CLOSED: LazyLock<Closed> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let engine = world::open(&disk).expect("an empty disk");
    let log = engine.create_log(&world::name(), [7; 16], world::config()).expect("an empty disk");
    fill(&log);
    engine.tick();
    let (contents, committed) = (contents(&log), committed(&log));
    engine.close().expect("a disk without faults");
    Closed { files: world::files(&disk), contents, committed }
});

/// A few segments of batches: plain ones, and a transaction in three that is aborted or committed.
pub fn fill(log: &Log) {
    let append = |bytes: &[u8], origin| {
        let mut options = AppendOptions::default();
        options.origin = origin;
        log.append(bytes, &options).expect("a right batch").wait().expect("a disk without faults");
    };
    let (id, epoch) = (ProducerId::new(5), ProducerEpoch::new(0));
    let mut sequence = 0;
    for nth in 0_i64..30 {
        let transactional = nth % 3 == 0;
        let mut batch = BatchBuilder::new();
        if transactional {
            batch = batch.producer(id, epoch, Sequence::new(sequence)).transactional();
            sequence += 2;
        }
        for record in 0..2 {
            let value = [b'a' + u8::try_from(nth).expect("few"); 120];
            let time = world::TIME_MS + nth / 2 + record;
            batch.append(time, None, Some(&value), &[]).expect("a small record");
        }
        append(&batch.build().expect("a small batch"), Origin::Client);
        if nth % 3 == 1 {
            let kind = if nth % 2 == 0 { MarkerKind::Abort } else { MarkerKind::Commit };
            let (zero, none) = (Offset::ZERO, LeaderEpoch::NONE);
            let end = EndMarker::new(kind, 0);
            append(&marker_batch(zero, none, id, epoch, end, world::TIME_MS), Origin::Coordinator);
        }
    }
}

/// Base offsets of what read-committed readers get.
fn committed(log: &Log) -> Vec<Offset> {
    let batches = log.batches(Offset::ZERO, Isolation::ReadCommitted);
    batches.map(|stored| stored.expect("an undamaged log").batch().base_offset()).collect()
}

fn beside_a_log(kind: &str, wrong: impl Fn(&[u8]) -> Vec<u8>) {
    let mut files = CLOSED.files.clone();
    let mut index = files.iter_mut().filter(|(name, _)| name.ends_with(&format!(".{kind}")));
    // Not the first: a base offset of zero would hide mistakes.
    let (_, bytes) = index.nth(1).expect("the log has several segments");
    *bytes = wrong(bytes);
    let disk = world::disk(&files);
    for clean in [true, false] {
        let engine = match world::open(&disk) {
            Ok(engine) => engine,
            Err(error) => panic!("an index is no reason not to open: {error:?}"),
        };
        judge(&engine, kind);
        if clean {
            engine.close().expect("a disk without faults");
            drop(engine);
            disk.io()
                .storage
                .remove_file(&std::path::Path::new(world::DATA).join(".kafka_cleanshutdown"))
                .expect("a clean close left it");
        }
    }
}

fn judge(engine: &Engine, kind: &str) {
    let log = engine.log(&world::name()).expect("an index is no reason not to open");
    assert_eq!(contents(&log), CLOSED.contents, "a walk from the start needs no index");
    // In the middle of every batch a read begins with that batch.
    for batch in &CLOSED.contents.batches {
        let (batch, _) = Batch::parse(batch).expect("it was served");
        let outcome = log.read(batch.last_offset(), &ReadOptions::default());
        let outcome = outcome.unwrap_or_else(|error| panic!("{batch}: {error:?}"));
        let slice = outcome.slices.first().unwrap_or_else(|| panic!("{batch} is not served"));
        let (served, _) = Batch::parse(slice).expect("whole batches are served");
        assert_eq!(served.base_offset(), batch.base_offset());
    }
    if kind != "txnindex" {
        assert_eq!(committed(&log), CLOSED.committed);
    }
    world::ask(&log);
}
