//! One client's connection: frames in, answers out, strictly in order.
//!
//! ```text
//! socket ─► frame ─► handler ─┬─ answered at once ──────► queue ─► socket
//!                             └─ Produce: staged, its ack ─┘ awaited here
//! ```
//!
//! The reading half takes one request at a time to its answer, as Kafka does, except that a Produce
//! is only *staged* before the next request is read: its acknowledgement is awaited by the writing
//! half. So the appends of a connection keep their order and still share a flush (B-5).
//!
//! Both halves are one task. The reading half is polled first, so what it queues is seen by the
//! writing half in the same poll, without waking anybody; and when the writing half begins to wait
//! for an acknowledgement, everything that has come is staged.
//!
//! Memory follows bytes that have arrived, never a length that was only announced. A frame beyond
//! [`FREE_BYTES`] draws on a budget shared by all connections; one that gets nothing from it for
//! [`BUDGET_PATIENCE`] is closed, so that half-sent frames cannot starve everybody else.

use crate::answer_budget::Claim;
use crate::handler::{Answer, Broker, Client, Reply, Verdict};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Bytes that every connection may buffer without asking the shared budget.
const FREE_BYTES: usize = 64 << 10;
/// Least room made for a read.
const READ_BYTES: usize = 16 << 10;
/// How long a frame waits for the shared budget.
const BUDGET_PATIENCE: Duration = Duration::from_secs(10);
/// Answers a connection may have queued; a large one counts as several.
const IN_FLIGHT_MAX: u32 = 64;
/// Bytes of an answer that count as one of [`IN_FLIGHT_MAX`].
const BYTES_PER_SLOT: usize = 64 << 10;
/// Bytes gathered into one write.
const WRITE_BYTES: usize = 256 << 10;
/// Slices gathered into one write.
const SLICES_MAX: usize = 64;

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The shared budget, in KiB.
    pub(crate) budget: Arc<Semaphore>,
    /// Its size, in KiB.
    pub(crate) budget_kib: u32,
    /// Largest frame, in bytes.
    pub(crate) frame_bytes_max: usize,
    /// Longest silence of a client, or of its receiving window; `None` for ever.
    pub(crate) idle_max: Option<Duration>,
}

/// Serves one connection until either side ends it.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    broker: Arc<Broker>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
) {
    let client = Client { peer, takes_turns: false };
    let (read, write) = stream.into_split();
    let queue = Queue::default();
    let idle_max = limits.idle_max;
    let frames = FrameReader { read, buffer: BytesMut::new(), limits, last_frame_bytes: 0 };
    let mut writing = pin!(write_replies(write, &queue, idle_max));
    tokio::select! {
        biased;
        // A connection that breaks concerns nobody but its client, who sees it break too.
        _ = read_requests(frames, &queue, client, broker, shutdown) => {}
        _ = &mut writing => return,
    }
    // What was taken in is answered.
    queue.close();
    drop(writing.await);
}

/// Resolves when the server is told to stop, or is dropped.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// A reply and the slots it occupies until it is written.
struct Queued {
    reply: Reply,
    _slots: OwnedSemaphorePermit,
}

/// Replies on their way from the reading half to the writing half of one task.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    replies: VecDeque<Queued>,
    closed: bool,
}

impl Queue {
    fn push(&self, queued: Queued) {
        self.state.lock().replies.push_back(queued);
    }

    fn try_pop(&self) -> Option<Queued> {
        self.state.lock().replies.pop_front()
    }

    /// The next reply; `None` when there will be no more. Whoever pushes or closes sees to it that
    /// the task is polled on: the reading half by running before this, in the same poll.
    async fn pop(&self) -> Option<Queued> {
        poll_fn(|_| {
            let mut state = self.state.lock();
            match state.replies.pop_front() {
                None if !state.closed => Poll::Pending,
                queued => Poll::Ready(queued),
            }
        })
        .await
    }

    fn close(&self) {
        self.state.lock().closed = true;
    }
}

async fn read_requests(
    mut frames: FrameReader,
    queue: &Queue,
    mut client: Client,
    broker: Arc<Broker>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
    let mut rhythm = Rhythm::default();
    loop {
        let frame = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return Ok(()),
            frame = frames.next() => frame?,
        };
        let Some(frame) = frame else { return Ok(()) };
        let is_alone = slots.available_permits() == IN_FLIGHT_MAX as usize;
        client.takes_turns = rhythm.takes_turns(is_alone);
        let verdict = tokio::select! {
            biased;
            verdict = broker.handle(&client, frame.bytes) => verdict,
            () = stopped(&mut shutdown) => return Ok(()),
            // Nobody is left to be answered, so nothing need be waited for.
            gone = frames.hung_up() => return gone,
        };
        let reply = match verdict {
            Verdict::Reply(reply) => reply,
            Verdict::Silent => continue,
            Verdict::Close => return Ok(()),
        };
        let slots = Arc::clone(&slots).acquire_many_owned(cost(&reply)).await;
        let Ok(slots) = slots else { return Ok(()) };
        queue.push(Queued { reply, _slots: slots });
    }
}

/// Whether a client waits for each answer before it sends the next request.
#[derive(Debug, Default)]
struct Rhythm {
    /// Requests in a row that came when nothing was left to be answered.
    alone: u32,
}

impl Rhythm {
    /// So many requests must have come alone before the next one is expected to.
    const PROOF: u32 = 8;
    /// One request in so many is served as if others might follow: what comes while this thread is
    /// at the disk looks as if it had come after the answer.
    const DOUBT: u32 = 32;

    /// Takes note of a request, which came alone or not; whether the client seems to take turns.
    fn takes_turns(&mut self, is_alone: bool) -> bool {
        self.alone = if is_alone { self.alone.wrapping_add(1) } else { 0 };
        self.alone > Self::PROOF && !self.alone.is_multiple_of(Self::DOUBT)
    }
}

/// Slots of [`IN_FLIGHT_MAX`] that a reply takes: never so many that two could not be queued.
fn cost(reply: &Reply) -> u32 {
    let bytes: usize = match reply {
        Reply::Ready(answer) => answer.slices.iter().map(Bytes::len).sum(),
        Reply::Later(_) => 0,
    };
    u32::try_from(bytes / BYTES_PER_SLOT).map_or(IN_FLIGHT_MAX, |n| n + 1).min(IN_FLIGHT_MAX / 2)
}

struct Frame {
    bytes: Bytes,
    /// Returned to the budget when the request has been taken in.
    _budget: Option<OwnedSemaphorePermit>,
}

struct FrameReader {
    read: OwnedReadHalf,
    buffer: BytesMut,
    limits: Limits,
    /// Length of the frame before: a client that has sent as much once may be expected to again.
    last_frame_bytes: usize,
}

impl FrameReader {
    /// The next frame without its size prefix; `None` when the client is done.
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        if !self.fill(4, &mut None).await? {
            return Ok(None);
        }
        let announced = self.buffer.get_i32();
        let size = usize::try_from(announced).unwrap_or(usize::MAX);
        // Negative, oversized, a TLS hello or an HTTP verb: nothing that follows can be framed (B-1).
        if size > self.limits.frame_bytes_max {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut budget = None;
        if !self.fill(size, &mut budget).await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.last_frame_bytes = size;
        let bytes = self.buffer.split_to(size).freeze();
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { bytes, _budget: budget }))
    }

    /// Buffers at least `size` bytes; false if the client ended the connection before.
    async fn fill(
        &mut self,
        size: usize,
        budget: &mut Option<OwnedSemaphorePermit>,
    ) -> io::Result<bool> {
        while self.buffer.len() < size {
            self.wait_readable().await?;
            let missing = size - self.buffer.len();
            let growth = (3 * self.buffer.len()).max(self.last_frame_bytes).max(READ_BYTES);
            let room = missing.max(READ_BYTES).min(growth);
            self.draw(self.buffer.len() + room, budget).await?;
            self.buffer.reserve(room);
            match self.read.try_read_buf(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Resolves when the client has closed its end. To notice, it takes in what the client sends
    /// meanwhile; behind more than [`FREE_BYTES`] of that the end is not seen.
    async fn hung_up(&mut self) -> io::Result<()> {
        loop {
            let room = FREE_BYTES.saturating_sub(self.buffer.len());
            if room == 0 {
                return pending().await;
            }
            self.read.readable().await?;
            self.buffer.reserve(room.min(READ_BYTES));
            match self.read.try_read_buf(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn wait_readable(&self) -> io::Result<()> {
        within(self.limits.idle_max, self.read.readable()).await
    }

    /// Makes `budget` cover a buffer of `bytes`.
    async fn draw(
        &self,
        bytes: usize,
        budget: &mut Option<OwnedSemaphorePermit>,
    ) -> io::Result<()> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(1024);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.limits.budget_kib);
        let held = budget.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = wanted.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        if more == 0 {
            return Ok(());
        }
        let acquired = Arc::clone(&self.limits.budget).acquire_many_owned(more);
        let permit = timeout(BUDGET_PATIENCE, acquired).await.map_err(io::Error::other)?;
        let permit = permit.map_err(io::Error::other)?;
        match budget {
            Some(held) => held.merge(permit),
            None => *budget = Some(permit),
        }
        Ok(())
    }
}

/// What answers hold until they are written.
#[expect(dead_code, reason = "held for what dropping it does")]
enum Held {
    Slots(OwnedSemaphorePermit),
    Room(Claim),
}

async fn write_replies(
    mut write: OwnedWriteHalf,
    queue: &Queue,
    idle_max: Option<Duration>,
) -> io::Result<()> {
    let mut out = Outgoing::default();
    // A polled reply that is not ready yet, kept for the next round.
    let mut next: Option<Queued> = None;
    loop {
        let queued = match next.take() {
            Some(queued) => queued,
            None => match queue.pop().await {
                Some(queued) => queued,
                None => break,
            },
        };
        let mut held = vec![Held::Slots(queued._slots)];
        match queued.reply {
            Reply::Ready(answer) => out.push_answer(answer, &mut held),
            Reply::Later(reply) => match reply.await {
                Verdict::Reply(Reply::Ready(answer)) => out.push_answer(answer, &mut held),
                Verdict::Silent => {}
                Verdict::Reply(Reply::Later(_)) | Verdict::Close => break,
            },
        }
        let closing = gather(&mut out, &mut held, queue, &mut next).await;
        within(idle_max, write.write_all_buf(&mut out)).await?;
        if closing {
            break;
        }
    }
    write.shutdown().await
}

/// Adds to `out` what is ready without waiting; whether the connection must close after it.
async fn gather(
    out: &mut Outgoing,
    held: &mut Vec<Held>,
    queue: &Queue,
    next: &mut Option<Queued>,
) -> bool {
    while out.bytes < WRITE_BYTES {
        let Some(queued) = queue.try_pop() else { return false };
        match queued.reply {
            Reply::Ready(answer) => out.push_answer(answer, held),
            Reply::Later(mut reply) => {
                match poll_fn(|cx| Poll::Ready(reply.as_mut().poll(cx))).await {
                    Poll::Ready(Verdict::Reply(Reply::Ready(answer))) => {
                        out.push_answer(answer, held);
                    }
                    Poll::Ready(Verdict::Silent) => {}
                    Poll::Ready(_) => return true,
                    Poll::Pending => {
                        *next = Some(Queued { reply: Reply::Later(reply), _slots: queued._slots });
                        return false;
                    }
                }
            }
        }
        held.push(Held::Slots(queued._slots));
    }
    false
}

/// Slices on their way to the socket, written several at a time and never copied.
#[derive(Debug, Default)]
struct Outgoing {
    slices: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    fn push_answer(&mut self, answer: Answer, held: &mut Vec<Held>) {
        self.push(answer.slices);
        held.push(Held::Room(answer.claim));
    }

    fn push(&mut self, slices: Vec<Bytes>) {
        for slice in slices {
            self.bytes += slice.len();
            if !slice.is_empty() {
                self.slices.push_back(slice);
            }
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&[], |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, targets: &mut [IoSlice<'a>]) -> usize {
        let pairs = targets.iter_mut().zip(&self.slices).take(SLICES_MAX);
        pairs.map(|(target, slice)| *target = IoSlice::new(slice)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count > 0 {
            let Some(front) = self.slices.front_mut() else { return };
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.slices.pop_front();
            }
        }
    }
}

/// `work`, but for at most `limit`.
async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.map_err(io::Error::other)?,
        None => work.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_slices_advance_across_their_borders() {
        let mut out = Outgoing::default();
        out.push(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"de")]);
        let mut targets = [IoSlice::new(&[]); 4];
        assert_eq!(out.chunks_vectored(&mut targets), 2);
        out.advance(4);
        assert_eq!((out.remaining(), out.chunk()), (1, &b"e"[..]));
        out.advance(1);
        assert!(!out.has_remaining() && out.slices.is_empty());
    }

    #[test]
    fn a_client_takes_turns_until_it_does_not_and_is_doubted_now_and_then() {
        let mut rhythm = Rhythm::default();
        let answers: Vec<bool> = (0..40).map(|_| rhythm.takes_turns(true)).collect();
        assert!(answers[..8].iter().all(|turns| !turns), "not without proof");
        let doubts = (8..40).filter(|&nth| !answers[nth]).collect::<Vec<_>>();
        assert_eq!(doubts, [31], "the thirty-second is a question");
        assert!(!rhythm.takes_turns(false));
        assert!((0..8).all(|_| !rhythm.takes_turns(true)), "from the beginning again");
        assert!(rhythm.takes_turns(true));
    }

    #[test]
    fn two_answers_of_any_size_fit_the_queue() {
        let ready = |bytes: usize| {
            Reply::Ready(Answer { slices: vec![Bytes::from(vec![0; bytes])], ..Answer::default() })
        };
        assert_eq!(cost(&ready(8 << 20)), IN_FLIGHT_MAX / 2);
        assert_eq!(cost(&ready(1)), 1);
    }
}
