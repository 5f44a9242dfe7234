//! Producer ids, handed out in durable blocks so that none is ever given twice (C-18).

use crate::blocking::blocking;
use crate::metadata::MetadataLog;
use crate::metadata::record::MetadataRecord;
use oncelog::{ProducerId, Result};
use tokio::sync::Mutex;

/// Ids made durable at a time; a restart skips what was left of the last block.
const BLOCK: i64 = 1000;

/// The source of producer ids.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    metadata: MetadataLog,
    node_id: i32,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// Continues after `next`, the end of the last durable block.
    pub(crate) fn new(metadata: MetadataLog, node_id: i32, next: i64) -> Self {
        Self { metadata, node_id, block: Mutex::new(Block { next, end: next }) }
    }

    /// An id that nobody was given before.
    pub(crate) async fn allocate(&self) -> Result<ProducerId> {
        let mut block = self.block.lock().await;
        if block.next >= block.end {
            let end = block.end + BLOCK;
            self.commit(end).await?;
            block.end = end;
        }
        let id = ProducerId::new(block.next);
        block.next += 1;
        Ok(id)
    }

    async fn commit(&self, next: i64) -> Result<()> {
        let metadata = self.metadata.clone();
        let record = MetadataRecord::ProducerIds { node_id: self.node_id, next };
        blocking(move || metadata.commit(&[record])).await
    }
}
