//! An engine: data directories, the registry of their logs, and the work done in the background.

use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, StorageInfo};
use crate::log::Log;
use crate::options::{EngineOptions, LogConfig, LogName};
use std::time::Duration;

/// A set of data directories and the logs in them. Cheap to clone; the last clone closes it.
#[derive(Clone, Debug)]
pub struct Engine {}

fn skeleton<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Closed, "skeleton"))
}

impl Engine {
    /// Opens the data directories, recovering what a crash left.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`], [`ErrorKind::NewerFormat`], [`ErrorKind::Invalid`], [`ErrorKind::Io`].
    pub fn open(_options: EngineOptions) -> Result<Self> {
        skeleton()
    }

    /// [`Engine::open`] on a custom or simulated outside world.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(_options: EngineOptions, _io: Io) -> Result<Self> {
        skeleton()
    }

    /// Creates a log; durable when this returns. `id` is the topic's 16-byte id.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::Invalid`], [`ErrorKind::Io`].
    pub fn create_log(&self, _name: &LogName, _id: [u8; 16], _config: LogConfig) -> Result<Log> {
        skeleton()
    }

    /// Opens a log that exists. The configuration is the engine's default until
    /// [`Log::set_config`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or what recovery found.
    pub fn log(&self, _name: &LogName) -> Result<Log> {
        skeleton()
    }

    /// Every log with its 16-byte topic id, in name order.
    #[must_use]
    pub fn logs(&self) -> Vec<(LogName, [u8; 16])> {
        Vec::new()
    }

    /// Removes a log; its name is free and its data gone for good when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`].
    pub fn delete_log(&self, _name: &LogName) -> Result<()> {
        skeleton()
    }

    /// Applies retention, expires producers, removes old files. A background thread calls it too.
    pub fn tick(&self) {}

    /// The backend in use and why.
    #[must_use]
    pub fn storage_info(&self) -> StorageInfo {
        StorageInfo::new("skeleton", "")
    }

    /// How long opening (with recovery) took.
    #[must_use]
    pub fn recovery_time(&self) -> Duration {
        Duration::ZERO
    }

    /// Writes and flushes everything, then marks the directories cleanly closed.
    ///
    /// # Errors
    /// The first failure; the next open then recovers.
    pub fn close(&self) -> Result<()> {
        skeleton()
    }
}
