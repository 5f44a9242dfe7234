//! Every crash point of a scripted workload, in every way the power can go.

use crate::history::{History, Plan};

#[test]
fn histories_of_one_step_to_many_end_in_a_crash_anywhere() {
    // Short histories are cheap, and most of what goes wrong goes wrong early.
    for seed in 1_000_000..1_002_000 {
        for steps in [1, 3, 8] {
            let mut plan = Plan::new(seed);
            plan.steps = steps;
            History::run(&plan).unwrap_or_else(|failure| panic!("seed {seed}/{steps}: {failure}"));
        }
    }
}
