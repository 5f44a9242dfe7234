//! Reading batch by batch: as a blocking iterator, and as a task that follows the log's end.

use super::Log;
use super::api::{AbortedTxn, Isolation, ReadOptions};
use crate::batch::{Batch, MarkerKind};
use crate::error::{ErrorKind, Result};
use crate::types::{Offset, ProducerId};
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// Tells a read-committed reader which batches of a read are its to see (T-18).
///
/// Made of [`ReadOutcome::aborted`](super::ReadOutcome::aborted), and asked about every batch of
/// that outcome, in order.
#[derive(Clone, Debug)]
pub struct CommittedFilter {
    /// Transactions not reached yet, by first offset.
    ahead: VecDeque<AbortedTxn>,
    /// Producers inside a transaction that will be aborted.
    aborting: HashSet<ProducerId>,
}

impl CommittedFilter {
    /// A filter for an outcome with these aborted transactions.
    #[must_use]
    pub fn new(aborted: &[AbortedTxn]) -> Self {
        let mut ahead = aborted.to_vec();
        ahead.sort_unstable();
        Self { ahead: ahead.into(), aborting: HashSet::new() }
    }

    /// Whether `batch` holds records for the reader: it is no control batch, and not of an aborted
    /// transaction.
    pub fn delivers(&mut self, batch: &Batch<'_>) -> bool {
        while let Some(txn) = self.ahead.pop_front_if(|t| t.first_offset <= batch.last_offset()) {
            self.aborting.insert(txn.producer_id);
        }
        if batch.is_control() {
            let marker = batch.end_marker().ok().flatten();
            if marker.is_some_and(|marker| marker.kind == MarkerKind::Abort) {
                self.aborting.remove(&batch.producer_id());
            }
            return false;
        }
        !(batch.is_transactional() && self.aborting.contains(&batch.producer_id()))
    }
}

/// One batch out of a log, keeping its memory alive.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    bytes: Bytes,
}

impl StoredBatch {
    /// The batch.
    ///
    /// # Panics
    /// Never: the bytes were parsed when this was made.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        let (batch, _) = Batch::parse(&self.bytes).expect("a stored batch was parsed before");
        batch
    }

    /// Its bytes, as they are stored.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Reads a log batch by batch, control batches and (for read-committed readers) aborted ones left
/// out. As an [`Iterator`] it ends where the reader may not see further yet; [`next_batch`] waits
/// there instead.
///
/// [`next_batch`]: BatchReader::next_batch
#[derive(Debug)]
pub struct BatchReader {
    log: Log,
    options: ReadOptions,
    next_offset: Offset,
    /// What was read and not handed out.
    slices: VecDeque<Bytes>,
    filter: CommittedFilter,
    /// As an iterator it met an error that has no other side.
    ended: bool,
}

impl BatchReader {
    pub(super) fn new(log: Log, from: Offset, isolation: Isolation) -> Self {
        let options = ReadOptions { isolation, ..ReadOptions::default() };
        let filter = CommittedFilter::new(&[]);
        Self { log, options, next_offset: from, slices: VecDeque::new(), filter, ended: false }
    }

    /// Where the reader stands: the offset after the last batch handed out or left out.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.next_offset
    }

    /// The next batch that is there already, `None` at the reader's bound.
    ///
    /// # Errors
    /// As [`Log::read`]. After [`ErrorKind::Corrupt`] the reader can go on from `next` with
    /// [`BatchReader::seek`].
    pub fn try_next(&mut self) -> Result<Option<StoredBatch>> {
        loop {
            while let Some(slice) = self.slices.front_mut() {
                let Some(size) = Batch::peek_len(slice).filter(|size| *size <= slice.len()) else {
                    self.slices.pop_front();
                    continue;
                };
                let bytes = slice.split_to(size);
                let (batch, _) = Batch::parse(&bytes)?;
                self.next_offset = self.next_offset.max(batch.next_offset());
                if self.filter.delivers(&batch) {
                    return Ok(Some(StoredBatch { bytes }));
                }
            }
            let outcome = self.log.read(self.next_offset, &self.options)?;
            if outcome.slices.is_empty() {
                return Ok(None);
            }
            self.filter = CommittedFilter::new(&outcome.aborted);
            self.slices = outcome.slices.into();
        }
    }

    /// The next batch, waiting for it as a task if need be. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`BatchReader::try_next`].
    pub async fn next_batch(&mut self) -> Result<StoredBatch> {
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            self.log.wait_for(self.next_offset, self.options.isolation).await?;
        }
    }

    /// The next batch, waiting for at most `timeout` on this thread; `None` if none came.
    ///
    /// # Errors
    /// As [`BatchReader::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<StoredBatch>> {
        if let Some(batch) = self.try_next()? {
            return Ok(Some(batch));
        }
        let waiting = self.log.wait_for(self.next_offset, self.options.isolation);
        if waiting.wait(timeout)? { self.try_next() } else { Ok(None) }
    }

    /// Goes on at `offset`.
    pub fn seek(&mut self, offset: Offset) {
        self.slices.clear();
        self.next_offset = offset;
    }
}

impl Iterator for BatchReader {
    type Item = Result<StoredBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.try_next();
        if let Err(error) = &next {
            // Damage has a known end, behind which there is more; any other error comes once.
            match *error.kind() {
                ErrorKind::Corrupt { next, .. } if next > self.next_offset => self.seek(next),
                _ => self.ended = true,
            }
        }
        next.transpose()
    }
}
