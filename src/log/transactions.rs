//! What a transaction coordinator asks of a log: which transactions are open, and a guard against
//! late appends that would open one again.

use super::LogInner;
use super::api::{OpenTransaction, Verification};
use crate::error::Result;
use crate::producer::{VerificationGuard, VerificationRequest};
use std::time::Duration;

impl LogInner {
    /// See [`Log::open_transactions`](super::Log::open_transactions).
    pub(super) fn open_transactions(&self) -> Vec<OpenTransaction> {
        let now_ms = self.shared.io.clock.now_ms();
        // A clock that was set back makes nothing older than it is.
        let since = |ms: i64| {
            let span = now_ms.saturating_sub(ms);
            Duration::from_millis(u64::try_from(span).unwrap_or(0))
        };
        let state = self.state.lock();
        let open = state.producers.open_transactions().map(|txn| OpenTransaction {
            producer_id: txn.producer_id,
            producer_epoch: txn.producer_epoch,
            first_offset: txn.first_offset,
            age: since(txn.started_ms),
            idle: since(txn.last_used_ms),
        });
        open.collect()
    }

    /// See [`Log::begin_verification`](super::Log::begin_verification).
    pub(super) fn begin_verification(
        &self,
        of: &Verification,
    ) -> Result<Option<VerificationGuard>> {
        self.check_alive()?;
        let request = VerificationRequest {
            producer_id: of.producer_id,
            producer_epoch: of.producer_epoch,
            base_sequence: of.base_sequence,
            supports_epoch_bump: of.supports_epoch_bump,
            now_ms: self.shared.io.clock.now_ms(),
        };
        let guard = self.state.lock().producers.create_guard(&request)?;
        Ok((guard != VerificationGuard::NOT_NEEDED).then_some(guard))
    }
}
