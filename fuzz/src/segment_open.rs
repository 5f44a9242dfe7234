//! One data file of foreign bytes: opening it ends in a log that can be read and appended to, or in
//! a typed error.
//!
//! ```text
//! flags: 1 byte | the file
//! ```
//!
//! What is served must be the file's own batches, and whatever a plain walk from its start finds
//! right must be among them. Opening again, after a kill or a clean close, finds the same.

use super::seal;
use super::world::{self, Contents, contents};
use oncelog::batch::Batch;
use oncelog::io::sim::SimDisk;
use oncelog::{ErrorKind, Offset};
use std::sync::{Arc, LazyLock};

/// Make the checksums right.
const SEAL: u8 = 1;
/// Give the batches rising offsets, too.
const RENUMBER: u8 = 2;
/// The directory was closed in order.
const CLEAN: u8 = 4;
/// The log has a state file, so trailers and gaps are believed.
const OURS: u8 = 8;
/// A second segment follows, whose base offset says where the first one must end.
const FOLLOWED: u8 = 16;

/// The files of a log that was just created and never written to.
static FRESH: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let engine = world::open(&disk).expect("an empty disk");
    engine.create_log(&world::name(), [7; 16], world::config()).expect("an empty disk");
    world::files(&disk.kill())
});

pub fn check(input: &[u8]) {
    let Some((&flags, file)) = input.split_first() else { return };
    let mut file = file.to_vec();
    if flags & SEAL != 0 {
        seal::data_file(&mut file, flags & RENUMBER != 0);
    }
    let disk = arrange(flags, &file);
    let Some((disk, first)) = open_and_read(disk, flags, &file, true) else { return };
    let Some((disk, second)) = open_and_read(disk, flags, &file, false) else {
        panic!("a log that was opened and killed does not open again");
    };
    if world::overlaps(&file) {
        return;
    }
    assert_eq!(first, second, "after a kill");

    let engine = world::open(&disk).expect("it was opened before");
    let log = engine.log(&world::name()).expect("it was loaded before");
    let appended = world::append(&log);
    let third = contents(&log);
    engine.close().expect("a disk without faults");
    let engine = world::open(&disk).expect("it was closed in order");
    let log = engine.log(&world::name()).expect("it was loaded before");
    assert_eq!(contents(&log), third, "after a clean close");
    let grown = usize::from(
        appended && third.end == third.batches.last().map_or(Offset::ZERO, |last| end(last)),
    );
    assert!(third.batches.len() >= second.batches.len() + grown, "an append is read back");
}

fn end(batch: &[u8]) -> Offset {
    Batch::parse(batch).map_or(Offset::ZERO, |(batch, _)| batch.next_offset())
}

fn arrange(flags: u8, file: &[u8]) -> Arc<SimDisk> {
    let mut files = FRESH.clone();
    files.retain(|(name, _)| flags & OURS != 0 || !name.ends_with(".state"));
    let log = "t-0/00000000000000000000.log";
    files.retain(|(name, _)| name != log);
    files.push((log.to_owned(), file.to_vec()));
    if flags & CLEAN != 0 {
        files.push((".kafka_cleanshutdown".to_owned(), Vec::new()));
    }
    if flags & FOLLOWED != 0 {
        files.push(("t-0/00000000000000000006.log".to_owned(), Vec::new()));
    }
    world::disk(&files)
}

fn open_and_read(
    disk: Arc<SimDisk>,
    flags: u8,
    file: &[u8],
    fresh: bool,
) -> Option<(Arc<SimDisk>, Contents)> {
    let opened = world::open(&disk).and_then(|engine| Ok((engine.log(&world::name())?, engine)));
    let (log, engine) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // A control batch that is right by its checksum and cannot be read.
            let unreadable =
                matches!(error.kind(), ErrorKind::InvalidBatch | ErrorKind::UnsupportedCompression);
            assert!(unreadable, "{error:?}");
            return None;
        }
    };
    let found = contents(&log);
    for batch in &found.batches {
        assert!(is_in(batch, file), "what is served is in the file");
    }
    if fresh && flags & (CLEAN | FOLLOWED) == 0 {
        for (read, right) in found.batches.iter().zip(prefix(file)) {
            assert_eq!(read, right, "what is right is served");
        }
        assert!(found.batches.len() >= prefix(file).len(), "what is right is served");
    }
    world::ask(&log);
    drop((log, engine));
    Some((disk.kill(), found))
}

fn is_in(batch: &[u8], file: &[u8]) -> bool {
    file.windows(batch.len()).any(|window| window == batch)
}

/// The batches that a plain walk from the file's start finds right. A gap ends it: the checksum does not
/// cover the base offset, so recovery wants a witness for one.
fn prefix(file: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut expected, mut batches) = (file, Offset::ZERO, Vec::new());
    while let Ok((batch, after)) = Batch::parse(rest) {
        let follows = batch.base_offset() == expected && batch.last_offset() >= batch.base_offset();
        if !batch.is_crc_valid() || !follows {
            break;
        }
        batches.push(batch.as_bytes());
        expected = batch.next_offset();
        rest = after;
    }
    batches
}
