//! Kafka's text checkpoints of a data directory, between clean closes (D-46, D-47).

use crate::common::{append, create, name, plain, values};
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::{Engine, EngineOptions, Isolation, Offset};
use std::path::Path;

fn open(disk: &SimDisk) -> Engine {
    let mut options = EngineOptions::new("/data");
    options.background = false;
    options.checkpoint_bytes = 1000;
    Engine::open_with(options, disk.io()).unwrap()
}

fn text(disk: &SimDisk, file: &str) -> String {
    let path = Path::new("/data").join(file);
    String::from_utf8(disk.visible(&path).unwrap()).unwrap()
}

#[test]
fn a_tick_stores_where_every_log_stands() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    append(&log, &plain(&["x".repeat(2000).as_str()])).unwrap();
    engine.tick();
    append(&log, &plain(&["small"])).unwrap();
    log.trim_before(Offset::new(1)).unwrap();
    engine.tick();
    // The second append is durable; its index entries are not, so the recovery point is before it.
    assert_eq!(text(&disk, "recovery-point-offset-checkpoint"), "0\n1\nt 0 1\n");
    assert_eq!(text(&disk, "replication-offset-checkpoint"), "0\n1\nt 0 2\n");
    assert_eq!(text(&disk, "log-start-offset-checkpoint"), "0\n1\nt 0 1\n");
    let operations = disk.operations();
    engine.tick();
    assert_eq!(disk.operations(), operations, "nothing changed, nothing is written");
    // They are for others: recovery finds the same with them or without.
    let disk = disk.crash(&Crash::LoseAll);
    for file in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        disk.overwrite(&Path::new("/data").join(file), b"garbage".to_vec()).unwrap();
    }
    let log = open(&disk).log(&name()).unwrap();
    assert_eq!(values(&log, 1, Isolation::ReadUncommitted), [(1, "small".to_owned())]);
}

#[test]
fn a_tick_after_the_close_touches_nothing() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    append(&create(&engine), &plain(&["a"])).unwrap();
    engine.close().unwrap();
    let operations = disk.operations();
    engine.tick();
    assert_eq!(disk.operations(), operations);
}
