//! Files on their way in or out of a log's directory.

use crate::common::{ID, append, name, plain, values};
use oncelog::io::OpenMode;
use oncelog::io::sim::SimDisk;
use oncelog::{Engine, EngineOptions, ErrorKind, Isolation, Log, LogConfig, Offset, ReadOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const ALL: Isolation = Isolation::ReadUncommitted;
const DIR: &str = "/data/t-0";

fn open(disk: &SimDisk) -> Engine {
    let mut options = EngineOptions::new("/data");
    options.background = false;
    Engine::open_with(options, disk.io()).unwrap()
}

fn create(engine: &Engine) -> Log {
    let mut config = LogConfig::default();
    config.file_delete_delay_ms = 60_000;
    engine.create_log(&name(), ID, config).unwrap()
}

/// Three sealed segments of two records, and an active one.
fn fill(engine: &Engine, log: &Log) {
    for n in 0..3 {
        append(log, &plain(&[format!("{n}").as_str(), "b"])).unwrap();
        log.roll();
    }
    append(log, &plain(&["last"])).unwrap();
    engine.tick();
    assert_eq!(log.segments().len(), 4);
}

fn names(disk: &SimDisk, suffix: &str) -> Vec<String> {
    let entries = disk.io().storage.list_dir(Path::new(DIR)).unwrap();
    let named = entries.into_iter().map(|entry| entry.name);
    named.filter(|name| name.ends_with(suffix)).collect()
}

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let path = PathBuf::from(DIR).join(name);
    let file = disk.io().storage.open(&path, OpenMode::Truncate, false).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.visible(&PathBuf::from(DIR).join(name)).unwrap()
}

// D-6, R-27.
#[test]
fn files_of_removed_segments_go_after_their_delay_and_what_readers_hold_stays() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    fill(&engine, &log);
    let held = log.read(Offset::ZERO, &ReadOptions::default()).unwrap();
    let before = held.slices[0].to_vec();
    log.trim_before(Offset::new(4)).unwrap();
    engine.tick();
    assert_eq!(log.segments().len(), 2);
    assert_eq!(names(&disk, ".log.deleted").len(), 2);
    disk.clock().advance(Duration::from_secs(59));
    engine.tick();
    assert_eq!(names(&disk, ".log.deleted").len(), 2);
    disk.clock().advance(Duration::from_secs(1));
    engine.tick();
    assert_eq!(names(&disk, ".deleted"), Vec::<String>::new());
    assert_eq!(held.slices[0].to_vec(), before);
    assert_eq!(values(&log, 4, ALL).len(), 3);
}

#[test]
fn a_full_disk_cuts_the_delay_short_and_a_load_ends_it() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    fill(&engine, &log);
    log.trim_before(Offset::new(2)).unwrap();
    engine.tick();
    assert_eq!(names(&disk, ".log.deleted").len(), 1);
    disk.set_capacity(Some(0));
    engine.tick();
    assert_eq!(names(&disk, ".deleted"), Vec::<String>::new());
    disk.set_capacity(None);
    log.trim_before(Offset::new(4)).unwrap();
    engine.tick();
    assert_eq!(names(&disk, ".log.deleted").len(), 1);
    engine.close().unwrap();
    let log = open(&disk).log(&name()).unwrap();
    assert_eq!(names(&disk, ".deleted"), Vec::<String>::new());
    assert_eq!(values(&log, 4, ALL).len(), 3);
}

/// A closed log, and the names of its first segment's data and index.
fn closed() -> (Arc<SimDisk>, [String; 2]) {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    fill(&engine, &create(&engine));
    engine.close().unwrap();
    (disk, [".log", ".index"].map(|extension| format!("{:020}{extension}", 0)))
}

// the replaced files may be there still, or be gone.
#[test]
fn a_finished_replacement_takes_the_place_of_what_it_replaces() {
    for gone in [false, true] {
        let (disk, [data, index]) = closed();
        // What compaction would leave of the first two segments: the second batch alone.
        let replacement = bytes(&disk, &format!("{:020}.log", 2));
        write(&disk, &format!("{data}.swap"), &replacement);
        write(&disk, &format!("{index}.swap"), b"");
        if gone {
            disk.io().storage.remove_file(&Path::new(DIR).join(&data)).unwrap();
        }
        let log = open(&disk).log(&name()).unwrap();
        let offsets: Vec<i64> = values(&log, 0, ALL).iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [2, 3, 4, 5, 6], "gone: {gone}");
        assert_eq!(log.segments().iter().map(|s| s.0.get()).collect::<Vec<_>>(), [0, 4, 6]);
        assert_eq!(names(&disk, ".swap"), Vec::<String>::new());
        assert_eq!(bytes(&disk, &data), replacement);
    }
}

//
#[test]
fn an_unfinished_compaction_or_split_is_undone() {
    let (disk, [data, index]) = closed();
    let before = bytes(&disk, &data);
    write(&disk, &format!("{:020}.log.cleaned", 0), b"half");
    write(&disk, &format!("{:020}.log.swap", 2), &before);
    let log = open(&disk).log(&name()).unwrap();
    assert_eq!(values(&log, 0, ALL).len(), 7);
    assert_eq!(names(&disk, ".cleaned").len() + names(&disk, ".swap").len(), 0);
    assert_eq!(bytes(&disk, &data), before);
    assert!(names(&disk, ".index").contains(&index));
}

#[test]
fn a_damaged_replacement_replaces_nothing() {
    let (disk, [data, _]) = closed();
    let mut damaged = bytes(&disk, &data);
    let before = damaged.clone();
    *damaged.last_mut().unwrap() ^= 1;
    write(&disk, &format!("{data}.swap"), &damaged);
    let error = open(&disk).log(&name()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains(".log.swap"), "{error}");
    assert_eq!((bytes(&disk, &data), names(&disk, ".log").len()), (before, 4));
}

//
#[test]
fn an_index_without_its_data_goes() {
    let (disk, _) = closed();
    write(&disk, &format!("{:020}.index", 77), &[0; 8]);
    let log = open(&disk).log(&name()).unwrap();
    assert_eq!(values(&log, 0, ALL).len(), 7);
    assert!(!names(&disk, ".index").contains(&format!("{:020}.index", 77)));
}
