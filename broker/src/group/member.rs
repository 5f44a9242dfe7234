//! One member of a classic group: who it is, what it supports, and the request it has parked.

use bytes::Bytes;
use std::sync::Arc;

/// A request that waits for its answer; the number is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Waiter(pub(super) u64);

/// A way of assigning work that a member supports, with bytes the broker does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: Arc<str>,
    pub(super) metadata: Bytes,
}

/// The request a member waits on. A member waits on at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked {
    Nothing,
    Join(Waiter),
    Sync(Waiter),
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// In order of preference; names are distinct.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) parked: Parked,
    /// Set until its first round completes. A new member's client may not know its id yet, so the
    /// session limit holds for it even while it waits.
    pub(super) is_new: bool,
    /// Whether its client can have learnt its id. One that has not can never come back for it.
    pub(super) id_told: bool,
    pub(super) session_deadline_ms: i64,
}

impl Member {
    /// The bytes it attached to protocol `name`, empty if it does not support it.
    pub(super) fn metadata(&self, name: &str) -> Bytes {
        let found = self.protocols.iter().find(|protocol| &*protocol.name == name);
        found.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn awaits_join(&self) -> bool {
        matches!(self.parked, Parked::Join(_))
    }

    pub(super) fn waiter(&self) -> Option<Waiter> {
        match self.parked {
            Parked::Nothing => None,
            Parked::Join(waiter) | Parked::Sync(waiter) => Some(waiter),
        }
    }

    /// When its silence ends its membership. A known member that waits for the group is alive.
    pub(super) fn expires_at_ms(&self) -> Option<i64> {
        let waits = self.parked != Parked::Nothing;
        (self.is_new || !waits).then_some(self.session_deadline_ms)
    }
}
