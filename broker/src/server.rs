//! The listening server: opens the engine, accepts connections, and closes cleanly.

use crate::config::{Config, parse_listener};
use crate::connection::{self, Limits};
use crate::handler::{Address, Broker};
use oncelog::io::StorageInfo;
use oncelog::{Backend, Engine, EngineOptions, RecoveryReport};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What to serve, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The data directory; created if missing.
    pub data_dir: PathBuf,
    /// Host and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// The broker's configuration.
    pub config: Config,
}

impl ServeOptions {
    /// Serves `data_dir` on a free port of the loopback interface, with default settings.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), listen: "127.0.0.1:0".into(), config: Config::default() }
    }
}

/// Why a server did not start or did not close cleanly.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    Listen {
        /// The address as given.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The engine refused its data directory, or failed.
    Engine(oncelog::Error),
    /// A task of the server ended abnormally; this is a defect.
    Task(tokio::task::JoinError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Engine(error) => write!(f, "{error}"),
            Self::Task(error) => write!(f, "a task of the server failed: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<oncelog::Error> for ServeError {
    fn from(error: oncelog::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<tokio::task::JoinError> for ServeError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error)
    }
}

/// A running broker. Dropping it stops accepting; [`shutdown`](Self::shutdown) closes it cleanly.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    engine: Engine,
    notices: Vec<String>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// How long connections get to finish what they acknowledged before the engine is closed.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The request budget when the configuration leaves it open.
const BUDGET_BYTES_DEFAULT: i64 = 256 << 20;

impl Server {
    /// Opens the engine and the listener; clients can connect when this returns.
    ///
    /// # Errors
    /// [`ServeError`]: the address is taken, or the data directory cannot be opened.
    pub async fn start(options: ServeOptions) -> Result<Self, ServeError> {
        let listener = listen(&options.listen).await?;
        let local_addr = listener.local_addr().map_err(|e| listen_error(&options.listen, e))?;
        let config = options.config;
        let address = advertised(&config, local_addr);
        let limits = limits(&config);
        let max_connections = usize::try_from(config.settings.max_connections).unwrap_or(0);
        let engine_options = engine_options(options.data_dir, &config);
        let opening = move || -> oncelog::Result<(Engine, Broker)> {
            let engine = Engine::open(engine_options)?;
            let broker = Broker::open(engine.clone(), config, address)?;
            Ok((engine, broker))
        };
        let (engine, broker) = tokio::task::spawn_blocking(opening).await??;
        let mut notices = damage(&engine);
        notices.extend(broker.notices());
        let (stop, stopped) = watch::channel(false);
        let accepting = Accepting {
            listener,
            broker: Arc::new(broker),
            limits,
            connections: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            stopped,
        };
        let accepting = tokio::spawn(accepting.run());
        Ok(Self { local_addr, engine, notices, stop, accepting })
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The I/O backend in use, and why.
    #[must_use]
    pub fn storage_info(&self) -> StorageInfo {
        self.engine.storage_info()
    }

    /// What of the stored state could not be used, one sentence each.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How long recovery took.
    #[must_use]
    pub fn recovery_time(&self) -> Duration {
        self.engine.recovery_time()
    }

    /// Stops accepting, answers what was acknowledged, and closes the engine.
    ///
    /// # Errors
    /// [`ServeError::Engine`] if the clean close failed; the next start then recovers.
    pub async fn shutdown(self) -> Result<(), ServeError> {
        // With no receiver left every task has ended already.
        self.stop.send_replace(true);
        self.accepting.await?;
        tokio::task::spawn_blocking(move || self.engine.close()).await??;
        Ok(())
    }
}

struct Accepting {
    listener: TcpListener,
    broker: Arc<Broker>,
    limits: Limits,
    connections: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self) {
        let mut stopped = self.stopped.clone();
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = connection::stopped(&mut stopped) => break,
                _ = tasks.join_next(), if !tasks.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut tasks),
                    // Out of descriptors: let connections that close make room.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
        drop(self.listener);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tasks.shutdown().await;
        }
    }

    fn admit(&self, stream: tokio::net::TcpStream, peer: SocketAddr, tasks: &mut JoinSet<()>) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else { return };
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (broker, limits) = (Arc::clone(&self.broker), self.limits.clone());
        let stopped = self.stopped.clone();
        tasks.spawn(async move {
            connection::serve(stream, peer, broker, limits, stopped).await;
            drop(place);
        });
    }
}

async fn listen(address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|e| listen_error(address, e))
}

fn listen_error(address: &str, source: io::Error) -> ServeError {
    ServeError::Listen { address: address.to_owned(), source }
}

/// Where clients are told to connect: what was configured, or the bound address, with an address
/// that means "every interface" replaced by the loopback one (B-15).
fn advertised(config: &Config, bound: SocketAddr) -> Address {
    let configured = config.settings.advertised_listeners.as_deref().map(parse_listener);
    if let Some(Ok((host, port))) = configured {
        return Address { host, port: if port == 0 { bound.port() } else { port } };
    }
    let host =
        if bound.ip().is_unspecified() { "127.0.0.1".into() } else { bound.ip().to_string() };
    Address { host, port: bound.port() }
}

/// What recovery found damaged: readers of these ranges get an error that says where to go on.
fn damage(engine: &Engine) -> Vec<String> {
    let ranges = |report: &RecoveryReport| {
        let ranges = report.damaged.iter().map(|(first, next)| format!("{first} to {next}"));
        ranges.collect::<Vec<_>>().join(", ")
    };
    let reports = engine.recovery_reports();
    let damaged = reports.iter().filter(|report| !report.damaged.is_empty());
    damaged
        .map(|r| format!("{}: damaged on disk, unreadable offsets: {}", r.log, ranges(r)))
        .collect()
}

fn limits(config: &Config) -> Limits {
    let settings = &config.settings;
    let budget = match settings.queued_max_request_bytes {
        bytes if bytes < 0 => BUDGET_BYTES_DEFAULT,
        bytes => bytes,
    };
    let budget_kib = u32::try_from(budget / 1024).unwrap_or(u32::MAX / 2).max(1);
    Limits {
        budget: Arc::new(Semaphore::new(budget_kib as usize)),
        budget_kib,
        frame_bytes_max: usize::try_from(settings.socket_request_max_bytes).unwrap_or(0),
        idle_max: u64::try_from(settings.connections_max_idle_ms).ok().map(Duration::from_millis),
    }
}

fn engine_options(data_dir: PathBuf, config: &Config) -> EngineOptions {
    let mut options = EngineOptions::new(data_dir);
    options.log = crate::config::log_config(&config.settings, &crate::config::Overrides::new());
    options.backend = match config.settings.log_io_backend.as_str() {
        "uring" => Backend::Uring,
        "std" => Backend::Std,
        _ => Backend::Auto,
    };
    options
}
