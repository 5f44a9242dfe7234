//! The `oncelog` command: a broker for Kafka clients on one data directory.

mod cli;

use clap::Parser;
use cli::{Cli, Command, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { command: Command::Serve(arguments) } = Cli::parse();
    match cli::serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::complain("error", &failure);
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                Failure::Serve(_) => ExitCode::FAILURE,
            }
        }
    }
}
