//! What the simulated disk may and may not do to a program.

use super::*;
use crate::io::buf::AlignedBuf;
use crate::io::{BLOCK_BYTES, File, OpenMode, Storage, WriteOp};
use bytes::Bytes;

const SECTOR: usize = 512;

fn path(name: &str) -> PathBuf {
    Path::new("/data").join(name)
}

/// A disk with a durable, empty file `/data/f`.
fn disk_with_file(seed: u64) -> (Arc<SimDisk>, Arc<dyn File>) {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let file = disk.open(&path("f"), OpenMode::CreateNew, false).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    (disk, file)
}

fn reopened(disk: &SimDisk, crash: &Crash) -> Vec<u8> {
    disk.crash(crash).visible(&path("f")).unwrap()
}

#[test]
fn unsynced_bytes_can_vanish_and_can_survive() {
    let (disk, file) = disk_with_file(1);
    file.write_at(b"hello", 0).unwrap();
    assert_eq!(reopened(&disk, &Crash::LoseAll), b"");
    assert_eq!(reopened(&disk, &Crash::KeepAll), b"hello");
}

#[test]
fn synced_bytes_survive_every_power_cut() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[7; 3000], 0).unwrap();
    file.sync().unwrap();
    for seed in 0..200 {
        let crash = Crash::Random { seed, garbage: true };
        assert_eq!(reopened(&disk, &crash), [7; 3000]);
    }
}

#[test]
fn a_write_tears_at_sectors_and_nowhere_else() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[1; 4 * SECTOR], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[2; 4 * SECTOR], 0).unwrap();
    assert_eq!(disk.undecided(), 4);
    for mask in 0..16u64 {
        let after = reopened(&disk, &Crash::Exact(vec![mask]));
        for (nth, sector) in after.chunks(SECTOR).enumerate() {
            let want = if mask >> nth & 1 == 1 { [2; SECTOR] } else { [1; SECTOR] };
            assert_eq!(sector, want, "sector {nth} of mask {mask:b}");
        }
    }
}

#[test]
fn the_length_survives_apart_from_the_bytes() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[9; SECTOR], 0).unwrap();
    assert_eq!(disk.undecided(), 2);
    // The length is asked first, then the sector.
    assert_eq!(reopened(&disk, &Crash::Exact(vec![0b01])), [0; SECTOR]);
    assert_eq!(reopened(&disk, &Crash::Exact(vec![0b10])), b"");
    assert_eq!(reopened(&disk, &Crash::Exact(vec![0b11])), [9; SECTOR]);
}

#[test]
fn a_durable_write_flushes_its_range_and_the_length_and_no_more() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[1; SECTOR], 0).unwrap();
    let second = Bytes::from(vec![2; SECTOR]);
    let op = WriteOp::new(file, SECTOR as u64, vec![second], true);
    for outcome in disk.write_all(vec![op]) {
        outcome.unwrap();
    }
    let after = reopened(&disk, &Crash::LoseAll);
    assert_eq!(after, [[0; SECTOR], [2; SECTOR]].concat());
}

#[test]
fn bytes_cut_off_and_grown_over_never_come_back() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[5; 4 * SECTOR], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[6; 4 * SECTOR], 0).unwrap();
    file.set_len(100).unwrap();
    file.set_len(4 * SECTOR as u64).unwrap();
    for seed in 0..500 {
        let after = reopened(&disk, &Crash::Random { seed, garbage: false });
        if after.len() == 4 * SECTOR && after[SECTOR..].contains(&0) {
            assert!(after[SECTOR..].iter().all(|&byte| byte == 0), "seed {seed}");
        }
    }
}

#[test]
fn a_flush_after_a_cut_keeps_what_was_written_before_it() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[5; 4 * SECTOR], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[6; SECTOR], 0).unwrap();
    file.set_len(100).unwrap();
    file.set_len(4 * SECTOR as u64).unwrap();
    file.write_at(&[7; 10], 0).unwrap();
    file.sync().unwrap();
    let after = reopened(&disk, &Crash::LoseAll);
    assert_eq!((&after[..10], &after[10..100]), (&[7; 10][..], &[6; 90][..]));
    assert!(after.len() == 4 * SECTOR && after[100..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_name_can_vanish_until_its_directory_is_synced() {
    let (disk, _) = disk_with_file(1);
    let new = disk.open(&path("new"), OpenMode::CreateNew, false).unwrap();
    new.write_at(b"x", 0).unwrap();
    new.sync().unwrap();
    assert!(disk.crash(&Crash::LoseAll).visible(&path("new")).is_err());
    assert_eq!(disk.crash(&Crash::KeepAll).visible(&path("new")).unwrap(), b"x");
    let (disk, _) = disk_with_file(1);
    disk.open(&path("new"), OpenMode::CreateNew, false).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    assert!(disk.crash(&Crash::LoseAll).visible(&path("new")).is_ok());
}

#[test]
fn a_rename_survives_as_old_or_new_and_never_as_both_or_neither() {
    let (disk, file) = disk_with_file(1);
    file.write_at(b"old", 0).unwrap();
    file.sync().unwrap();
    let new = disk.open(&path("f.tmp"), OpenMode::CreateNew, false).unwrap();
    new.write_at(b"new", 0).unwrap();
    new.sync().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.rename(&path("f.tmp"), &path("f")).unwrap();
    assert_eq!(disk.undecided(), 1);
    let old = disk.crash(&Crash::LoseAll);
    assert_eq!(old.visible(&path("f")).unwrap(), b"old");
    assert_eq!(old.visible(&path("f.tmp")).unwrap(), b"new");
    let new = disk.crash(&Crash::KeepAll);
    assert_eq!(new.visible(&path("f")).unwrap(), b"new");
    assert!(new.visible(&path("f.tmp")).is_err());
}

#[test]
fn a_removed_file_can_come_back_until_its_directory_is_synced() {
    let (disk, _) = disk_with_file(1);
    disk.remove_file(&path("f")).unwrap();
    assert!(disk.crash(&Crash::LoseAll).visible(&path("f")).is_ok());
    assert!(disk.crash(&Crash::KeepAll).visible(&path("f")).is_err());
}

#[test]
fn a_flush_after_a_failed_one_says_ok_and_saves_nothing() {
    let (disk, file) = disk_with_file(1);
    disk.fail(Fault::new(FaultKind::Flush, 0));
    file.write_at(&[3; SECTOR], 0).unwrap();
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    assert_eq!(disk.visible(&path("f")).unwrap(), [3; SECTOR]);
    assert_eq!(reopened(&disk, &Crash::LoseAll), b"");
    assert_eq!(reopened(&disk, &Crash::KeepAll), [3; SECTOR]);
}

#[test]
fn bytes_written_again_after_a_failed_flush_can_be_flushed() {
    let (disk, file) = disk_with_file(1);
    file.set_len(SECTOR as u64).unwrap();
    file.sync().unwrap();
    disk.fail(Fault::new(FaultKind::Flush, 0));
    file.write_at(&[3; SECTOR], 0).unwrap();
    file.sync().unwrap_err();
    file.write_at(&[3; SECTOR], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(reopened(&disk, &Crash::LoseAll), [3; SECTOR]);
}

#[test]
fn a_directory_whose_sync_failed_stays_undecided() {
    let (disk, _) = disk_with_file(1);
    disk.open(&path("new"), OpenMode::CreateNew, false).unwrap();
    disk.fail(Fault::new(FaultKind::Flush, 0).on("/data"));
    disk.sync_dir(Path::new("/data")).unwrap_err();
    disk.sync_dir(Path::new("/data")).unwrap();
    assert!(disk.crash(&Crash::LoseAll).visible(&path("new")).is_err());
}

#[test]
fn faults_hit_the_planned_call_once_or_for_good() {
    let (disk, file) = disk_with_file(1);
    disk.fail(Fault::new(FaultKind::Write, 1));
    file.write_at(b"a", 0).unwrap();
    file.write_at(b"b", 1).unwrap_err();
    file.write_at(b"c", 2).unwrap();
    disk.fail(Fault::new(FaultKind::Read, 0).sticky());
    file.read_at(&mut [0], 0).unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    disk.heal();
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    disk.fail(Fault::new(FaultKind::Write, 0).on("other"));
    file.write_at(b"d", 3).unwrap();
}

#[test]
fn a_full_disk_refuses_growth_and_takes_overwrites() {
    let (disk, file) = disk_with_file(1);
    disk.set_capacity(Some(1000));
    file.write_at(&[1; 900], 0).unwrap();
    assert_eq!(disk.free_space(Path::new("/data")).unwrap(), 100);
    let error = file.write_at(&[2; 200], 900).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(file.len().unwrap() <= 1000);
    file.write_at(&[3; 900], 0).unwrap();
    disk.set_capacity(None);
    file.write_at(&[2; 200], 900).unwrap();
}

#[test]
fn the_power_goes_during_the_planned_operation_and_stays_off() {
    let mut took_effect = [false; 2];
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        disk.crash_after(disk.operations() + 2);
        file.write_at(b"a", 0).unwrap();
        file.write_at(b"b", 1).unwrap_err();
        assert!(!disk.is_powered());
        file.read_at(&mut [0], 0).unwrap_err();
        disk.list_dir(Path::new("/data")).unwrap_err();
        let after = reopened(&disk, &Crash::KeepAll);
        took_effect[usize::from(after == b"ab")] = true;
        // The old handle stays dead.
        file.write_at(b"c", 0).unwrap_err();
    }
    assert_eq!(took_effect, [true; 2]);
}

#[test]
fn a_durable_write_cut_by_the_power_can_tear() {
    let mut torn = false;
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        file.write_at(&[1; 2 * SECTOR], 0).unwrap();
        file.sync().unwrap();
        disk.crash_after(disk.operations() + 1);
        let op = WriteOp::new(file, 0, vec![Bytes::from(vec![2; 2 * SECTOR])], true);
        disk.write_all(vec![op]).pop().unwrap().unwrap_err();
        let after = reopened(&disk, &Crash::Random { seed, garbage: false });
        torn |= after[0] != after[SECTOR];
    }
    assert!(torn);
}

#[test]
fn a_kill_of_the_process_loses_nothing_and_decides_nothing() {
    let (disk, file) = disk_with_file(1);
    let lock = disk.lock_dir(Path::new("/data")).unwrap();
    file.write_at(b"x", 0).unwrap();
    let after = disk.kill();
    assert_eq!(after.visible(&path("f")).unwrap(), b"x");
    assert_eq!(reopened(&after, &Crash::LoseAll), b"");
    file.write_at(b"y", 0).unwrap_err();
    let after = disk.kill();
    after.lock_dir(Path::new("/data")).unwrap();
    drop(lock);
}

#[test]
fn changed_protected_bytes_are_recorded() {
    let (disk, file) = disk_with_file(1);
    file.write_at(b"abcdef", 0).unwrap();
    disk.protect(&path("f"), 4).unwrap();
    file.write_at(b"abcdXY", 0).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(disk.violations(), []);
    file.write_at(b"Z", 3).unwrap();
    file.set_len(2).unwrap();
    let positions: Vec<_> = disk.violations().iter().map(|found| found.position).collect();
    assert_eq!(positions, [3, 2]);
    assert_eq!(disk.crash(&Crash::KeepAll).violations().len(), 2);
}

#[test]
fn damage_to_the_medium_is_seen_now_and_after_a_power_cut() {
    let (disk, file) = disk_with_file(1);
    file.write_at(&[0; 10], 0).unwrap();
    file.sync().unwrap();
    disk.flip_bit(&path("f"), 9, 3).unwrap();
    assert_eq!(disk.visible(&path("f")).unwrap()[9], 8);
    assert_eq!(reopened(&disk, &Crash::LoseAll)[9], 8);
    disk.flip_bit(&path("f"), 10, 0).unwrap_err();
    disk.truncate(&path("f"), 4).unwrap();
    assert_eq!(reopened(&disk, &Crash::LoseAll).len(), 4);
}

#[test]
fn a_direct_file_refuses_unaligned_writes_and_the_disk_can_refuse_direct_files() {
    let (disk, _) = disk_with_file(1);
    let file = disk.open(&path("f"), OpenMode::Write, true).unwrap();
    assert!(file.is_direct());
    let block = AlignedBuf::new(2 * BLOCK_BYTES).freeze();
    for (position, buffer) in [(1, block.slice(..BLOCK_BYTES)), (0, block.slice(1..4097))] {
        let op = WriteOp::new(Arc::clone(&file), position, vec![buffer], true);
        let error = disk.write_all(vec![op]).pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    disk.set_direct(false);
    assert!(!disk.open(&path("f"), OpenMode::Write, true).unwrap().is_direct());
}

/// A little of everything, with faults and a power cut; returns the trace and the outcome.
fn history(seed: u64) -> (u64, Vec<u8>) {
    let (disk, file) = disk_with_file(seed);
    disk.fail(Fault::new(FaultKind::Flush, 2));
    disk.crash_after(30);
    let io = disk.io();
    for step in 0..20u8 {
        let number = io.random.next_u64();
        let position = number % 5000;
        let op = |at| {
            let bytes = Bytes::from(vec![step; 700]);
            WriteOp::new(Arc::clone(&file), at, vec![bytes], number % 3 == 0)
        };
        let _outcomes = disk.write_all(vec![op(position), op(position + 700)]);
    }
    let after = disk.crash(&Crash::Random { seed, garbage: true });
    let bytes = after.visible(&path("f")).unwrap();
    (after.trace_hash(), bytes)
}

#[test]
fn equal_seeds_give_equal_histories_and_others_do_not() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7).0, history(8).0);
}

#[test]
fn the_order_of_a_group_follows_the_seed() {
    let mut orders = [false; 2];
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        disk.crash_after(disk.operations() + 2);
        let op = |at| WriteOp::new(Arc::clone(&file), at, vec![Bytes::from(vec![1; 1])], true);
        let outcomes = disk.write_all(vec![op(0), op(SECTOR as u64)]);
        orders[usize::from(outcomes[0].is_ok())] = true;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }
    assert_eq!(orders, [true; 2]);
}

#[test]
fn the_clock_moves_only_when_told() {
    use crate::io::Clock;
    let disk = SimDisk::new(1);
    let io = disk.io();
    let start = io.clock.now_ms();
    disk.clock().advance(std::time::Duration::from_millis(1500));
    assert_eq!((io.clock.now_ms() - start, io.clock.monotonic().as_millis()), (1500, 1500));
    disk.clock().set_wall_ms(5);
    assert_eq!((disk.clock().now_ms(), io.clock.monotonic().as_millis()), (5, 1500));
}
