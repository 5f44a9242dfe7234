//! The fuzz targets' checks over every committed seed, on a stable compiler.
//!
//! **Goal.** What a fuzzer once found stays found, and the targets keep compiling. **Method.** The
//! same functions that `fuzz/fuzz_targets` hand their bytes to, over `fuzz/seeds/<target>`. The seeds
//! come from `make`, except those called `found-…`, which a fuzzer made. A failure names the seed;
//! `cargo +nightly fuzz run <target> fuzz/seeds/<target>/<seed>` replays it.
//!
//! Memory is counted, too: whatever a file claims, opening it takes a few buffers of fixed size and a
//! few times the bytes that are there. Some seeds claim gigabytes in a few hundred bytes.
//!
//! `ONCELOG_WRITE_SEEDS=1 cargo test --test seeds` makes the others again.

#![expect(unreachable_pub, reason = "the checks are a library of the fuzz crate")]
#![expect(clippy::unwrap_used, reason = "a test that cannot read its own data has failed")]
#![expect(unsafe_code, reason = "counting allocations takes an allocator")]
#![expect(clippy::disallowed_methods, reason = "the seeds lie in the tree, not in a log")]

mod adversarial;
#[path = "../../fuzz/src/batch.rs"]
mod batch;
mod counting;
#[path = "../../fuzz/src/directory_open.rs"]
mod directory_open;
#[path = "../../fuzz/src/index_read.rs"]
mod index_read;
mod make;
#[path = "../../fuzz/src/op_sequence.rs"]
mod op_sequence;
#[path = "../../fuzz/src/producer_snapshot.rs"]
mod producer_snapshot;
#[path = "../../fuzz/src/seal.rs"]
mod seal;
#[path = "../../fuzz/src/segment_open.rs"]
mod segment_open;
#[path = "../../fuzz/src/world.rs"]
mod world;

use counting::{Taken, counted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, panic};

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory(target)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(path).unwrap()))
        .collect()
}

/// What an input of `len` bytes may take: peak and largest allocation. A check holds its disk several
/// times over; the engine has buffers of fixed size.
fn bounds(len: usize) -> Taken {
    Taken { peak: (4 << 20) + 64 * len, largest: (1 << 20) + 4 * len }
}

/// Runs a check over the seeds of its target.
fn replay(target: &str, make: fn() -> Vec<(String, Vec<u8>)>, check: fn(&[u8])) {
    if std::env::var_os("ONCELOG_WRITE_SEEDS").is_some() {
        fs::create_dir_all(directory(target)).unwrap();
        for (name, bytes) in make() {
            fs::write(directory(target).join(name), bytes).unwrap();
        }
    }
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seed");
    let holds = |(_, bytes): &(&String, &Vec<u8>)| panic::catch_unwind(|| check(bytes)).is_ok();
    // Once before, for what is made at first use.
    let failed: Vec<&String> = seeds.iter().filter(|s| !holds(s)).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "seeds of {target} that fail: {failed:?}");
    for (name, bytes) in &seeds {
        let (taken, may) = (counted(|| check(bytes)), bounds(bytes.len()));
        let within = taken.peak <= may.peak && taken.largest <= may.largest;
        assert!(within, "seed {target}/{name} of {} bytes: {taken:?}", bytes.len());
    }
}

#[test]
fn every_batch_seed_holds() {
    // The batches of other programs: `src/batch/tests/vectors.rs` says where they come from.
    replay("batch", Vec::new, batch::check);
}

#[test]
fn every_segment_seed_holds() {
    replay("segment_open", make::segments, segment_open::check);
}

#[test]
fn every_directory_seed_holds() {
    replay("directory_open", make::directories, directory_open::check);
}

#[test]
fn every_index_seed_holds() {
    replay("index_read", make::indexes, index_read::check);
}

#[test]
fn every_producer_seed_holds() {
    replay("producer_snapshot", make::producers, producer_snapshot::check);
}

#[test]
fn every_sequence_of_operations_holds() {
    replay("op_sequence", make::operations, op_sequence::check);
}
