//! What an administrator sees of transactional ids (C-47, C-48).

use super::coordinator::Coordinator;
use super::error::TxnError;
use super::state::{Identity, State, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A transactional id as its coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// Kafka's name of its state.
    pub(crate) state: &'static str,
    pub(crate) producer: Identity,
    pub(crate) timeout_ms: i32,
    /// When the transaction under way began, −1 if none is.
    pub(crate) start_ms: i64,
    /// The partitions in it, by topic.
    pub(crate) topics: BTreeMap<Arc<str>, Vec<i32>>,
}

/// Whether a state has this name.
pub(crate) fn is_state(name: &str) -> bool {
    State::ALL.into_iter().any(|state| state.name() == name)
}

impl From<Transaction> for Described {
    fn from(txn: Transaction) -> Self {
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &txn.partitions {
            topics.entry(topic.clone()).or_default().push(*partition);
        }
        let producer = txn.identity();
        let (timeout_ms, start_ms) = (txn.timeout_ms, txn.start_ms);
        Self { state: txn.state.name(), producer, timeout_ms, start_ms, topics }
    }
}

impl Coordinator {
    /// One transactional id.
    pub(crate) fn describe(&self, id: &str) -> Result<Described, TxnError> {
        let slot = match self.shared.find(id) {
            Err(TxnError::InvalidProducerIdMapping) => return Err(TxnError::NotFound),
            found => found?,
        };
        slot.known().map(Described::from).ok_or(TxnError::NotFound)
    }

    /// Every transactional id, in no order.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Described)> {
        let slots = self.shared.all().into_iter();
        slots.filter_map(|slot| Some((slot.id.clone(), slot.known()?.into()))).collect()
    }
}
