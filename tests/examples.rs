//! Every example runs, and its own assertions hold.
//!
//! The examples are modules of this test, so that no second build is needed to run them.

use std::error::Error;
use std::process::Command;

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

mod readme {
    #![expect(clippy::print_stdout, reason = "an example shows what it does")]

    include!("support/readme.rs");

    pub(super) fn run() -> oncelog::Result<()> {
        main()
    }
}

/// Says that this process is to run the example where it is.
const IN_PLACE: &str = "ONCELOG_README_IN_PLACE";

// In processes of its own, for it writes into the working directory.
#[test]
fn readme_runs_twice_and_is_word_for_word_in_the_readme() -> Outcome {
    if std::env::var_os(IN_PLACE).is_some() {
        return Ok(readme::run()?);
    }
    let source = include_str!("support/readme.rs");
    let (_, code) = source.split_once("\n\n").ok_or("no header")?;
    assert!(include_str!("../README.md").contains(code));
    let directory = tempfile::tempdir()?;
    for run in 0..2 {
        let name = "readme_runs_twice_and_is_word_for_word_in_the_readme";
        let output = Command::new(std::env::current_exe()?)
            .args([name, "--exact", "--nocapture"])
            .env(IN_PLACE, "1")
            .current_dir(directory.path())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&format!("at offset {run}")), "{text}");
    }
    Ok(())
}

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
