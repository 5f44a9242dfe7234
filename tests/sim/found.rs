//! What the simulator found once, each as a small script that is cut everywhere.

use crate::exhaustive::survives_every_cut;
use crate::script::{
    Setup,
    Step::{self, Create, Roll, Tick, Trim, Truncate, Wait},
};

fn data(log: usize, pid: i64, count: usize, bytes: usize) -> Step {
    Step::Data { log, pid, count, bytes }
}

/// The removal of a state file was lost in the power cut that kept the shortened log, so producers
/// knew of batches that were gone, and refused what came next.
#[test]
fn a_truncation_cut_short_leaves_no_producers_ahead_of_their_log() {
    let mut script = vec![Create(0)];
    for _ in 0..8 {
        script.extend([data(0, 1, 1, 700), Wait(0)]);
    }
    script.extend([Tick, Truncate(0, 5), data(0, 1, 1, 10), Wait(0)]);
    survives_every_cut(Setup::default(), &script);
}

/// Likewise the removal of whole segments: without one of the middle there would be a hole.
#[test]
fn a_truncation_over_segments_cut_short_leaves_no_hole() {
    let mut script = vec![Create(0)];
    for _ in 0..12 {
        script.extend([data(0, 1, 1, 1300), Wait(0)]);
    }
    script.extend([Tick, Truncate(0, 9)]);
    let setup = Setup { segment_bytes: 4096, ..Setup::default() };
    survives_every_cut(setup, &script);
}

/// A process that was killed while it created a log left names that nobody had flushed. The next one
/// found the log, acknowledged appends to it, and the power cut took all of it.
#[test]
fn a_log_that_a_killed_process_left_half_created_survives_a_later_cut() {
    survives_every_cut(Setup::default(), &[Create(0), Create(1), data(1, 1, 1, 10), Wait(1)]);
}

/// Retention took two segments, and the power cut kept one of the renames: the file of the later segment was
/// gone, the earlier one back. The log had lost its end then, or was refused for the index that lay there alone.
#[test]
fn a_retention_cut_short_leaves_no_hole_before_the_log_start() {
    let mut script = vec![Create(0)];
    for _ in 0..3 {
        script.extend([data(0, 1, 2, 700), Wait(0), Roll(0)]);
    }
    script.extend([Tick, Trim(0, 100), Tick]);
    survives_every_cut(Setup::default(), &script);
}
