//! The command line: arguments, the one line of output, signals and exit codes.
//!
//! Exit codes: 0 after a clean close, 1 when serving failed, 2 when the command line or the
//! configuration is wrong. This is the only module that prints.

use clap::{Args, Parser, Subcommand};
use oncelog_broker::{Config, ServeError, ServeOptions, Server};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A small exactly-once broker for Kafka clients.
#[derive(Debug, Parser)]
#[command(name = "oncelog", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a data directory to Kafka clients until SIGTERM or SIGINT.
    ///
    /// An acknowledgement means that the data is on stable storage, whatever `acks` a producer
    /// asks for; `--set log.durability=written` weakens that to surviving a kill of the process.
    #[command(after_help = "Examples:\n  \
        oncelog serve\n  \
        oncelog serve --data-dir /var/lib/oncelog --listen 0.0.0.0:9092\n  \
        oncelog serve --ephemeral --listen 127.0.0.1:0 --set num.partitions=4")]
    Serve(ServeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Directory of the logs; created if missing.
    #[arg(long, value_name = "DIR", default_value = "oncelog-data")]
    data_dir: PathBuf,

    /// Address to listen on; port 0 takes a free one and prints it.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,

    /// Configuration in Java's properties syntax, with Kafka's names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// One setting with Kafka's name; wins over the file. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    set: Vec<String>,

    /// Keep the data in a fresh temporary directory and delete it at exit.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,

    /// Refuse unknown configuration keys instead of warning.
    #[arg(long)]
    strict_config: bool,
}

/// Why the command ends with a code other than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong: code 2.
    Usage(String),
    /// Serving failed: code 1.
    Serve(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Serve(sentence) => f.write_str(sentence),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::Serve(error.to_string())
    }
}

/// Serves until a signal; the data directory is closed cleanly when this returns `Ok`.
pub(crate) fn serve(arguments: ServeArguments) -> Result<(), Failure> {
    let config = configuration(&arguments)?;
    for warning in &config.warnings {
        complain("warning", warning);
    }
    let ephemeral = arguments.ephemeral.then(EphemeralDir::new);
    let data_dir = match &ephemeral {
        Some(directory) => directory.path.clone(),
        None => arguments.data_dir,
    };
    let mut options = ServeOptions::new(data_dir);
    options.listen = arguments.listen;
    options.config = config;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Serve(format!("cannot start the runtime: {e}")))?;
    let outcome = runtime.block_on(until_signal(options));
    // A close that a second signal cut short must not be waited for.
    runtime.shutdown_background();
    outcome
}

async fn until_signal(options: ServeOptions) -> Result<(), Failure> {
    let data_dir = options.data_dir.clone();
    let durability = options.config.settings.log_durability.clone();
    // Before the port opens, so that no early signal is missed.
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        server = Server::start(options) => server?,
        () = signals.next() => return Ok(()),
    };
    for notice in server.notices() {
        complain("warning", notice);
    }
    announce(&server, &data_dir, &durability);
    signals.next().await;
    tokio::select! {
        closed = server.shutdown() => Ok(closed?),
        () = signals.next() => {
            Err(Failure::Serve("stopped before the clean close was done; the next start recovers".into()))
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let install =
            |kind| signal(kind).map_err(|e| Failure::Serve(format!("cannot handle signals: {e}")));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn configuration(arguments: &ServeArguments) -> Result<Config, Failure> {
    let file = arguments.config.as_deref().map(read_config).transpose()?;
    let in_file = |sentence: String| match &arguments.config {
        Some(path) if sentence.starts_with("line ") => format!("{}: {sentence}", path.display()),
        _ => sentence,
    };
    Config::load(file.as_deref(), &arguments.set, arguments.strict_config)
        .map_err(|sentence| Failure::Usage(in_file(sentence)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "read once, before there is an engine to read through"
)]
fn read_config(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("cannot read {}: {e}", path.display())))
}

/// A data directory that goes with the process.
struct EphemeralDir {
    path: PathBuf,
}

impl EphemeralDir {
    fn new() -> Self {
        let name =
            format!("oncelog-{}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
        Self { path: std::env::temp_dir().join(name) }
    }
}

impl Drop for EphemeralDir {
    #[expect(clippy::disallowed_methods, reason = "the engine that owned the files is closed")]
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            complain("warning", &format!("cannot delete {}: {error}", self.path.display()));
        }
    }
}

/// Prints the one line that says the broker is ready.
#[expect(clippy::print_stdout, reason = "the command's output")]
fn announce(server: &Server, data_dir: &Path, durability: &str) {
    let storage = server.storage_info();
    println!(
        "oncelog listening on {}; data in {}; acknowledged means {durability}; I/O {} ({}); recovered in {:.1} ms",
        server.local_addr(),
        data_dir.display(),
        storage.backend,
        storage.reason,
        server.recovery_time().as_secs_f64() * 1000.0,
    );
}

/// Says on the standard error stream what the operator should know.
#[expect(clippy::print_stderr, reason = "the command's complaints")]
pub(crate) fn complain(severity: &str, sentence: &dyn fmt::Display) {
    eprintln!("{severity}: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn several_settings_follow_one_flag_or_several() {
        let line = ["oncelog", "serve", "--set", "a=1", "b=2", "--set", "c=3"];
        let Command::Serve(arguments) = Cli::try_parse_from(line).unwrap().command;
        assert_eq!(arguments.set, ["a=1", "b=2", "c=3"]);
    }

    #[test]
    fn an_ephemeral_broker_takes_no_directory() {
        let line = ["oncelog", "serve", "--ephemeral", "--data-dir", "x"];
        assert!(Cli::try_parse_from(line).is_err());
    }
}
