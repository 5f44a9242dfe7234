//! The harness proves itself: every planted bug is noticed. One it does not notice is a hole in it.

use crate::is_noticed;
use oncelog::planted::Planted;

fn assert_noticed(plant: impl FnOnce(&mut Planted)) {
    let mut planted = Planted::default();
    plant(&mut planted);
    let found = is_noticed(planted, 3_000);
    let (seed, failure) = found.unwrap_or_else(|| panic!("nobody noticed {planted:?}"));
    println!("{planted:?}\n  noticed by seed {seed}: {failure}");
}

#[test]
fn acknowledging_before_the_flush_is_noticed() {
    assert_noticed(|p| p.ack_before_flush = true);
}

#[test]
fn skipping_the_directory_flush_is_noticed() {
    assert_noticed(|p| p.skip_directory_flush = true);
}

#[test]
fn believing_a_second_flush_is_noticed() {
    assert_noticed(|p| p.retry_failed_flush = true);
}

#[test]
fn four_cached_batches_are_noticed() {
    assert_noticed(|p| p.four_cached_batches = true);
}

#[test]
fn a_last_stable_offset_off_by_one_is_noticed() {
    assert_noticed(|p| p.lso_off_by_one = true);
}

#[test]
fn markers_that_are_not_idempotent_are_noticed() {
    assert_noticed(|p| p.markers_not_idempotent = true);
}
