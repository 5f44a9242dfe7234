//! Groups of writes: a commit group's way to the disk.

use crate::place::{all, kind};
use crate::{Place, block, blocks};
use bytes::Bytes;
use oncelog::io::{BLOCK_BYTES, File, OpenMode, WriteOp};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const BLOCK: u64 = BLOCK_BYTES as u64;

fn op(file: &Arc<dyn File>, position: u64, bytes: Bytes, durable: bool) -> WriteOp {
    WriteOp::new(Arc::clone(file), position, vec![bytes], durable)
}

fn write(place: &Place, group: Vec<WriteOp>) {
    let count = group.len();
    let outcomes = place.storage().write_all(group);
    assert_eq!(outcomes.len(), count);
    outcomes.into_iter().collect::<io::Result<Vec<()>>>().unwrap();
}

/// Blocks, each told by its first byte.
fn fills(file: &dyn File) -> Vec<u8> {
    let bytes = all(file);
    assert!(bytes.len().is_multiple_of(BLOCK_BYTES));
    let blocks = bytes.chunks(BLOCK_BYTES);
    blocks
        .map(|block| {
            assert!(block.iter().all(|byte| *byte == block[0]), "a torn block");
            block[0]
        })
        .collect()
}

/// A buffer that tells when it is let go.
struct Counted {
    bytes: Bytes,
    dropped: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

contract! {
    fn a_group_of_none_has_no_outcomes(place) {
        assert_eq!(place.storage().write_all(Vec::new()).len(), 0);
    }

    fn a_write_of_nothing_changes_nothing(place) {
        let file = place.new_direct("f");
        let nothing = |position, buffers| WriteOp::new(Arc::clone(&file), position, buffers, true);
        write(place, vec![nothing(0, vec![]), nothing(BLOCK, vec![Bytes::new(); 3])]);
        assert_eq!(file.len().unwrap(), 0);
    }

    fn direct_writes_of_a_group_land_where_they_belong(place) {
        let (one, two) = (place.new_direct("one"), place.new_direct("two"));
        for durable in [false, true] {
            write(place, vec![
                op(&one, 2 * BLOCK, block(3), durable),
                op(&two, 0, blocks(9, 3), durable),
                op(&one, 0, blocks(1, 2), durable),
            ]);
            assert_eq!(fills(one.as_ref()), [1, 1, 3]);
            assert_eq!(fills(two.as_ref()), [9, 9, 9]);
        }
    }

    fn buffered_and_direct_writes_mix_in_a_group(place) {
        let (direct, plain) = (place.new_direct("d"), place.write("p", b"....."));
        write(place, vec![
            op(&direct, 0, block(1), true),
            op(&plain, 2, Bytes::from_static(b"xyz and more"), true),
            op(&direct, BLOCK, block(2), false),
            op(&plain, 0, Bytes::from_static(b"a"), false),
        ]);
        assert_eq!(fills(direct.as_ref()), [1, 2]);
        assert_eq!(all(plain.as_ref()), b"a.xyz and more");
    }

    fn buffers_of_a_write_follow_on_each_other(place) {
        let (direct, plain) = (place.new_direct("d"), place.open("p", OpenMode::CreateNew).unwrap());
        let aligned = vec![block(1), Bytes::new(), blocks(2, 2), block(3)];
        let odd: Vec<Bytes> = [&b"a"[..], b"", b"bcd"].map(Bytes::from_static).into();
        write(place, vec![
            WriteOp::new(Arc::clone(&direct), BLOCK, aligned.clone(), true),
            WriteOp::new(Arc::clone(&plain), 1, odd.clone(), true),
        ]);
        assert_eq!(fills(direct.as_ref()), [0, 1, 2, 2, 3]);
        assert_eq!(all(plain.as_ref()), b"\0abcd");
        // One alone goes another way.
        write(place, vec![WriteOp::new(Arc::clone(&direct), 0, aligned, true)]);
        write(place, vec![WriteOp::new(Arc::clone(&plain), 0, odd, false)]);
        assert_eq!(fills(direct.as_ref()), [1, 2, 2, 3, 3]);
        assert_eq!(all(plain.as_ref()), b"abcdd");
    }

    /// The kernel takes 1024 buffers at a time.
    fn more_buffers_than_one_call_takes_are_all_written(place) {
        let fill = |nth: usize| u8::try_from(nth % 251).unwrap();
        let aligned: Vec<Bytes> = (0..1500).map(|nth| block(fill(nth))).collect();
        let odd: Vec<Bytes> = (0..5000).map(|nth| Bytes::from(vec![fill(nth); 3])).collect();
        let direct = place.new_direct("d");
        let plain = place.open("p", OpenMode::CreateNew).unwrap();
        write(place, vec![
            WriteOp::new(Arc::clone(&direct), 0, aligned.clone(), true),
            WriteOp::new(Arc::clone(&direct), 1500 * BLOCK, aligned.clone(), true),
            WriteOp::new(Arc::clone(&plain), 0, odd.clone(), true),
        ]);
        assert_eq!(all(direct.as_ref()), [aligned.concat(), aligned.concat()].concat());
        assert_eq!(all(plain.as_ref()), odd.concat());
        write(place, vec![WriteOp::new(Arc::clone(&direct), 3000 * BLOCK, aligned, true)]);
        assert_eq!(direct.len().unwrap(), 4500 * BLOCK);
    }

    /// More than a ring has in flight at a time.
    fn a_group_may_be_large(place) {
        let file = place.new_direct("f");
        let fill = |nth: u64| u8::try_from(nth % 251).unwrap();
        write(place, (0..600).map(|n| op(&file, n * BLOCK, block(fill(n)), n % 2 == 0)).collect());
        assert_eq!(fills(file.as_ref()), (0..600).map(fill).collect::<Vec<_>>());
    }

    fn durable_writes_outlive_a_power_cut_and_others_may_go(place) {
        let (one, two) = (place.new_direct("one"), place.new_direct("two"));
        let plain = place.open("p", OpenMode::CreateNew).unwrap();
        place.sync();
        write(place, vec![
            op(&one, 0, blocks(1, 2), true),
            op(&two, 0, block(2), true),
            op(&one, 2 * BLOCK, block(3), true),
            op(&plain, 0, Bytes::from_static(b"abc"), true),
        ]);
        write(place, vec![op(&one, 0, blocks(4, 2), true)]);
        write(place, vec![op(&two, BLOCK, block(5), false)]);
        let after = place.cut();
        let read = |name| fills(after.open(name, OpenMode::Read).unwrap().as_ref());
        assert_eq!(read("one"), [4, 4, 3]);
        assert_eq!(read("two"), if place.is_real() { vec![2, 5] } else { vec![2] });
        assert_eq!(after.read("p"), b"abc");
    }

    fn an_unaligned_direct_write_is_refused_and_the_others_are_done(place) {
        let file = place.new_direct("f");
        if !file.is_direct() {
            println!("skipped: no direct writes here");
            return;
        }
        let skewed = blocks(7, 2).slice(512..512 + BLOCK_BYTES);
        for unaligned in [
            op(&file, 512, block(7), true),
            op(&file, 0, block(7).slice(..512), true),
            op(&file, 0, skewed, true),
        ] {
            assert!(!unaligned.is_aligned());
            let alone = place.storage().write_all(vec![unaligned.clone()]);
            assert_eq!(kind(alone.into_iter().next().unwrap()), ErrorKind::InvalidInput);
            let group =
                vec![op(&file, 4 * BLOCK, block(1), true), unaligned, op(&file, 5 * BLOCK, block(2), true)];
            let [first, refused, last] = place.storage().write_all(group).try_into().unwrap();
            [first, last].into_iter().collect::<io::Result<Vec<()>>>().unwrap();
            assert_eq!(kind(refused), ErrorKind::InvalidInput);
        }
        assert_eq!(fills(file.as_ref()), [0, 0, 0, 0, 1, 2]);
    }

    fn a_write_to_a_file_opened_to_be_read_fails_and_the_others_are_done(place) {
        place.write("r", &[1; BLOCK_BYTES]);
        let file = place.new_direct("f");
        let read_only = place.storage().open(&place.path("r"), OpenMode::Read, true).unwrap();
        let group = vec![
            op(&file, 0, block(1), true),
            op(&read_only, 0, block(9), true),
            op(&file, BLOCK, block(2), true),
        ];
        let [first, refused, last] = place.storage().write_all(group).try_into().unwrap();
        [first, last].into_iter().collect::<io::Result<Vec<()>>>().unwrap();
        refused.unwrap_err();
        assert_eq!((fills(file.as_ref()), place.read("r")), (vec![1, 2], vec![1; BLOCK_BYTES]));
    }

    fn a_file_of_another_storage_is_refused_and_the_others_are_done(place) {
        let foreign = place.foreign().new_direct("f");
        let file = place.new_direct("f");
        let group = vec![
            op(&foreign, 0, block(9), true),
            op(&foreign, BLOCK, block(9), true),
            op(&file, 0, block(1), true),
        ];
        let [first, second, last] = place.storage().write_all(group).try_into().unwrap();
        last.unwrap();
        assert_eq!((kind(first), kind(second)), (ErrorKind::InvalidInput, ErrorKind::InvalidInput));
        assert_eq!(foreign.len().unwrap(), 0);
    }

    fn buffers_live_until_they_are_written_and_no_longer(place) {
        let (one, two) = (place.new_direct("one"), place.open("two", OpenMode::CreateNew).unwrap());
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = |fill| {
            Bytes::from_owner(Counted { bytes: block(fill), dropped: Arc::clone(&dropped) })
        };
        // Nobody but the group holds the files of these, either.
        let group = vec![
            op(&one, 0, counted(1), true),
            op(&two, 0, counted(2), true),
            op(&one, BLOCK, counted(3), false),
            op(&two, BLOCK, counted(4), false),
        ];
        drop((one, two));
        write(place, group);
        assert_eq!(dropped.load(Ordering::SeqCst), 4);
        let read = |name| fills(place.open(name, OpenMode::Read).unwrap().as_ref());
        assert_eq!((read("one"), read("two")), (vec![1, 3], vec![2, 4]));
    }

    fn groups_of_many_threads_are_under_way_while_others_let_go_of_the_storage(place) {
        let files: Vec<_> = (0..4_u8).map(|n| place.new_direct(&format!("f{n}"))).collect();
        thread::scope(|scope| {
            for (file, fill) in files.iter().zip(1_u8..) {
                let io = place.io.clone();
                scope.spawn(move || {
                    for round in 0..10 {
                        let at = |n: u64| op(file, (round * 4 + n) * BLOCK, block(fill), n == 3);
                        let outcomes = io.storage.write_all((0..4).map(at).collect());
                        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                    }
                });
            }
        });
        for (file, fill) in files.iter().zip(1_u8..) {
            assert_eq!(fills(file.as_ref()), [fill; 40]);
        }
    }

    fn a_write_knows_its_length_and_whether_it_is_aligned(place) {
        let file = place.new_direct("f");
        let two = WriteOp::new(Arc::clone(&file), BLOCK, vec![block(1), blocks(2, 2)], false);
        assert_eq!((two.len(), two.is_empty(), two.is_aligned()), (3 * BLOCK_BYTES, false, true));
        let none = WriteOp::new(file, 1, vec![Bytes::new()], false);
        assert_eq!((none.len(), none.is_empty(), none.is_aligned()), (0, true, false));
    }
}
