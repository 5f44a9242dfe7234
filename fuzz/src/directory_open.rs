//! A data directory of foreign files: opening it ends in logs that can be read, or in a typed error.
//!
//! ```text
//! flags: 1 byte | file …     file: name: 1 byte | length: uint16 | bytes
//! ```
//!
//! Names come from a list, so that the fuzzer plays with what the files say and with which of them
//! are there. Opening again finds the same, and what is none of the engine's stays as it is.

use super::seal;
use super::world::{self, Contents, contents};
use oncelog::io::sim::SimDisk;
use oncelog::{Engine, LogName};
use std::sync::Arc;

/// Make checksums right.
const SEAL: u8 = 1;

/// Files that the engine neither reads nor writes.
const FOREIGN: [&str; 2] = ["notes.txt", "t-0/00000000000000000000.log.orig"];

/// What a data directory may hold; the number in front of a file is its place in this list.
const NAMES: [&str; 36] = [
    ".kafka_cleanshutdown",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "meta.properties",
    "log-start-offset-checkpoint.tmp",
    FOREIGN[0],
    FOREIGN[1],
    "t-0/partition.metadata",
    "t-0/leader-epoch-checkpoint",
    "t-0/00000000000000000000.log",
    "t-0/00000000000000000000.index",
    "t-0/00000000000000000000.timeindex",
    "t-0/00000000000000000000.txnindex",
    "t-0/00000000000000000000.snapshot",
    "t-0/00000000000000000000.state",
    "t-0/00000000000000000026.log",
    "t-0/00000000000000000026.index",
    "t-0/00000000000000000026.timeindex",
    "t-0/00000000000000000026.txnindex",
    "t-0/00000000000000000026.snapshot",
    "t-0/00000000000000000026.state",
    "t-0/00000000000000000053.log",
    "t-0/00000000000000000053.index",
    "t-0/00000000000000000053.timeindex",
    "t-0/00000000000000000053.txnindex",
    "t-0/00000000000000000053.snapshot",
    "t-0/00000000000000000053.state",
    "t-0/00000000000000000070.snapshot",
    "t-0/00000000000000000070.state",
    "t-0/00000000000000000026.log.deleted",
    "t-0/00000000000000000026.index.tmp",
    "t-0/00000000000000000026.log.swap",
    "u-0/00000000000000000000.log",
    "u-0.000102030405060708090a0b0c0d0e0f-delete/00000000000000000000.log",
];

pub fn check(input: &[u8]) {
    let Some((&flags, mut rest)) = input.split_first() else { return };
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some((name, bytes, after)) = unpack(rest) {
        files.retain(|(other, _)| other != name);
        files.push((name.to_owned(), bytes.to_vec()));
        rest = after;
    }
    if flags & SEAL != 0 {
        files.iter_mut().for_each(|(name, bytes)| seal(name, bytes));
    }
    let disk = world::disk(&files);
    let Some(first) = open_and_read(&disk) else { return };
    let disk = disk.kill();
    let second = open_and_read(&disk).expect("what was opened and killed opens again");
    if files.iter().any(|(name, bytes)| name.ends_with(".log") && world::overlaps(bytes)) {
        return;
    }
    assert_eq!(first, second, "after a kill");

    let disk = disk.kill();
    let engine = world::open(&disk).expect("it was opened before");
    for (name, _) in &second {
        drop(engine.log(name).expect("it was loaded before"));
    }
    // Sealing, checkpoints and retention over what was found.
    engine.tick();
    let ticked = read(&engine).expect("it was loaded before");
    engine.close().expect("a disk without faults");
    assert_eq!(open_and_read(&disk), Some(ticked), "after a clean close");
    for name in FOREIGN {
        let kept = files.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.clone());
        let found = world::files(&disk).into_iter().find(|(other, _)| other == name);
        assert_eq!(found.map(|(_, bytes)| bytes), kept, "{name} is none of the engine's");
    }
}

fn open_and_read(disk: &Arc<SimDisk>) -> Option<Vec<(LogName, Contents)>> {
    read(&world::open(disk).ok()?)
}

fn read(engine: &Engine) -> Option<Vec<(LogName, Contents)>> {
    let mut logs = Vec::new();
    for (name, _) in engine.logs().ok()? {
        let log = engine.log(&name).ok()?;
        logs.push((name, contents(&log)));
        world::ask(&log);
    }
    Some(logs)
}

fn seal(name: &str, bytes: &mut [u8]) {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("log") => seal::data_file(bytes, false),
        Some("snapshot") => seal::snapshot(bytes),
        Some("state") => seal::state(bytes),
        _ => {}
    }
}

/// The next file of the input.
fn unpack(input: &[u8]) -> Option<(&'static str, &[u8], &[u8])> {
    let (&[number, high, low], rest) = input.split_first_chunk()?;
    let name = NAMES[usize::from(number) % NAMES.len()];
    let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (bytes, rest) = rest.split_at(len);
    Some((name, bytes, rest))
}

/// The input that stands for these files; those that are not in the list are left out.
pub fn pack(flags: u8, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut input = vec![flags];
    for (name, bytes) in files {
        let Some(number) = NAMES.iter().position(|known| known == name) else { continue };
        let len = u16::try_from(bytes.len()).expect("seeds are small");
        input.push(u8::try_from(number).expect("a short list"));
        input.extend(len.to_be_bytes());
        input.extend(bytes);
    }
    input
}
