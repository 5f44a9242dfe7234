//! The harness proves itself: every planted bug is noticed, and without it the same histories pass.
//! One that nobody notices is a hole in the harness.

use crate::{exhaustive, faults, random};
use oncelog::planted::Planted;

fn planted(plant: impl FnOnce(&mut Planted)) -> Planted {
    let mut planted = Planted::default();
    plant(&mut planted);
    planted
}

/// Random histories notice it.
fn assert_noticed(plant: impl FnOnce(&mut Planted)) {
    let planted = planted(plant);
    let found = random::notices(planted, 3_000);
    let (seed, failure) = found.unwrap_or_else(|| panic!("nobody noticed {planted:?}"));
    println!("{planted:?}\n  noticed by seed {seed}: {failure}");
}

/// Cutting the script everywhere notices it.
fn assert_noticed_by_cuts(plant: impl FnOnce(&mut Planted)) {
    let planted = planted(plant);
    let found = exhaustive::notices(planted);
    let (point, failure) = found.unwrap_or_else(|| panic!("no cut noticed {planted:?}"));
    println!("{planted:?}\n  noticed at crash point {point}: {failure}");
}

#[test]
fn acknowledging_before_the_flush_is_noticed() {
    assert_noticed(|p| p.ack_before_flush = true);
    assert_noticed_by_cuts(|p| p.ack_before_flush = true);
}

#[test]
fn skipping_the_directory_flush_is_noticed() {
    assert_noticed(|p| p.skip_directory_flush = true);
    assert_noticed_by_cuts(|p| p.skip_directory_flush = true);
}

#[test]
fn believing_a_second_flush_is_noticed() {
    assert_noticed(|p| p.retry_failed_flush = true);
    let retrying = planted(|p| p.retry_failed_flush = true);
    let found = faults::notices(retrying);
    let (call, failure) = found.expect("no failed flush noticed the retry");
    println!("{retrying:?}\n  noticed at flush {call}: {failure}");
}

#[test]
fn four_cached_batches_are_noticed() {
    assert_noticed(|p| p.four_cached_batches = true);
    assert_noticed_by_cuts(|p| p.four_cached_batches = true);
}

#[test]
fn a_last_stable_offset_off_by_one_is_noticed() {
    assert_noticed(|p| p.lso_off_by_one = true);
    assert_noticed_by_cuts(|p| p.lso_off_by_one = true);
}

#[test]
fn markers_that_are_not_idempotent_are_noticed() {
    assert_noticed(|p| p.markers_not_idempotent = true);
}

#[test]
fn an_index_that_is_trusted_unchecked_is_noticed() {
    assert_noticed_by_cuts(|p| p.trust_index = true);
}
