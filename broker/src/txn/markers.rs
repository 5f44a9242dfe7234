//! Ending a transaction in the partitions it wrote to: all markers go to the disk together (C-31).

use super::coordinator::{Coordinator, Shared, Slot};
use super::error::TxnError;
use super::state::{Partition, Transaction};
use crate::blocking::blocking;
use crate::clock;
use crate::topics::OFFSETS_TOPIC;
use oncelog::batch::{EndMarker, MarkerKind, marker_batch};
use oncelog::{
    AppendOptions, AppendTicket, Durability, ErrorKind, LeaderEpoch, Log, Offset, Origin,
    ProducerEpoch, ProducerId,
};
use std::sync::Arc;

/// A marker as the partitions will hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    end: EndMarker,
}

impl Marker {
    pub(crate) fn new(
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
        coordinator_epoch: i32,
    ) -> Self {
        let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
        Self {
            producer_id: ProducerId::new(producer_id),
            producer_epoch: ProducerEpoch::new(producer_epoch),
            end: EndMarker::new(kind, coordinator_epoch),
        }
    }
}

impl Coordinator {
    /// Writes one marker that an administrator asks for; false if there is no such partition. The
    /// state of no transactional id changes (C-51).
    pub(crate) async fn write_one(
        &self,
        topic: &str,
        index: i32,
        marker: Marker,
    ) -> oncelog::Result<bool> {
        let partition = (Arc::from(topic), index);
        let Some(log) = self.shared.log_of(&partition).await? else { return Ok(false) };
        append(&log, marker)?.await?;
        let commit = marker.end.kind == MarkerKind::Commit;
        self.shared.note_end(&partition, marker.producer_id.get(), commit);
        Ok(true)
    }
}

impl Shared {
    /// Writes the markers of a decided transaction; they are durable, and offsets in it committed or
    /// forgotten, when this returns. A partition that is gone needs none (C-32, C-33).
    pub(super) async fn write_markers(
        self: &Arc<Self>,
        slot: &Slot,
        txn: &Transaction,
    ) -> Result<(), TxnError> {
        let Some(commit) = txn.state.prepared() else { return Ok(()) };
        let epoch = self.epoch_of(slot.partition).await?;
        let marker = Marker::new(txn.producer_id, txn.producer_epoch, commit, epoch);
        let mut tickets = Vec::with_capacity(txn.partitions.len());
        for partition in &txn.partitions {
            if let Some(ticket) = self.stage(partition, marker).await? {
                tickets.push((partition, ticket));
            }
        }
        for (partition, ticket) in tickets {
            ticket.await.map_err(|error| TxnError::from_store(&error))?;
            self.note_end(partition, txn.producer_id, commit);
        }
        Ok(())
    }

    async fn stage(
        &self,
        partition: &Partition,
        marker: Marker,
    ) -> Result<Option<AppendTicket>, TxnError> {
        let log = self.log_of(partition).await.map_err(|error| TxnError::from_store(&error))?;
        let Some(log) = log else { return Ok(None) };
        match append(&log, marker) {
            Ok(ticket) => Ok(Some(ticket)),
            Err(error) => match error.kind() {
                // Somebody newer has ended it: an administrator, say.
                ErrorKind::InvalidProducerEpoch { .. } | ErrorKind::CoordinatorFenced => Ok(None),
                _ => Err(TxnError::from_store(&error)),
            },
        }
    }

    async fn log_of(&self, (topic, index): &Partition) -> oncelog::Result<Option<Log>> {
        let topics = &self.neighbours.topics;
        let Some(topic) = topics.find(topic) else { return Ok(None) };
        match topics.log(&topic, *index).await {
            Ok(log) => Ok(Some(log)),
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One marker decides for every group of the partition (G-27).
    fn note_end(&self, (topic, index): &Partition, producer_id: i64, commit: bool) {
        if &**topic == OFFSETS_TOPIC {
            self.neighbours.groups.end_transaction(*index, producer_id, commit);
        }
    }

    /// The epoch of this incarnation of the coordinator for the ids of a partition: higher than any
    /// before, and durable before a marker carries it (C-45).
    pub(super) async fn epoch_of(self: &Arc<Self>, partition: i32) -> Result<i32, TxnError> {
        // Held while the epoch is stored, so that two transactions do not begin two.
        let mut epochs = self.epochs.lock().await;
        if let Some(epoch) = epochs.get(&partition) {
            return Ok(*epoch);
        }
        let log = self.journal.log(partition).map_err(|error| TxnError::from_store(&error))?;
        let begun = blocking(move || {
            let epoch = log.leader_epoch().get().saturating_add(1);
            log.begin_leader_epoch(LeaderEpoch::new(epoch)).map(|()| epoch)
        });
        let epoch = begun.await.map_err(|error| TxnError::from_store(&error))?;
        epochs.insert(partition, epoch);
        Ok(epoch)
    }
}

fn append(log: &Log, marker: Marker) -> oncelog::Result<AppendTicket> {
    let batch = marker_batch(
        Offset::ZERO,
        LeaderEpoch::NONE,
        marker.producer_id,
        marker.producer_epoch,
        marker.end,
        clock::now_ms(),
    );
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    options.durability = Some(Durability::Durable);
    log.append(&batch, &options)
}
