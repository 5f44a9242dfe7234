//! The figures of docs/bench.md: `cargo bench --bench report -- SCENARIO …`.
//!
//! Every scenario alternates short slices of the physical limit and of the engine, and prints the
//! median of the ratios of neighbours: a disk changes its mind between runs, seldom between slices.
#![expect(clippy::print_stdout, reason = "its output is the report")]

mod cost;
mod durable;
mod open;
mod read;

use oncelog::Backend;
use oncelog_bench::Outcome;
use oncelog_bench::place::Place;
use std::time::Duration;

/// What a scenario is given.
pub(crate) struct Run {
    pub(crate) place: Place,
    pub(crate) args: Vec<String>,
    pub(crate) pairs: usize,
    pub(crate) slice: Duration,
}

impl Run {
    /// The numbers given as `name=1,2,3`, or `default`.
    pub(crate) fn numbers(&self, name: &str, default: &[usize]) -> Outcome<Vec<usize>> {
        let given = self.args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        let Some(given) = given else { return Ok(default.to_vec()) };
        let numbers: Result<Vec<usize>, _> = given.split(',').map(str::parse).collect();
        Ok(numbers?)
    }

    /// The backend given as `backend=std`, `uring` or, by default, `auto`.
    pub(crate) fn backend(&self) -> Backend {
        match self.word("backend") {
            Some("std") => Backend::Std,
            Some("uring") => Backend::Uring,
            _ => Backend::Auto,
        }
    }

    /// The word given as `name=word`.
    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        self.args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
    }
}

const USAGE: &str = "usage: cargo bench --bench report -- SCENARIO [name=value …]
  durable   append and wait for the flush    sizes=… writers=… as=threads|tasks backend=std|uring|auto
  limits    the disk by itself               sizes=…
  dedup     idempotent and transactional     sizes=…
  producers a million producers              producers=…
  logs      many logs                        logs=… writers=…
  read      from end to end                  sizes=… mib=…
  open      after a clean close, after a kill  mib=…
every scenario: pairs=9 ms=250";

fn main() -> Outcome {
    // `cargo bench` itself adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let Some(scenario) = args.first().cloned() else {
        println!("{USAGE}");
        return Ok(());
    };
    if scenario == "fill" {
        // A child of the scenario "open".
        let place = Place::new(env!("CARGO_TARGET_TMPDIR"), "fill")?;
        return open::fill_and_die(&Run { place, args, pairs: 1, slice: Duration::ZERO });
    }
    let place = Place::new(env!("CARGO_TARGET_TMPDIR"), "report")?;
    let mut run = Run { place, args, pairs: 9, slice: Duration::from_millis(250) };
    run.pairs = run.numbers("pairs", &[9])?.first().copied().unwrap_or(9);
    let ms = run.numbers("ms", &[250])?.first().copied().unwrap_or(250);
    run.slice = Duration::from_millis(u64::try_from(ms)?);
    println!("directory {} on {}", run.place.path().display(), run.place.file_system()?);
    match scenario.as_str() {
        "durable" => durable::durable(&run),
        "limits" => durable::limits(&run),
        "dedup" => cost::dedup(&run),
        "producers" => cost::producers(&run),
        "logs" => cost::logs(&run),
        "read" => read::read(&run),
        "open" => open::open(&run),
        _ => Err(format!("there is no scenario {scenario}\n{USAGE}").into()),
    }
}
