//! The engine's calls for transactions over several logs, and when their log is loaded.

use super::{Engine, EngineInner};
use crate::error::{ErrorKind, Result};
use crate::log::Log;
use crate::options::{LogConfig, LogName};
use crate::txn::{self, Transaction};
use crate::types::Offset;

impl Engine {
    /// Begins a transaction over any logs of this engine. Any number may be open at once; the first
    /// ever creates a log for decisions and positions in the first data directory.
    ///
    /// # Errors
    /// - [`ErrorKind::Corrupt`]: the log of decisions and positions is damaged. Reads and appends
    ///   outside of transactions go on; what was undecided stays undecided.
    /// - [`ErrorKind::Poisoned`]: it failed; open the engine again.
    /// - [`ErrorKind::NewerFormat`]: a later version has written to it.
    /// - [`ErrorKind::Io`], [`ErrorKind::Closed`].
    ///
    /// # Complexity
    /// O(log of open transactions). The first call after a clean close reads the decisions and
    /// positions since they were last summed up, at most some megabytes.
    ///
    /// [`ErrorKind::Corrupt`]: crate::ErrorKind::Corrupt
    /// [`ErrorKind::Poisoned`]: crate::ErrorKind::Poisoned
    /// [`ErrorKind::NewerFormat`]: crate::ErrorKind::NewerFormat
    /// [`ErrorKind::Io`]: crate::ErrorKind::Io
    /// [`ErrorKind::Closed`]: crate::ErrorKind::Closed
    pub fn begin(&self) -> Result<Transaction> {
        self.inner.registry.check_open()?;
        if !self.inner.load_transactions()? {
            self.inner.create_transaction_log()?;
        }
        self.inner.transactions.begin()
    }

    /// The position of `group` in `log`, as stored by the transactions that are committed; `None` if
    /// none has stored one. Never shows one that a crash could take back.
    ///
    /// # Errors
    /// As [`Engine::begin`]; [`ErrorKind::Invalid`] if the log is another engine's.
    ///
    /// # Complexity
    /// O(log of positions).
    ///
    /// [`ErrorKind::Invalid`]: crate::ErrorKind::Invalid
    pub fn position(&self, group: &str, log: &Log) -> Result<Option<Offset>> {
        self.inner.registry.check_open()?;
        self.inner.load_transactions()?;
        self.inner.transactions.position(group, log)
    }
}

impl EngineInner {
    /// Loads the transaction log if it was not, and ends what is unfinished; `false` if there is none.
    pub(super) fn load_transactions(&self) -> Result<bool> {
        let coordinator = &self.transactions;
        if coordinator.is_ready()? {
            return Ok(true);
        }
        let _one_at_a_time = coordinator.lock_loading();
        if coordinator.is_ready()? {
            return Ok(true);
        }
        let Some(log) = self.find_any(&txn::log_name())? else { return Ok(false) };
        let loaded: Vec<Log> =
            self.registry.all().iter().filter_map(|slot| slot.loaded()).collect();
        coordinator.load(&log, &loaded, &|name| self.find_any(name))?;
        Ok(true)
    }

    fn create_transaction_log(&self) -> Result<()> {
        let coordinator = &self.transactions;
        let _one_at_a_time = coordinator.lock_loading();
        if coordinator.is_ready()? {
            return Ok(());
        }
        let random = &self.shared.io.random;
        let mut id = [0; 16];
        for half in id.chunks_exact_mut(8) {
            half.copy_from_slice(&random.next_u64().to_be_bytes());
        }
        let log = self.create(&txn::log_name(), id, LogConfig::default(), Some(0))?;
        coordinator.load(&log, &[], &|name| self.find_any(name))
    }

    /// The log of that name, if there is one.
    fn find_any(&self, name: &LogName) -> Result<Option<Log>> {
        match self.find(name) {
            Ok(log) => Ok(Some(log)),
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
