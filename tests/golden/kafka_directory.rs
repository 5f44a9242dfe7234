//! Data directories of Apache Kafka 4.3.1, opened by this engine.
//!
//! `tests/fixtures/kafka-4.3.1` holds a directory that Kafka closed in order and one that it left by a
//! kill, and beside each what Kafka answered about it (see the README there). The engine has to give
//! the same answers: records, bounds, offsets by time, producers, epochs. And it has to go on from
//! there: retries are still recognised, the open transaction can be ended.

use oncelog::batch::{DecodeLimits, EndMarker, MarkerKind, marker_batch};
use oncelog::io::Io;
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Backend, Engine, EngineOptions, ErrorKind, Isolation, LeaderEpoch, Log,
    LogConfig, LogName, Offset, Origin, ProducerEpoch, ProducerId, RecoveryReport,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LOGS: [&str; 3] = ["mixed", "trimmed", "compacted"];
const ALL: Isolation = Isolation::ReadUncommitted;
const COMMITTED: Isolation = Isolation::ReadCommitted;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1")
}

/// Kafka's answers: the words of each line after its first one, which is the key.
struct Expected {
    lines: BTreeMap<String, Vec<Vec<String>>>,
}

impl Expected {
    fn read(which: &str) -> Self {
        let text = fs::read_to_string(fixtures().join(format!("{which}.tsv"))).unwrap();
        let mut lines: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split('\t').map(str::to_owned);
            let kind = words.next().unwrap();
            lines.entry(kind).or_default().push(words.collect());
        }
        Self { lines }
    }

    /// The lines of a kind about a topic, without the topic.
    fn of(&self, kind: &str, topic: &str) -> Vec<Vec<String>> {
        let lines = self.lines[kind].iter().filter(|line| line[0] == topic);
        lines.map(|line| line[1..].to_vec()).collect()
    }

    fn offset(&self, topic: &str, isolation: &str, what: &str) -> i64 {
        let lines = self.of("offset", topic);
        let line = lines.iter().find(|l| l[0] == isolation && l[1] == what).unwrap();
        line[2].parse().unwrap()
    }
}

/// A copy of a fixture with an engine on it.
struct Opened {
    dir: tempfile::TempDir,
    engine: Engine,
    clock: std::sync::Arc<SimDisk>,
}

impl Opened {
    fn new(which: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixtures().join(which)).unwrap() {
            let entry = entry.unwrap();
            let target = dir.path().join(entry.file_name());
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), target).unwrap();
                continue;
            }
            fs::create_dir(&target).unwrap();
            for file in fs::read_dir(entry.path()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), target.join(file.file_name())).unwrap();
            }
        }
        let clock = SimDisk::new(1);
        let written_at = Expected::read(which).of("record", "mixed")[0][1].parse::<i64>().unwrap();
        clock.clock().set_wall_ms(written_at + 60_000);
        let engine = Self::open(dir.path(), &clock);
        Self { dir, engine, clock }
    }

    fn open(path: &Path, clock: &SimDisk) -> Engine {
        let mut io: Io = clock.io();
        io.storage = oncelog::io::open_storage(Backend::Std, path).unwrap();
        let mut options = EngineOptions::new(path);
        options.background = false;
        options.log.timestamp_after_max_ms = i64::MAX;
        Engine::open_with(options, io).unwrap()
    }

    fn reopen(self) -> Self {
        self.engine.close().unwrap();
        let Self { dir, engine, clock } = self;
        drop(engine);
        let engine = Self::open(dir.path(), &clock);
        Self { dir, engine, clock }
    }

    fn log(&self, topic: &str) -> Log {
        self.engine.log(&LogName::new(topic, 0).unwrap()).unwrap()
    }
}

fn word(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |b| format!("={}", std::str::from_utf8(b).unwrap()))
}

/// What a consumer gets: offset, time, key, value, headers. A batch is returned whole, so the first
/// may begin before the log does.
fn records(log: &Log, isolation: Isolation) -> Vec<Vec<String>> {
    let from = log.offsets().log_start_offset;
    let mut out = Vec::new();
    for stored in log.batches(from, isolation) {
        let stored = stored.unwrap();
        for record in stored.batch().records(&DecodeLimits::default()).unwrap().iter() {
            let record = record.unwrap();
            if record.offset() < from {
                continue;
            }
            let headers: Vec<String> = record
                .headers()
                .map(|header| format!("{}{}", header.key.escape_ascii(), word(header.value)))
                .collect();
            out.push(vec![
                record.offset().to_string(),
                record.timestamp_ms().to_string(),
                word(record.key()),
                word(record.value()),
                headers.join(","),
            ]);
        }
    }
    out
}

fn assert_same_answers(opened: &Opened, expected: &Expected) {
    for topic in LOGS {
        let log = opened.log(topic);
        let bounds = log.offsets();
        let bound = |isolation, what| expected.offset(topic, isolation, what);
        assert_eq!(bounds.log_start_offset.get(), bound("read_uncommitted", "earliest"), "{topic}");
        assert_eq!(bounds.high_watermark.get(), bound("read_uncommitted", "latest"), "{topic}");
        assert_eq!(bounds.last_stable_offset.get(), bound("read_committed", "latest"), "{topic}");
        assert_eq!(records(&log, ALL), expected.of("record", topic), "{topic}");
        let committed: Vec<String> =
            records(&log, COMMITTED).into_iter().map(|mut record| record.remove(0)).collect();
        assert_eq!(committed, expected.of("committed", topic).concat(), "{topic}");
        assert_producers(&log, &expected.of("producer", topic));
    }
}

fn assert_producers(log: &Log, expected: &[Vec<String>]) {
    let mut found: Vec<Vec<String>> = log
        .producers()
        .iter()
        .map(|p| {
            vec![
                p.producer_id.to_string(),
                p.producer_epoch.to_string(),
                p.coordinator_epoch.to_string(),
                p.last_sequence.to_string(),
                p.last_timestamp_ms.to_string(),
                p.txn_first_offset.map_or_else(|| "None".to_owned(), |offset| offset.to_string()),
            ]
        })
        .collect();
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", log.name());
}

// D-56 (c): opened after an orderly stop, nothing had to be repaired.
#[test]
fn a_directory_that_kafka_closed_gives_kafkas_answers() {
    let expected = Expected::read("clean");
    let opened = Opened::new("clean");
    assert_same_answers(&opened, &expected);
    assert_eq!(opened.engine.recovery_reports(), [], "nothing to repair");
    // And after the engine itself closed it, from its own files.
    let opened = opened.reopen();
    assert_same_answers(&opened, &expected);
    assert_eq!(opened.engine.recovery_reports(), []);
}

// D-31, D-56 (c), R-4: indexes of the active segments have their full length, in zeroes.
#[test]
fn a_directory_that_a_killed_kafka_left_gives_kafkas_answers() {
    let expected = Expected::read("killed");
    let opened = Opened::new("killed");
    assert_same_answers(&opened, &expected);
    for report in opened.engine.recovery_reports() {
        assert!(report.is_clean(), "{report:?}");
        // Built again from the batches, and the same byte for byte; but compaction keeps entries of
        // transactions whose records it took.
        let indexes = |r: &RecoveryReport| r.rebuilt.iter().any(|f| f.ends_with(".txnindex"));
        assert!(!indexes(&report) || report.log == "compacted-0", "{report:?}");
    }
    assert_same_answers(&opened.reopen(), &expected);
}

// S-49, 4.5: the answers of ListOffsets, for each isolation.
#[test]
fn offsets_by_time_are_kafkas() {
    for which in ["clean", "killed"] {
        let expected = Expected::read(which);
        let opened = Opened::new(which);
        for topic in LOGS {
            let log = opened.log(topic);
            for line in expected.of("offset", topic) {
                let isolation = if line[0] == "read_committed" { COMMITTED } else { ALL };
                let found = match line[1].as_str() {
                    "earliest" | "latest" => continue,
                    "max_timestamp" => log.offset_of_max_timestamp().unwrap(),
                    time => log.offset_for_timestamp(time.parse().unwrap(), isolation).unwrap(),
                };
                // The record of the largest time may be one that the reader must not see yet.
                let bound = match isolation {
                    Isolation::ReadCommitted => log.offsets().last_stable_offset,
                    _ => log.offsets().high_watermark,
                };
                let found = found.filter(|found| found.offset < bound);
                let words = found.map_or_else(
                    || ["-1".into(), "-1".into(), "None".into()],
                    |f| {
                        [
                            f.offset.to_string(),
                            f.timestamp_ms.to_string(),
                            f.leader_epoch.to_string(),
                        ]
                    },
                );
                assert_eq!(words[..], line[2..], "{which} {topic} {line:?}");
            }
        }
    }
}

// D-44, P-5: the last batch of every producer is a duplicate at its offsets; what does not follow it
// is refused; what does is accepted.
#[test]
fn producers_of_kafka_go_on_where_they_were() {
    for which in ["clean", "killed"] {
        let opened = Opened::new(which);
        for topic in LOGS {
            let log = opened.log(topic);
            let mut last: BTreeMap<i64, (Vec<u8>, Offset)> = BTreeMap::new();
            for stored in log.batches(log.offsets().log_start_offset, ALL) {
                let stored = stored.unwrap();
                let batch = stored.batch();
                // Compaction may have taken records out: such a batch cannot be sent again.
                if batch.record_count() == batch.last_offset_delta() + 1 {
                    let mut sent = batch.as_bytes().to_vec();
                    sent[..8].fill(0);
                    sent[12..16].fill(0xff);
                    last.insert(batch.producer_id().get(), (sent, batch.base_offset()));
                }
            }
            let end = log.offsets().log_end_offset;
            for (pid, (sent, offset)) in &last {
                let again = log.append(sent, &AppendOptions::default()).unwrap().appended();
                assert!(again.duplicate, "{which} {topic} {pid}");
                assert_eq!(again.base_offset, *offset);
            }
            assert_eq!(log.offsets().log_end_offset, end);
            assert!(!last.is_empty());
        }
    }
}

// D-49, R-19: a restart of the broker began epoch 2.
#[test]
fn leader_epochs_are_kafkas() {
    let opened = Opened::new("clean");
    let end_of = |topic: &str, epoch| {
        let found = opened.log(topic).end_offset_for_epoch(LeaderEpoch::new(epoch));
        found.map(|(epoch, offset)| (epoch.get(), offset.get()))
    };
    assert_eq!(end_of("mixed", 0), Some((0, 88)));
    assert_eq!(end_of("mixed", 1), Some((0, 88)));
    assert_eq!(end_of("mixed", 2), Some((2, 183)));
    assert_eq!(end_of("trimmed", 0), Some((0, 62)));
}

// S-26, T-9: the transaction that was open when Kafka stopped is ended by a marker.
#[test]
fn a_transaction_that_kafka_left_open_can_be_aborted() {
    let opened = Opened::new("clean");
    let log = opened.log("mixed");
    let open = log.producers().into_iter().find(|p| p.txn_first_offset.is_some()).unwrap();
    assert_eq!(log.offsets().last_stable_offset, open.txn_first_offset.unwrap());
    let marker = marker_batch(
        Offset::ZERO,
        LeaderEpoch::NONE,
        ProducerId::new(open.producer_id.get()),
        ProducerEpoch::new(open.producer_epoch.get()),
        EndMarker::new(MarkerKind::Abort, 7),
        0,
    );
    let before = records(&log, COMMITTED);
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    log.append(&marker, &options).unwrap().wait().unwrap();
    assert_eq!(log.offsets().last_stable_offset, log.offsets().log_end_offset);
    // Another producer's committed transaction lay behind it; its own records stay hidden.
    let after = records(&log, COMMITTED);
    assert_eq!(after[..before.len()], before);
    let shown: Vec<&str> = after[before.len()..].iter().map(|r| r[3].as_str()).collect();
    assert!(!shown.is_empty() && shown.iter().all(|value| value.starts_with("=txn-b1/")));
    let reopened = opened.reopen();
    assert_eq!(records(&reopened.log("mixed"), COMMITTED), after);
}

// D-50: the id of the topic is that of the directory.
#[test]
fn topic_ids_are_kafkas() {
    let opened = Opened::new("clean");
    let ids = opened.engine.logs().unwrap();
    assert_eq!(ids.len(), LOGS.len());
    for (name, id) in ids {
        let path = opened.dir.path().join(name.to_string()).join("partition.metadata");
        let before = fs::read(&path).unwrap();
        assert_ne!(id, [0; 16]);
        assert_eq!(opened.log(name.topic()).id(), id);
        assert_eq!(fs::read(&path).unwrap(), before, "and the file is left alone");
    }
}

// D-1: the controller's log in the same directory is Kafka's own.
#[test]
fn the_controllers_log_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = dir.path().join("__cluster_metadata-0");
    fs::create_dir(&metadata).unwrap();
    let file = metadata.join("00000000000000000000.log");
    fs::write(&file, b"not for us").unwrap();
    let clock = SimDisk::new(1);
    let engine = Opened::open(dir.path(), &clock);
    assert_eq!(engine.logs().unwrap(), []);
    let name = LogName::new("__cluster_metadata", 0).unwrap();
    let error = engine.create_log(&name, [1; 16], LogConfig::default()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    engine.close().unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"not for us");
    assert_eq!(fs::read_dir(&metadata).unwrap().count(), 1);
}
