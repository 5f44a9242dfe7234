//! A scripted log, and every byte of every file it leaves.
//!
//! The expected bytes were put together from the format's rules by a program of a few lines that
//! shares nothing with this crate; batches, marker, snapshot and transaction index contain the test
//! vectors that are published for Kafka's formats.

use oncelog::batch::{BatchBuilder, EndMarker, Header, MarkerKind, marker_batch};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Backend, Engine, EngineOptions, LeaderEpoch, Log, LogConfig, LogName, Offset,
    Origin, ProducerEpoch, ProducerId, Sequence,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const T: i64 = 1_700_000_000_000;

/// Every file, by name; hex digits with blanks, or `text:` and the text itself.
const FILES: &[(&str, &str)] = &[
    // D-51.
    (".kafka_cleanshutdown", r#"text:{"version":0,"brokerEpoch":-1}"#),
    (".lock", ""),
    // D-45, D-46.
    ("log-start-offset-checkpoint", "text:0\n0\n"),
    ("recovery-point-offset-checkpoint", "text:0\n1\nt 0 9\n"),
    ("replication-offset-checkpoint", "text:0\n1\nt 0 9\n"),
    // D-49: epoch and where it begins.
    ("t-0/leader-epoch-checkpoint", "text:0\n2\n0 0\n3 3\n"),
    // D-50.
    ("t-0/partition.metadata", "text:version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_w"),
    (
        "t-0/00000000000000000000.log",
        // D-8, D-18: two records of a transaction (test vector).
        "0000000000000000 00000045 00000000 02 281534f2 0010 00000001 0000018bcfe56800
         0000018bcfe56805 00000000000003e8 0005 00000000 00000002
         12 00 00 00 02 6b 04 7631 00   12 00 0a 02 01 01 02 02 68 01
         # D-24: its abort marker.
         0000000000000002 00000042 00000000 02 4030502b 0030 00000000 0000018bcfe56800
         0000018bcfe56800 00000000000003e8 0005 ffffffff 00000001
         20 00 00 00 08 0000 0000 0c 0000 00000009 00",
    ),
    // D-26, D-27: the second batch, which ends at 2 and begins behind 81 bytes.
    ("t-0/00000000000000000000.index", "00000002 00000051"),
    // D-33, D-34: the greatest time is that of the first batch, which ends at 1.
    ("t-0/00000000000000000000.timeindex", "0000018bcfe56805 00000001"),
    // D-38, D-39: producer, first, marker, last stable offset behind it.
    (
        "t-0/00000000000000000000.txnindex",
        "0000 00000000000003e8 0000000000000000 0000000000000002 0000000000000003",
    ),
    (
        "t-0/00000000000000000003.log",
        "0000000000000003 00000055 00000003 02 7abb6d6c 0010 00000003 0000018bcfe5680a
         0000018bcfe5680d 00000000000003e8 0005 00000002 00000004
         10 00 00 00 01 04 7730 00   10 00 02 02 01 04 7731 00
         10 00 04 04 01 04 7732 00   10 00 06 06 01 04 7733 00
         # The commit marker (test vector).
         0000000000000007 00000042 00000003 02 b40e8663 0030 00000000 0000018bcfe56800
         0000018bcfe56800 00000000000003e8 0005 ffffffff 00000001
         20 00 00 00 08 00000001 0c 000000000009 00
         # One record of a transaction that stays open.
         0000000000000008 00000039 00000003 02 0a949cfd 0010 00000000 0000018bcfe56814
         0000018bcfe56814 0000000000000007 0000 00000000 00000001
         0e 00 00 00 01 02 78 00",
    ),
    ("t-0/00000000000000000003.index", "00000004 00000061   00000005 000000af"),
    ("t-0/00000000000000000003.timeindex", "0000018bcfe5680d 00000003   0000018bcfe56814 00000005"),
    ("t-0/00000000000000000003.txnindex", ""),
    // D-43.
    (
        "t-0/00000000000000000009.snapshot",
        "0001 6d822798 00000002
         00000000000003e8 0005 00000005 0000000000000006 00000003 0000018bcfe56800 00000009
         ffffffffffffffff
         0000000000000007 0000 00000000 0000000000000008 00000000 0000018bcfe56814 ffffffff
         0000000000000008",
    ),
    // What Kafka's snapshot cannot hold; as of the log's creation, of the roll, and of its close.
    (
        "t-0/00000000000000000000.state",
        "6f6e63656c6f6750 0002 0000 8c1f3fbf
         # Seven days, any size.
         00000000240c8400 ffffffffffffffff d2f8cac8
         0000000000000000 00000000
         # The empty transaction index.
         00000001 0000000000000000 00000000 00000000
         00000000 e70cb355",
    ),
    (
        "t-0/00000000000000000003.state",
        "6f6e63656c6f6750 0002 0000 8c1f3fbf
         00000000240c8400 ffffffffffffffff d2f8cac8
         0000000000000003 00000000
         # The transaction index of the segment that was rolled.
         00000001 0000000000000000 00000001 00c4c223
         00000001
         00000000000003e8 0005 00000009 0000018bcfe56800 0000018bcfe56be8 0000000000000002
         ffffffffffffffff ffffffffffffffff 01
         00000001 0000000000000001 00000001 0000018bcfe56805
         4ec80f4c",
    ),
    (
        "t-0/00000000000000000009.state",
        "6f6e63656c6f6750 0002 0000 8c1f3fbf
         00000000240c8400 ffffffffffffffff d2f8cac8
         0000000000000009 00000000
         # The transaction indexes of both segments.
         00000002 0000000000000000 00000001 00c4c223 0000000000000003 00000000 00000000
         00000002
         00000000000003e8 0005 00000009 0000018bcfe56800 0000018bcfe56be8 0000000000000007
         ffffffffffffffff ffffffffffffffff 02
         00000001 0000000000000001 00000001 0000018bcfe56805
         00000005 0000000000000006 00000003 0000018bcfe5680d
         0000000000000007 0000 ffffffff 0000018bcfe56814 0000018bcfe56be8 0000000000000008
         0000000000000008 0000018bcfe56be8 01
         00000000 0000000000000008 00000000 0000018bcfe56814
         7c3cfa6f",
    ),
];

fn expected(text: &str) -> Vec<u8> {
    if let Some(text) = text.strip_prefix("text:") {
        return text.into();
    }
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let digits: Vec<char> = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn engine(path: &Path) -> Engine {
    let clock = SimDisk::new(1);
    clock.clock().set_wall_ms(T + 1000);
    let mut io = clock.io();
    io.storage = oncelog::io::open_storage(Backend::Std, path).unwrap();
    let mut options = EngineOptions::new(path);
    options.background = false;
    Engine::open_with(options, io).unwrap()
}

fn append(log: &Log, batch: &[u8], origin: Origin) {
    let mut options = AppendOptions::default();
    options.origin = origin;
    log.append(batch, &options).unwrap().wait().unwrap();
}

fn draft(pid: i64, epoch: i16, sequence: i32) -> BatchBuilder {
    let (pid, epoch) = (ProducerId::new(pid), ProducerEpoch::new(epoch));
    BatchBuilder::new().producer(pid, epoch, Sequence::new(sequence)).transactional()
}

fn end(log: &Log, kind: MarkerKind) {
    let (pid, epoch) = (ProducerId::new(1000), ProducerEpoch::new(5));
    let marker =
        marker_batch(Offset::ZERO, LeaderEpoch::NONE, pid, epoch, EndMarker::new(kind, 9), T);
    append(log, &marker, Origin::Coordinator);
}

/// The script: an aborted transaction, a roll, another leader epoch, a committed transaction, and one
/// that stays open.
fn write(log: &Log) {
    log.begin_leader_epoch(LeaderEpoch::new(0)).unwrap();
    let mut first = draft(1000, 5, 0);
    first.append(T, Some(b"k"), Some(b"v1"), &[]).unwrap();
    first.append(T + 5, None, None, &[Header::new(b"h", None)]).unwrap();
    append(log, &first.build().unwrap(), Origin::Client);
    end(log, MarkerKind::Abort);
    log.roll();
    log.begin_leader_epoch(LeaderEpoch::new(3)).unwrap();
    let mut second = draft(1000, 5, 2);
    for i in 0..4 {
        second.append(T + 10 + i, None, Some(format!("w{i}").as_bytes()), &[]).unwrap();
    }
    append(log, &second.build().unwrap(), Origin::Client);
    end(log, MarkerKind::Commit);
    let mut open = draft(7, 0, 0);
    open.append(T + 20, None, Some(b"x"), &[]).unwrap();
    append(log, &open.build().unwrap(), Origin::Client);
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for dir in ["", "t-0/"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = format!("{dir}{}", entry.file_name().to_str().unwrap());
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn assert_golden(root: &Path) {
    let mut found = files(root);
    // Its ids are random; `tests/api/identity.rs` is about them.
    let identity = found.remove("meta.properties").unwrap();
    let identity = String::from_utf8(identity).unwrap();
    assert!(identity.lines().any(|line| line == "version=1"), "D-52: {identity}");
    let expected: BTreeMap<String, Vec<u8>> =
        FILES.iter().map(|(name, text)| ((*name).to_owned(), expected(text))).collect();
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&found[name]), hex(bytes), "{name}");
    }
}

// D-8, D-18, D-24, D-26, D-33, D-38, D-43, D-45 to D-51.
#[test]
fn a_scripted_log_leaves_exactly_these_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path());
    let mut config = LogConfig::default();
    config.index_interval_bytes = 50;
    let id = std::array::from_fn(|i| 0xf0 + u8::try_from(i).unwrap());
    let log = engine.create_log(&LogName::new("t", 0).unwrap(), id, config).unwrap();
    write(&log);
    engine.close().unwrap();
    assert_golden(dir.path());
}

// What is read from those bytes is written back as the same bytes.
#[test]
fn a_directory_of_those_bytes_is_opened_and_closed_without_changing_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t-0")).unwrap();
    for (name, text) in FILES {
        fs::write(dir.path().join(name), expected(text)).unwrap();
    }
    let engine = engine(dir.path());
    let log = engine.log(&LogName::new("t", 0).unwrap()).unwrap();
    assert_eq!(engine.recovery_reports(), []);
    assert_eq!(log.offsets().last_stable_offset, Offset::new(8));
    engine.close().unwrap();
    assert_golden(dir.path());
}
