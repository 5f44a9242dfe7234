//! The `oncelog` command: a broker for Kafka clients on one data directory.

mod cli;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(arguments) => cli::serve(arguments),
        Command::Settings => {
            cli::list_settings();
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::complain("error", &failure);
            if let Some(hint) = failure.hint() {
                cli::complain("hint", &hint);
            }
            ExitCode::from(failure.code())
        }
    }
}
