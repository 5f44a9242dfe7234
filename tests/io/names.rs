//! Directories and names.

use crate::Place;
use crate::place::{all, kind};
use oncelog::io::OpenMode;
use std::io::ErrorKind;

contract! {
    fn a_storage_says_what_it_is_and_why(place) {
        let info = place.storage().info();
        assert_eq!(info.backend, place.backend);
        assert!(!info.reason.is_empty());
    }

    fn a_directory_is_made_with_its_parents_and_may_be_there_already(place) {
        let path = place.path("a/b/c");
        place.storage().create_dir(&path).unwrap();
        place.storage().create_dir(&path).unwrap();
        assert_eq!(place.list("a/b"), ["c/"]);
        assert_eq!(place.list("a/b/c"), [""; 0]);
    }

    fn a_directory_where_a_file_is_is_an_error(place) {
        place.write("f", b"x");
        place.storage().create_dir(&place.path("f")).unwrap_err();
        place.storage().create_dir(&place.path("f/below")).unwrap_err();
        assert_eq!(place.read("f"), b"x");
    }

    fn a_listing_is_in_name_order_and_tells_directories_from_files(place) {
        for name in ["m", "a", "z", "B", "10", "9"] {
            place.write(name, b"");
        }
        place.storage().create_dir(&place.path("dir")).unwrap();
        assert_eq!(place.list(""), ["10", "9", "B", "a", "dir/", "m", "z"]);
    }

    fn a_listing_of_what_is_not_there_is_not_found(place) {
        assert_eq!(kind(place.storage().list_dir(&place.path("gone"))), ErrorKind::NotFound);
    }

    fn a_name_that_is_not_text_is_not_listed(place) {
        use std::os::unix::ffi::OsStrExt;
        let odd = place.path("").join(std::ffi::OsStr::from_bytes(b"odd-\xff"));
        // The simulated disk has no such names.
        let made = place.storage().open(&odd, OpenMode::CreateNew, false);
        assert_eq!(made.is_ok(), place.is_real());
        place.write("even", b"");
        assert_eq!(place.list(""), ["even"]);
    }

    fn a_flushed_name_outlives_a_power_cut_and_one_that_is_not_may_go(place) {
        place.write("kept", b"");
        place.sync();
        place.write("lost", b"");
        let after = place.cut();
        let expected: &[&str] = if place.is_real() { &["kept", "lost"] } else { &["kept"] };
        assert_eq!(after.list(""), expected);
        assert_eq!(after.read("kept"), b"");
    }

    fn a_flushed_rename_and_a_flushed_removal_outlive_a_power_cut(place) {
        place.write("from", b"new").sync().unwrap();
        place.write("to", b"old").sync().unwrap();
        place.write("goes", b"").sync().unwrap();
        place.sync();
        place.storage().rename(&place.path("from"), &place.path("to")).unwrap();
        place.storage().remove_file(&place.path("goes")).unwrap();
        place.sync();
        let after = place.cut();
        assert_eq!(after.list(""), ["to"]);
        assert_eq!(after.read("to"), b"new");
    }

    fn a_flush_of_a_directory_that_is_not_there_is_not_found(place) {
        assert_eq!(kind(place.storage().sync_dir(&place.path("gone"))), ErrorKind::NotFound);
    }

    fn a_rename_replaces_and_whoever_has_the_old_file_open_keeps_it(place) {
        place.write("from", b"new");
        let old = place.write("to", b"old");
        place.storage().rename(&place.path("from"), &place.path("to")).unwrap();
        assert_eq!(place.list(""), ["to"]);
        assert_eq!(place.read("to"), b"new");
        assert_eq!(all(old.as_ref()), b"old");
    }

    fn a_directory_is_renamed_with_what_is_in_it(place) {
        place.storage().create_dir(&place.path("making")).unwrap();
        let file = place.write("making/f", b"x");
        file.sync().unwrap();
        place.storage().sync_dir(&place.path("making")).unwrap();
        place.storage().rename(&place.path("making"), &place.path("made")).unwrap();
        place.sync();
        file.write_at(b"y", 0).unwrap();
        file.sync().unwrap();
        let after = place.cut();
        assert_eq!((after.list(""), after.list("made")), (vec!["made/".into()], vec!["f".into()]));
        assert_eq!(after.read("made/f"), b"y");
    }

    fn a_directory_never_replaces_one_that_holds_something(place) {
        for name in ["from", "to"] {
            place.storage().create_dir(&place.path(name)).unwrap();
        }
        place.write("to/f", b"x");
        place.storage().rename(&place.path("from"), &place.path("to")).unwrap_err();
        assert_eq!(place.read("to/f"), b"x");
    }

    fn a_rename_from_or_to_nowhere_is_not_found(place) {
        let rename = |from, to| kind(place.storage().rename(&place.path(from), &place.path(to)));
        place.write("f", b"x");
        assert_eq!(rename("gone", "to"), ErrorKind::NotFound);
        assert_eq!(rename("f", "gone/to"), ErrorKind::NotFound);
        assert_eq!(place.list(""), ["f"]);
    }

    fn a_removed_file_lives_as_long_as_it_is_open_and_its_name_is_free(place) {
        let old = place.write("f", b"old");
        place.storage().remove_file(&place.path("f")).unwrap();
        assert_eq!(place.list(""), [""; 0]);
        place.write("f", b"new");
        old.write_at(b"OLD!", 0).unwrap();
        old.sync().unwrap();
        assert_eq!((all(old.as_ref()), place.read("f")), (b"OLD!".to_vec(), b"new".to_vec()));
    }

    fn a_removal_of_what_is_not_there_is_not_found(place) {
        assert_eq!(kind(place.storage().remove_file(&place.path("gone"))), ErrorKind::NotFound);
        assert_eq!(kind(place.storage().remove_dir(&place.path("gone"))), ErrorKind::NotFound);
    }

    fn a_directory_is_not_removed_as_a_file(place) {
        place.storage().create_dir(&place.path("d")).unwrap();
        place.storage().remove_file(&place.path("d")).unwrap_err();
        assert_eq!(place.list(""), ["d/"]);
    }

    fn a_directory_goes_with_its_files_but_not_with_directories_in_it(place) {
        place.storage().create_dir(&place.path("flat")).unwrap();
        place.write("flat/a", b"x");
        place.write("flat/b", b"x");
        place.storage().remove_dir(&place.path("flat")).unwrap();
        place.storage().create_dir(&place.path("deep/inner")).unwrap();
        place.storage().remove_dir(&place.path("deep")).unwrap_err();
        assert_eq!((place.list(""), place.list("deep")), (vec!["deep/".into()], vec!["inner/".into()]));
    }

    fn a_lock_keeps_every_other_storage_out_until_it_is_dropped(place) {
        let lock = place.storage().lock_dir(&place.path("")).unwrap();
        let stranger = place.stranger();
        assert_eq!(kind(place.storage().lock_dir(&place.path(""))), ErrorKind::WouldBlock);
        assert_eq!(kind(stranger.lock_dir(&place.path(""))), ErrorKind::WouldBlock);
        place.storage().create_dir(&place.path("other")).unwrap();
        stranger.lock_dir(&place.path("other")).unwrap();
        drop(lock);
        stranger.lock_dir(&place.path("")).unwrap();
    }

    fn a_lock_of_what_is_not_there_is_not_found(place) {
        assert_eq!(kind(place.storage().lock_dir(&place.path("gone"))), ErrorKind::NotFound);
    }

    fn free_space_is_that_of_a_directory_that_is_there(place) {
        assert!(place.storage().free_space(&place.path("")).unwrap() > 0);
        assert_eq!(kind(place.storage().free_space(&place.path("gone"))), ErrorKind::NotFound);
    }
}
