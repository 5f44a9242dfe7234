//! Power cuts on a real file system: a child process writes through the engine into an ext4 image on a
//! loop device, the file system is shut down under it without its journal being flushed, and what is
//! left is mounted again and held to what the child was told.
//!
//! | file | role |
//! |---|---|
//! | `image` | the image: made, mounted, cut, unmounted |
//! | `child` | the process that writes and reads until its disk is gone, and reports every answer |
//! | `ledger` | what was reported, and the verdict after each cut |
//! | `work` | what is written: every batch follows from its writer and its number |
//!
//! Needs root, `mkfs.ext4` and loop devices; without them the tests say so and pass.
//! `ONCELOG_POWER_CUTS=n` makes n cuts. What such a cut can and cannot lose: `docs/testing.md`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failed test, and this one is about the outside world"
)]

mod child;
mod image;
mod ledger;
mod work;

use child::{Child, Life};
use image::{Image, MODES};
use ledger::Ledger;
use oncelog::{Backend, Engine};
use std::hash::{BuildHasher, RandomState};

/// Cuts of a run that names no number.
const CUTS: u64 = 5;
/// Most acknowledgements before a cut.
const ACKS_MAX: u64 = 700;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Cuts the power `cuts` times on one image, mounted in each of `modes` in turn, and returns the first
/// broken promise.
fn run(cuts: u64, modes: &[&str], plant_early_acks: bool) -> Result<(), String> {
    let image = Image::create();
    let mut ledger = Ledger::default();
    for cut in 0..cuts {
        let mode = modes[usize::try_from(cut).unwrap() % modes.len()];
        let backend = if cut % 2 == 0 { Backend::Auto } else { Backend::Std };
        let life = Life { number: cut, backend, plant_early_acks };
        let acks = 1 + RandomState::new().hash_one(cut) % ACKS_MAX;
        let mounted = image.mount(mode);
        let mut child = Child::start(&life, &mounted.data(), &ledger.unfinished());
        let before = ledger.reported();
        child.report_until(&mut ledger, before + acks)?;
        mounted.cut();
        child.kill(&mut ledger)?;
        let cut_at = ledger.reported() - before;
        drop(mounted);

        let mounted = image.mount(mode);
        let engine = Engine::open(work::options(&life, &mounted.data()))
            .map_err(|e| format!("open after cut {cut}: {e:?}"))?;
        let found = ledger
            .judge(&engine)
            .map_err(|what| format!("cut {cut} ({mode}, {backend:?}, {cut_at} acks): {what}"))?;
        let ran_on = child.backend();
        println!("cut {cut}: {mode}, {ran_on}, {cut_at} acks; {found}");
        // Now and then the next life begins with a clean close instead.
        if cut % 3 == 2 {
            engine.close().map_err(|e| format!("close after cut {cut}: {e:?}"))?;
        }
    }
    Ok(())
}

/// Whether the tests can run here; if not, says why.
fn is_possible() -> bool {
    match image::why_impossible() {
        None => true,
        Some(reason) => {
            println!("skipped: {reason}");
            false
        }
    }
}

#[test]
#[ignore = "mounts an ext4 image, which takes root; `.ci/run powercut` runs it"]
fn a_power_cut_loses_nothing_acknowledged_and_nothing_that_was_read() {
    if is_possible() {
        let cuts = number("ONCELOG_POWER_CUTS").unwrap_or(CUTS);
        run(cuts, &MODES, false).unwrap();
        println!("{cuts} power cuts survived");
    }
}

#[test]
#[ignore = "mounts an ext4 image, which takes root; `.ci/run powercut` runs it"]
fn an_acknowledgement_before_the_flush_is_noticed() {
    if is_possible() {
        // In every mode: one in which nothing is ever lost would prove nothing.
        for mode in MODES {
            let noticed = run(20, &[mode], true).expect_err(mode);
            println!("noticed: {noticed}");
        }
    }
}

/// Not a test of its own: the process that the two above start.
#[test]
#[ignore = "the process that the power cut tests start"]
fn child_process() {
    if let Some(life) = Life::from_environment() {
        child::live(&life);
    }
}
