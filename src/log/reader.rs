//! Reading batch by batch: what is there, or following the log's end on a thread or in a task.

use super::Log;
use super::api::{Isolation, ReadOptions};
use super::ticket::WaitFor;
use crate::batch::{Batch, MarkerKind};
use crate::error::{ErrorKind, Result};
use crate::index::AbortedTxn;
use crate::types::{Offset, ProducerId};
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
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
/// out.
///
/// | to get | use |
/// |---|---|
/// | what is there, then stop | the reader itself, an [`Iterator`] |
/// | more as it comes, on a thread | [`blocking`](Self::blocking), an [`Iterator`] too; [`next_timeout`](Self::next_timeout) |
/// | more as it comes, in a task | [`next_batch`](Self::next_batch), a future; [`poll_next`](Self::poll_next) for a stream |
///
/// None of them needs a runtime: any executor's waker will do, and no thread or timer is used.
#[derive(Debug)]
pub struct BatchReader {
    log: Log,
    options: ReadOptions,
    next_offset: Offset,
    /// The reader's bound at the last read: there is nothing more to see below it.
    bound: Offset,
    /// What was read and not handed out.
    slices: VecDeque<Bytes>,
    filter: CommittedFilter,
    /// As an iterator it met an error that has no other side.
    ended: bool,
    /// The wait of a task that polls.
    waiting: Option<WaitFor>,
}

impl BatchReader {
    pub(super) fn new(log: Log, from: Offset, isolation: Isolation) -> Self {
        Self {
            log,
            options: ReadOptions { isolation, ..ReadOptions::default() },
            next_offset: from,
            bound: from,
            slices: VecDeque::new(),
            filter: CommittedFilter::new(&[]),
            ended: false,
            waiting: None,
        }
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
                self.bound = match self.options.isolation {
                    Isolation::ReadUncommitted => outcome.high_watermark,
                    Isolation::ReadCommitted => outcome.last_stable_offset,
                };
                return Ok(None);
            }
            self.filter = CommittedFilter::new(&outcome.aborted);
            self.slices = outcome.slices.into();
        }
    }

    /// Resolves when there may be more to see. The bound can lie behind the position, in a hole that
    /// compaction left: waiting for the position would not wait at all.
    fn wait_for_more(&self) -> WaitFor {
        self.log.wait_for(self.next_offset.max(self.bound), self.options.isolation)
    }

    /// The next batch, waiting for it as a task if need be. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`BatchReader::try_next`].
    pub async fn next_batch(&mut self) -> Result<StoredBatch> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`BatchReader::next_batch`] for a future or stream of the caller's own. The stream has no end
    /// but an error: [`ErrorKind::Closed`] when the log was closed or deleted.
    ///
    /// ```
    /// use oncelog::{BatchReader, Result, StoredBatch};
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll};
    ///
    /// struct Tail(BatchReader);
    ///
    /// // With the crate `futures-core` this is `impl Stream for Tail`, word for word.
    /// impl Tail {
    ///     fn poll_next(
    ///         mut self: Pin<&mut Self>,
    ///         cx: &mut Context<'_>,
    ///     ) -> Poll<Option<Result<StoredBatch>>> {
    ///         self.0.poll_next(cx).map(Some)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`BatchReader::try_next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<StoredBatch>> {
        loop {
            if let Some(batch) = self.try_next()? {
                self.waiting = None;
                return Poll::Ready(Ok(batch));
            }
            let mut waiting = self.waiting.take().unwrap_or_else(|| self.wait_for_more());
            if Pin::new(&mut waiting).poll(cx)?.is_pending() {
                self.waiting = Some(waiting);
                return Poll::Pending;
            }
        }
    }

    /// The next batch, waiting for at most `timeout` on this thread; `None` if none came.
    ///
    /// # Errors
    /// As [`BatchReader::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<StoredBatch>> {
        let clock = self.log.inner().clock();
        let deadline = clock.monotonic().saturating_add(timeout);
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(Some(batch));
            }
            let left = deadline.saturating_sub(clock.monotonic());
            // What came may all be markers, or aborted.
            if !self.wait_for_more().wait(left)? {
                return Ok(None);
            }
        }
    }

    /// An iterator that waits on this thread where the reader itself would end. It ends when the log
    /// is closed or deleted, or after an error that has no other side.
    #[must_use]
    pub fn blocking(self) -> BlockingBatches {
        BlockingBatches { reader: self }
    }

    /// Goes on at `offset`.
    pub fn seek(&mut self, offset: Offset) {
        self.slices.clear();
        self.next_offset = offset;
        self.bound = offset;
        self.ended = false;
        self.waiting = None;
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

/// Follows a log on the calling thread; see [`BatchReader::blocking`].
#[derive(Debug)]
pub struct BlockingBatches {
    reader: BatchReader,
}

impl BlockingBatches {
    /// Where it stands, and what to [`seek`](BatchReader::seek) on.
    #[must_use]
    pub fn into_reader(self) -> BatchReader {
        self.reader
    }
}

impl Iterator for BlockingBatches {
    type Item = Result<StoredBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = match self.reader.next() {
                None if self.reader.ended => return None,
                // Nobody waits for so long.
                None => self.reader.wait_for_more().wait(Duration::MAX).err().map(Err),
                next => next,
            };
            match next {
                None => {}
                Some(Err(error)) if *error.kind() == ErrorKind::Closed => {
                    self.reader.ended = true;
                    return None;
                }
                Some(Err(error)) if error.is_fatal() => {
                    self.reader.ended = true;
                    return Some(Err(error));
                }
                next => return next,
            }
        }
    }
}
