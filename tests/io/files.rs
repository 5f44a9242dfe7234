//! One open file.

use crate::Place;
use crate::place::{all, kind};
use oncelog::io::OpenMode;
use std::io::ErrorKind;

contract! {
    fn a_missing_file_is_not_found(place) {
        for mode in [OpenMode::Read, OpenMode::Write] {
            assert_eq!(kind(place.open("gone", mode)), ErrorKind::NotFound, "{mode:?}");
        }
        for mode in [OpenMode::Read, OpenMode::Write, OpenMode::CreateNew, OpenMode::Truncate] {
            assert_eq!(kind(place.open("gone/f", mode)), ErrorKind::NotFound, "{mode:?}");
        }
        assert_eq!(place.list(""), [""; 0]);
    }

    fn a_new_file_is_empty_and_never_in_the_place_of_another(place) {
        let file = place.open("f", OpenMode::CreateNew).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(b"x", 0).unwrap();
        assert_eq!(kind(place.open("f", OpenMode::CreateNew)), ErrorKind::AlreadyExists);
        assert_eq!(place.read("f"), b"x");
    }

    fn a_truncating_open_creates_or_empties(place) {
        let created = place.open("f", OpenMode::Truncate).unwrap();
        created.write_at(b"x", 0).unwrap();
        let emptied = place.open("f", OpenMode::Truncate).unwrap();
        assert_eq!((emptied.len().unwrap(), created.len().unwrap()), (0, 0));
    }

    fn a_file_that_is_opened_to_be_written_keeps_what_it_has(place) {
        place.write("f", b"abc");
        let file = place.open("f", OpenMode::Write).unwrap();
        file.write_at(b"X", 1).unwrap();
        assert_eq!(all(file.as_ref()), b"aXc");
    }

    fn a_directory_is_no_file_to_be_written(place) {
        place.storage().create_dir(&place.path("d")).unwrap();
        place.open("d", OpenMode::Write).unwrap_err();
        place.open("d", OpenMode::Truncate).unwrap_err();
        assert_eq!(kind(place.open("d", OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    }

    fn a_file_opened_to_be_read_refuses_every_change(place) {
        place.write("f", b"abc");
        let file = place.open("f", OpenMode::Read).unwrap();
        file.write_at(b"X", 0).unwrap_err();
        file.set_len(1).unwrap_err();
        assert_eq!(all(file.as_ref()), b"abc");
    }

    fn only_a_file_opened_to_be_written_directly_is_direct(place) {
        let path = place.path("f");
        let opened = |mode, direct| place.storage().open(&path, mode, direct).unwrap();
        assert!(!opened(OpenMode::CreateNew, false).is_direct());
        assert!(!opened(OpenMode::Write, false).is_direct());
        assert!(!opened(OpenMode::Read, true).is_direct());
        if !opened(OpenMode::Write, true).is_direct() {
            println!("{} takes no direct writes", path.display());
        }
    }

    fn small_reads_and_writes_of_a_direct_file_need_no_alignment(place) {
        let file = place.new_direct("f");
        file.write_at(b"abc", 5).unwrap();
        let mut read = [0; 2];
        assert_eq!(file.read_at(&mut read, 6).unwrap(), 2);
        assert_eq!((&read, file.len().unwrap()), (b"bc", 8));
    }

    fn a_read_is_short_only_at_the_end(place) {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let file = place.write("f", &bytes);
        let read = |len: usize, position: u64| {
            let mut buf = vec![0xee; len];
            let read = file.read_at(&mut buf, position).unwrap();
            assert!(buf[read..].iter().all(|byte| *byte == 0xee), "written past what was read");
            buf.truncate(read);
            buf
        };
        assert_eq!(read(300_000, 0), bytes);
        assert_eq!(read(10, 299_990), bytes[299_990..]);
        assert_eq!(read(11, 299_990), bytes[299_990..]);
        assert_eq!(read(10, 299_999), bytes[299_999..]);
        assert_eq!(read(10, 300_000), b"");
        assert_eq!(read(10, 1 << 30), b"");
        assert_eq!(read(0, 7), b"");
    }

    fn a_write_behind_the_end_leaves_zeroes_between(place) {
        let file = place.write("f", b"ab");
        file.write_at(b"cd", 5).unwrap();
        assert_eq!(all(file.as_ref()), b"ab\0\0\0cd");
        file.write_at(b"", 100).unwrap();
        assert_eq!(file.len().unwrap(), 7);
    }

    fn a_length_is_cut_and_extended_with_zeroes(place) {
        let file = place.write("f", b"abcdef");
        file.set_len(3).unwrap();
        assert_eq!(all(file.as_ref()), b"abc");
        file.set_len(5).unwrap();
        assert_eq!(all(file.as_ref()), b"abc\0\0");
    }

    fn every_handle_sees_what_any_of_them_did(place) {
        let one = place.write("f", b"abc");
        let two = place.open("f", OpenMode::Read).unwrap();
        one.write_at(b"XY", 2).unwrap();
        assert_eq!(all(two.as_ref()), b"abXY");
        one.set_len(1).unwrap();
        assert_eq!((two.len().unwrap(), all(two.as_ref())), (1, b"a".to_vec()));
    }

    fn flushed_bytes_and_lengths_outlive_a_power_cut_and_others_may_go(place) {
        let file = place.write("f", b"flushed, and longer");
        file.sync().unwrap();
        file.set_len(7).unwrap();
        file.sync().unwrap();
        place.sync();
        file.write_at(b" more", 7).unwrap();
        let expected: &[u8] = if place.is_real() { b"flushed more" } else { b"flushed" };
        assert_eq!(place.cut().read("f"), expected);
    }

    fn a_flush_through_one_handle_covers_what_another_wrote(place) {
        let written = place.write("f", b"abc");
        place.sync();
        place.open("f", OpenMode::Write).unwrap().sync().unwrap();
        drop(written);
        assert_eq!(place.cut().read("f"), b"abc");
    }

    fn a_cache_that_is_dropped_loses_nothing_that_was_flushed(place) {
        let file = place.write("f", b"abc");
        file.sync().unwrap();
        file.drop_cache().unwrap();
        file.will_read(0, 3);
        file.will_read(1 << 40, 0);
        assert_eq!(all(file.as_ref()), b"abc");
    }

    fn a_map_shows_the_first_bytes_and_outlives_file_and_name(place) {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
        place.write("f", &bytes).sync().unwrap();
        let file = place.open("f", OpenMode::Read).unwrap();
        let (whole, part, none) = (file.map(10_000), file.map(9), file.map(0));
        drop(file);
        place.storage().remove_file(&place.path("f")).unwrap();
        assert_eq!(none.unwrap().unwrap_or_default(), b"".as_slice());
        let Some(whole) = whole.unwrap() else {
            assert!(!cfg!(feature = "mmap") && place.is_real(), "no map was given");
            return;
        };
        assert_eq!((&whole[..], &part.unwrap().unwrap()[..]), (&bytes[..], &bytes[..9]));
    }

    fn a_map_of_more_than_there_is_is_refused(place) {
        let file = place.write("f", b"abc");
        assert_eq!(kind(file.map(4)), ErrorKind::UnexpectedEof);
    }

    fn a_descriptor_is_that_of_the_very_file(place) {
        let file = place.new_direct("f");
        file.write_at(b"abc", 0).unwrap();
        let Some(fd) = file.as_fd() else {
            assert!(!place.is_real(), "a real file has a descriptor");
            return;
        };
        let mut read = [0; 4];
        assert_eq!(rustix::io::pread(fd, &mut read, 0).unwrap(), 3);
        assert_eq!(&read, b"abc\0");
    }

    fn a_file_outlives_its_storage_and_its_name(place) {
        let storage = place.stranger();
        let path = place.path("f");
        let file = storage.open(&path, OpenMode::CreateNew, true).unwrap();
        storage.remove_file(&path).unwrap();
        drop(storage);
        file.write_at(b"abc", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(all(file.as_ref()), b"abc");
    }
}
