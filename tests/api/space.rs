//! Full disks: who is refused, when, and how service resumes.

use crate::common::{End, ID, append, name, plain, values};
use crate::hooked::Hooked;
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, Isolation, Log, LogConfig, LogName,
};
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

fn options(directories: &[&str], reserve_bytes: u64) -> EngineOptions {
    let mut options = EngineOptions::new(directories[0]);
    options.directories = directories.iter().map(PathBuf::from).collect();
    options.background = false;
    options.reserve_bytes = reserve_bytes;
    options
}

/// A batch of about `kib` KiB.
fn large(kib: usize) -> Vec<u8> {
    plain(&["x".repeat(kib << 10).as_str()])
}

fn is_refused(log: &Log, batch: &[u8]) -> bool {
    match log.append(batch, &AppendOptions::default()) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(*error.kind(), ErrorKind::DiskFull, "{error:?}");
            true
        }
    }
}

#[test]
fn a_writer_that_never_waits_stops_before_the_reserve() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(12 * MIB));
    let engine = Engine::open_with(options(&["/data"], 4 * MIB), disk.io()).unwrap();
    let log = engine.create_log(&name(), ID, LogConfig::default()).unwrap();
    let mut tickets = Vec::new();
    let batch = large(64);
    let refused = loop {
        // All of it is staged and none of it written: the file system reports nothing of it.
        match log.append(&batch, &AppendOptions::default()) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert_eq!(*refused.kind(), ErrorKind::DiskFull);
    for word in ["/data", "4194304 (reserve_bytes)"] {
        assert!(refused.to_string().contains(word), "{refused} does not say {word}");
    }
    assert!(tickets.len() > 100, "{} were let in", tickets.len());
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let free = disk.io().storage.free_space(Path::new("/data")).unwrap();
    assert!(free >= 4 * MIB - (64 << 10), "{free} bytes are left of the reserve");
    // A marker may use the reserve: it ends what others began.
    End::commit(1, 0).append(&log).unwrap();
    engine.close().unwrap();
}

#[test]
fn service_resumes_with_the_first_append_after_space_returned() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(6 * MIB));
    let engine = Engine::open_with(options(&["/data"], 4 * MIB), disk.io()).unwrap();
    let log = engine.create_log(&name(), ID, LogConfig::default()).unwrap();
    while !is_refused(&log, &large(64)) {}
    assert!(is_refused(&log, &large(64)));
    disk.set_capacity(Some(60 * MIB));
    append(&log, &large(64)).unwrap();
}

#[test]
fn only_logs_in_the_full_directory_refuse() {
    let disk = SimDisk::new(1);
    let (hooked, io) = Hooked::over(&disk);
    let engine = Engine::open_with(options(&["/a", "/b"], MIB), io).unwrap();
    let in_a = engine.create_log(&LogName::new("t", 0).unwrap(), ID, LogConfig::default()).unwrap();
    let in_b = engine.create_log(&LogName::new("t", 1).unwrap(), ID, LogConfig::default()).unwrap();
    hooked.claim_free("/b", 0);
    engine.tick();
    assert!(is_refused(&in_b, &plain(&["x"])));
    append(&in_a, &plain(&["x"])).unwrap();
    hooked.claim_free("/b", 2 * MIB);
    append(&in_b, &plain(&["x"])).unwrap();
}

#[test]
fn a_write_that_finds_no_space_poisons_its_log_and_says_why() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(MIB));
    let (hooked, io) = Hooked::over(&disk);
    hooked.claim_free("/data", 1 << 40);
    let engine = Engine::open_with(options(&["/data"], 0), io).unwrap();
    let log = engine.create_log(&name(), ID, LogConfig::default()).unwrap();
    append(&log, &plain(&["kept"])).unwrap();
    let error = (0..).find_map(|_| append(&log, &large(512)).err()).unwrap();
    assert_eq!(*error.kind(), ErrorKind::Poisoned);
    let source = error.source().and_then(|s| s.downcast_ref::<io::Error>()).unwrap();
    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{error:?}");
    // The budget of staged bytes is not the dead log's for ever, and what was acknowledged is there.
    drop((log, engine));
    let disk = disk.kill();
    disk.set_capacity(None);
    let engine = Engine::open_with(options(&["/data"], 0), disk.io()).unwrap();
    let kept = values(&engine.log(&name()).unwrap(), 0, Isolation::ReadUncommitted);
    assert_eq!(kept[0], (0, "kept".to_owned()));
}

#[test]
fn a_failed_log_gives_its_staged_bytes_back_to_the_others() {
    let disk = SimDisk::new(1);
    let mut options = options(&["/data"], 0);
    options.staged_bytes_max = MIB;
    let engine = Engine::open_with(options, disk.io()).unwrap();
    let doomed = engine.create_log(&LogName::new("t", 0).unwrap(), ID, LogConfig::default());
    let other = engine.create_log(&LogName::new("t", 1).unwrap(), ID, LogConfig::default());
    let (doomed, other) = (doomed.unwrap(), other.unwrap());
    let staged = doomed.append(&large(900), &AppendOptions::default()).unwrap();
    engine.delete_log(&LogName::new("t", 0).unwrap()).unwrap();
    assert_eq!(*staged.wait().unwrap_err().kind(), ErrorKind::Closed);
    append(&other, &plain(&["x"])).unwrap();
    append(&other, &large(900)).unwrap();
}

#[test]
fn a_checkpoint_that_finds_no_space_is_written_when_there_is_some() {
    let disk = SimDisk::new(1);
    let (hooked, io) = Hooked::over(&disk);
    let mut options = options(&["/data"], 0);
    options.checkpoint_bytes = 100 << 10;
    let engine = Engine::open_with(options, io).unwrap();
    let log = engine.create_log(&name(), ID, LogConfig::default()).unwrap();
    append(&log, &large(200)).unwrap();
    // Full to the last byte: the data is durable, its checkpoint finds no place.
    hooked.claim_free("/data", 1 << 40);
    let used = (1 << 40) - disk.io().storage.free_space(Path::new("/data")).unwrap();
    disk.set_capacity(Some(used));
    engine.tick();
    let states = |disk: &SimDisk| {
        let files = disk.io().storage.list_dir(Path::new("/data/t-0")).unwrap();
        files.into_iter().filter(|f| f.name.ends_with(".state")).count()
    };
    assert_eq!(states(&disk), 1, "the one of the creation");
    disk.set_capacity(None);
    append(&log, &plain(&["alive"])).unwrap();
    engine.tick();
    assert_eq!(states(&disk), 2);
}
