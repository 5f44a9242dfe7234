//! The seeds that are made: small files as the engine writes them, and a few short programs.

use crate::index_read::fill;
use crate::{directory_open, world};
use oncelog::batch::{Batch, DecodeLimits};
use oncelog::io::sim::SimDisk;

type Seeds = Vec<(String, Vec<u8>)>;

/// The files of a log in use, and of the same log closed in order.
fn files() -> [Seeds; 2] {
    let disk = SimDisk::new(1);
    let engine = world::open(&disk).unwrap();
    let log = engine.create_log(&world::name(), [7; 16], world::config()).unwrap();
    log.begin_leader_epoch(oncelog::LeaderEpoch::new(3)).unwrap();
    fill(&log);
    engine.tick();
    let in_use = world::files(&disk);
    engine.close().unwrap();
    [in_use, world::files(&disk)]
}

fn with_prefix(prefix: &[u8], bytes: &[u8]) -> Vec<u8> {
    [prefix, bytes].concat()
}

fn seed(name: &str, prefix: u8, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), with_prefix(&[prefix], bytes))
}

pub(crate) fn segments() -> Seeds {
    let [in_use, closed] = files();
    let log = |files: &Seeds, nth| {
        let mut logs = files.iter().filter(|(name, _)| name.ends_with(".log"));
        logs.nth(nth).unwrap().1.clone()
    };
    let (sealed, active) = (log(&closed, 0), log(&in_use, in_use.len().min(2)));
    let mut torn = active.clone();
    torn[300] ^= 0xff;
    vec![
        seed("empty", 0, &[]),
        seed("zeroes", 8, &[0; 200]),
        seed("sealed", 0, &sealed),
        seed("sealed-of-ours", 8, &sealed),
        seed("sealed-and-clean", 12, &sealed),
        seed("sealed-by-the-fuzzer", 3, &sealed[..2000]),
        seed("followed", 24, &sealed[..1200]),
        seed("active", 8 + 2 + 1, &active),
        seed("torn", 8, &torn),
        seed("claims-two-gib", 8, &claim(&sealed[..400], 8, i32::MAX)),
        seed("claims-records", 9, &claim(&sealed[..400], 57, i32::MAX)),
        seed("claims-offsets", 9, &claim(&sealed[..400], 23, i32::MAX)),
        seed("plausible-headers", 8, &sealed[..61].repeat(60)),
    ]
}

/// `bytes` with another number at `at`.
fn claim(bytes: &[u8], at: usize, number: i32) -> Vec<u8> {
    let mut claiming = bytes.to_vec();
    claiming[at..at + 4].copy_from_slice(&number.to_be_bytes());
    claiming
}

pub(crate) fn directories() -> Seeds {
    let [in_use, closed] = files();
    let of = |files: &Seeds, keep: fn(&str) -> bool| {
        let kept = files.iter().filter(|(name, _)| keep(name)).cloned();
        directory_open::pack(1, &kept.collect::<Seeds>())
    };
    vec![
        ("in-use".to_owned(), of(&in_use, |_| true)),
        ("closed".to_owned(), of(&closed, |_| true)),
        ("of-kafka".to_owned(), of(&closed, |name| !name.ends_with(".state"))),
        ("logs-alone".to_owned(), of(&closed, |name| name.ends_with(".log"))),
    ]
}

pub(crate) fn indexes() -> Seeds {
    let [_, closed] = files();
    let mut seeds = Vec::new();
    for (nth, kind) in (0_u8..).zip(["index", "timeindex", "txnindex"]) {
        let mut files = closed.iter().filter(|(name, _)| name.ends_with(&format!(".{kind}")));
        let bytes = &files.nth(1).unwrap().1;
        seeds.push(seed(&format!("{kind}-alone"), nth, bytes));
        seeds.push(seed(&format!("{kind}-beside-a-log"), 3 + nth, bytes));
        seeds.push(seed(&format!("{kind}-unchanged"), 6 + nth, &[]));
        seeds.push(seed(&format!("{kind}-one-bit"), 6 + nth, &[0, 0, 0, 1]));
    }
    seeds
}

/// The records of a transaction log: decisions, one with a position, and whatever a clean close adds.
fn transaction_records() -> Seeds {
    let disk = SimDisk::new(1);
    let engine = world::open(&disk).unwrap();
    let log = engine.create_log(&world::name(), [7; 16], world::config()).unwrap();
    let name = oncelog::LogName::new("u", 0).unwrap();
    let other = engine.create_log(&name, [8; 16], world::config()).unwrap();
    for position in 0..3 {
        let mut transaction = engine.begin().unwrap();
        for log in [&log, &other] {
            let mut batch = oncelog::batch::BatchBuilder::new();
            batch.append(world::TIME_MS, None, Some(b"value"), &[]).unwrap();
            transaction.append(log, batch).unwrap();
        }
        transaction.store_position("group", &log, oncelog::Offset::new(position)).unwrap();
        transaction.commit().unwrap().wait().unwrap();
    }
    engine.close().unwrap();
    let files = world::files(&disk);
    let is_log = |name: &str| name.starts_with("__oncelog") && name.ends_with(".log");
    let (_, bytes) = files.iter().find(|(name, _)| is_log(name)).unwrap();
    let (mut rest, mut seeds) = (bytes.as_slice(), Seeds::new());
    while let Ok((batch, after)) = Batch::parse(rest) {
        for record in &batch.records(&DecodeLimits::default()).unwrap() {
            let value = record.unwrap().value().unwrap_or_default().to_vec();
            seeds.push(seed(&format!("transaction-record-{}", seeds.len()), 6, &value));
        }
        rest = after;
    }
    assert!(!seeds.is_empty());
    seeds
}

pub(crate) fn producers() -> Seeds {
    let [_, closed] = files();
    let newest = |kind: &str| {
        let mut files = closed.iter().rev();
        files.find(|(name, _)| name.ends_with(kind)).unwrap().1.clone()
    };
    let text = |name: &str| {
        let mut files = closed.iter();
        files.find(|(file, _)| file.ends_with(name)).unwrap().1.clone()
    };
    let mut seeds = vec![
        seed("snapshot", 0, &newest(".snapshot")),
        seed("snapshot-resealed", 1, &newest(".snapshot")),
        seed("state", 2, &newest(".state")),
        seed("state-resealed", 3, &newest(".state")),
        // Counts of entries that are not there: a snapshot's, and the two of a state.
        seed("snapshot-claims", 1, &claim(&newest(".snapshot"), 6, i32::MAX)),
        seed("state-claims-transactions", 3, &claim(&newest(".state"), 24, -1)),
        seed("state-claims-producers", 3, &claim(&newest(".state"), 28, -1)),
        seed("checkpoint-claims", 4, b"0\n9223372036854775807\nt 0 1\n"),
        seed("checkpoint", 4, &text("recovery-point-offset-checkpoint")),
        seed("epochs", 4, &text("leader-epoch-checkpoint")),
        seed("partition", 4, &text("partition.metadata")),
        seed(
            "properties",
            4,
            b"#\nversion=1\nnode.id=1\ncluster.id=abc\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
        ),
        // A decision that claims more logs than memory could hold.
        seed("transaction-record-claims", 6, &[vec![1, 0], vec![0; 16], vec![255; 8]].concat()),
    ];
    seeds.extend(transaction_records());
    seeds
}

/// Programs of every operation, in an order that a small generator chose.
pub(crate) fn operations() -> Seeds {
    let program = |seed: u32, len: usize| {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| byte()).collect::<Vec<u8>>()
    };
    let mut seeds: Seeds = (1..=12_u32)
        .map(|nth| (format!("generated-{nth:02}"), program(nth, 64 * nth as usize)))
        .collect();
    // Append, mark, read, close, cut inside the next append.
    let by_hand = [0, 0x63, 9, 1, 9, 0, 1, 16, 4, 22, 0, 0, 26, 2, 0, 0x21, 5, 0, 1];
    seeds.push(("by-hand".to_owned(), by_hand.to_vec()));
    seeds
}
