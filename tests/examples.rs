//! Every example runs, and its own assertions hold.
//!
//! The examples are modules of this test, so that no second build is needed to run them.

use std::error::Error;

type Outcome = Result<(), Box<dyn Error>>;

#[path = "../examples/append_and_read.rs"]
mod append_and_read;
#[path = "../examples/crash_and_recover.rs"]
mod crash_and_recover;
#[path = "../examples/custom_storage.rs"]
mod custom_storage;
#[path = "../examples/dedup_across_restart.rs"]
mod dedup_across_restart;
#[path = "../examples/tailing.rs"]
mod tailing;
#[path = "../examples/transaction.rs"]
mod transaction;

#[test]
fn append_and_read() -> Outcome {
    append_and_read::main()
}

#[test]
fn dedup_across_restart() -> Outcome {
    dedup_across_restart::main()
}

#[test]
fn transaction() -> Outcome {
    transaction::main()
}

#[test]
fn tailing() -> Outcome {
    tailing::main()
}

// Its second process is this test alone, by name: keep the name.
#[test]
fn crash_and_recover() -> Outcome {
    crash_and_recover::main()
}

#[test]
fn custom_storage() -> Outcome {
    custom_storage::main()
}
