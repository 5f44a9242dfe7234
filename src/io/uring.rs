//! Groups of direct writes through a ring; everything else through plain system calls.
//!
//! A lone write is one `pwritev2` in the caller's thread, because handing it to another thread costs
//! more than its flush. A group of two or more goes to one named thread that owns a `tokio_uring`
//! runtime and keeps all of its writes in flight at once; the block layer then merges their flushes.
//! The caller sleeps until the last completion.
//!
//! # Soundness
//! `UnsubmittedOneshot::new` is a safe function that lets the kernel read from any address for as
//! long as an operation is in flight, so this module owes the argument that `unsafe` would ask for:
//!
//! - An operation owns its [`WriteOp`] and its vectors ([`InFlight`]). The vectors are boxed and the
//!   buffers are [`bytes::Bytes`], so their addresses hold while the owner moves, and the file's
//!   descriptor stays open because the operation owns the file.
//! - The runtime gives that owner back only with the completion. A future dropped early hands it to
//!   the runtime's driver, which keeps it until the completion, *unless the driver itself is dropped
//!   first*: that frees buffers which the kernel still reads. Hence the thread drops its runtime only
//!   after [`Gate::idle`], and leaks it if it unwinds.

use super::os::{StdFile, StdStorage};
use super::vectored::{Cursor, check_alignment};
use super::{BLOCK_BYTES, DirEntry, DirLock, File, OpenMode, Storage, StorageInfo, WriteOp};
use crate::io::buf::AlignedBuf;
use crate::options::Backend;
use io_uring::{cqueue, opcode, squeue, types};
use parking_lot::{Condvar, Mutex};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio_uring::{OneshotOutputTransform, Runtime, UnsubmittedOneshot};

/// Entries of the submission queue.
const ENTRIES: u32 = 256;

/// Writes in flight. Below [`ENTRIES`], so that submitting never has to flush the queue midway, and
/// far below the completion queue, so that it never overflows.
const IN_FLIGHT_MAX: usize = 128;

/// The storage whose groups go through a ring.
#[derive(Debug)]
pub(super) struct UringStorage {
    std: StdStorage,
    ring: Ring,
    reason: String,
}

impl UringStorage {
    /// Starts a ring and proves it in `dir`; the error says what stands in the way.
    pub(super) fn probe(backend: Backend, dir: &Path) -> Result<Self, String> {
        probe_opcodes()?;
        let ring = Ring::start()?;
        let std = StdStorage::new("behind the ring");
        let direct = probe_write(&std, &ring, dir)
            .map_err(|error| format!("a flushed write in {} failed: {error}", dir.display()))?;
        let reason = match (backend, direct) {
            (Backend::Uring, true) => "asked for".to_owned(),
            (Backend::Uring, false) => {
                format!("asked for; {} takes no direct writes", dir.display())
            }
            (_, true) => format!("a flushed direct write in {} succeeded", dir.display()),
            (_, false) => {
                return Err(format!("{} takes no direct writes to put in a ring", dir.display()));
            }
        };
        Ok(Self { std, ring, reason })
    }
}

impl Storage for UringStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("uring", self.reason.clone())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.std.create_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.std.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.std.sync_dir(path)
    }

    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>> {
        self.std.open(path, mode, direct)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.std.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.std.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.std.remove_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.std.lock_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.std.free_space(path)
    }

    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        // Buffered writes gain nothing in a ring: the kernel moves them to a worker thread.
        let rings = |op: &WriteOp| op.file.is_direct() && !op.is_empty();
        if group.iter().filter(|op| rings(op)).count() < 2 {
            return self.std.write_all(group);
        }
        let ringed: Vec<bool> = group.iter().map(rings).collect();
        let (mut ring, mut plain) = (Vec::new(), Vec::new());
        for (op, &ringed) in group.into_iter().zip(&ringed) {
            if ringed { &mut ring } else { &mut plain }.push(op);
        }
        let pending = self.ring.submit(ring);
        let mut plain = self.std.write_all(plain).into_iter();
        let mut ring = self.ring.wait(&pending).into_iter();
        let outcomes = ringed.iter().map(|&ringed| if ringed { ring.next() } else { plain.next() });
        outcomes.map(|outcome| outcome.unwrap_or_else(|| Err(stopped()))).collect()
    }
}

fn probe_opcodes() -> Result<(), String> {
    let ring = io_uring::IoUring::new(8).map_err(|error| format!("no ring: {error}"))?;
    let mut probe = io_uring::Probe::new();
    let asked = ring.submitter().register_probe(&mut probe);
    asked.map_err(|error| format!("the ring cannot be asked what it knows: {error}"))?;
    if probe.is_supported(opcode::Writev::CODE) {
        Ok(())
    } else {
        Err("the ring knows no vectored writes".to_owned())
    }
}

/// Writes and reads back two blocks; tells whether the file took direct writes.
fn probe_write(std: &StdStorage, ring: &Ring, dir: &Path) -> io::Result<bool> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (process, nth) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = dir.join(format!(".probe-{process}-{nth}"));
    let opened = std.open(&path, OpenMode::Truncate, true);
    // The open file needs no name, and a probe that dies leaves none behind.
    std.remove_file(&path)?;
    let file = opened?;
    let block = |fill: u8| {
        let mut block = AlignedBuf::new(BLOCK_BYTES);
        block.fill(fill);
        block.freeze()
    };
    let op = |at: u64, fill| {
        WriteOp::new(Arc::clone(&file), at * BLOCK_BYTES as u64, vec![block(fill)], true)
    };
    let pending = ring.submit(vec![op(0, 0xa5), op(1, 0x5a)]);
    ring.wait(&pending).into_iter().collect::<io::Result<Vec<()>>>()?;
    let mut read = vec![0; 2 * BLOCK_BYTES];
    file.read_at(&mut read, 0)?;
    if read == [block(0xa5), block(0x5a)].concat() {
        Ok(file.is_direct())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes were read back"))
    }
}

/// The ring's thread. Dropping it waits for every write in flight.
#[derive(Debug)]
struct Ring {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    fn start() -> Result<Self, String> {
        let queue = Arc::new(Queue::default());
        let (started, outcome) = mpsc::channel();
        let served = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("oncelog-ring".to_owned())
            .spawn(move || run_thread(&served, &started))
            .map_err(|error| format!("no thread for the ring: {error}"))?;
        let ring = Self { queue, thread: Some(thread) };
        match outcome.recv() {
            Ok(Ok(())) => Ok(ring),
            Ok(Err(error)) => Err(format!("no ring: {error}")),
            Err(mpsc::RecvError) => Err("the ring's thread died".to_owned()),
        }
    }

    /// Starts every write of `ops`.
    fn submit(&self, ops: Vec<WriteOp>) -> Arc<Group> {
        let group = Arc::new(Group::new(ops.len()));
        let job = |(nth, op)| Job { op, reply: Reply { group: Some(Arc::clone(&group)), nth } };
        self.queue.push(ops.into_iter().enumerate().map(job).collect());
        group
    }

    /// Sleeps until every write of `group` ended; outcomes in the order of its writes.
    fn wait(&self, group: &Group) -> Vec<io::Result<()>> {
        /// A submission that the kernel refused for want of memory is repeated when the runtime next
        /// goes to sleep, so a group that takes this long has it go to sleep again.
        const NUDGE_AFTER: Duration = Duration::from_secs(1);
        let mut state = group.state.lock();
        while state.missing > 0 {
            if group.ended.wait_for(&mut state, NUDGE_AFTER).timed_out() {
                self.queue.wake();
            }
        }
        let outcomes = std::mem::take(&mut state.outcomes);
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(stopped()))).collect()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported to whoever waited for a write.
            drop(thread.join());
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the ring's thread stopped; whether the write happened is unknown")
}

/// Writes handed to the thread and not yet started.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    waker: Option<Waker>,
    closed: bool,
}

impl Queue {
    fn push(&self, jobs: Vec<Job>) {
        let mut state = self.state.lock();
        if state.closed {
            // Dropped outside the lock, which answers them.
            drop(state);
            return drop(jobs);
        }
        state.jobs.extend(jobs);
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes no more jobs; those that wait are still started.
    fn close(&self) {
        self.state.lock().closed = true;
        self.wake();
    }

    /// The next job, or `None` once the queue is closed and empty.
    async fn next(&self) -> Option<Job> {
        poll_fn(|context| {
            let mut state = self.state.lock();
            match state.jobs.pop_front() {
                Some(job) => Poll::Ready(Some(job)),
                None if state.closed => Poll::Ready(None),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// One write and whom to tell.
#[derive(Debug)]
struct Job {
    op: WriteOp,
    reply: Reply,
}

/// Tells a group about one of its writes, at the latest when it is dropped.
#[derive(Debug)]
struct Reply {
    group: Option<Arc<Group>>,
    nth: usize,
}

impl Reply {
    fn send(mut self, outcome: io::Result<()>) {
        self.deliver(outcome);
    }

    fn deliver(&mut self, outcome: io::Result<()>) {
        let Some(group) = self.group.take() else {
            return;
        };
        let mut state = group.state.lock();
        state.outcomes[self.nth] = Some(outcome);
        state.missing -= 1;
        if state.missing == 0 {
            group.ended.notify_all();
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.deliver(Err(stopped()));
    }
}

/// The outcomes of the writes that one caller waits for.
#[derive(Debug)]
struct Group {
    state: Mutex<GroupState>,
    ended: Condvar,
}

#[derive(Debug)]
struct GroupState {
    outcomes: Vec<Option<io::Result<()>>>,
    missing: usize,
}

impl Group {
    fn new(len: usize) -> Self {
        let outcomes = (0..len).map(|_| None).collect();
        Self { state: Mutex::new(GroupState { outcomes, missing: len }), ended: Condvar::new() }
    }
}

fn run_thread(queue: &Arc<Queue>, started: &mpsc::Sender<io::Result<()>>) {
    let _answer = AnswerOnExit(Arc::clone(queue));
    let runtime = match build_runtime() {
        Ok(runtime) => runtime,
        // The receiver waits for exactly this message, so it is there.
        Err(error) => return drop(started.send(Err(error))),
    };
    drop(started.send(Ok(())));
    // Leaked rather than dropped if anything below unwinds: see the module's soundness argument.
    let runtime = ManuallyDrop::new(runtime);
    runtime.block_on(serve(queue));
    drop(ManuallyDrop::into_inner(runtime));
}

/// Answers what is left in the queue when the thread ends, however it ends.
struct AnswerOnExit(Arc<Queue>);

impl Drop for AnswerOnExit {
    fn drop(&mut self) {
        self.0.close();
        let left = std::mem::take(&mut self.0.state.lock().jobs);
        drop(left);
    }
}

fn build_runtime() -> io::Result<Runtime> {
    let mut flags = tokio_uring::uring_builder();
    flags.setup_cqsize(4 * ENTRIES);
    let plain = flags.clone();
    flags.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
    let build = |ring| Runtime::new(tokio_uring::builder().entries(ENTRIES).uring_builder(ring));
    match build(&flags) {
        // Kernels before 6.0 do not know the flags.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => build(&plain),
        other => other,
    }
}

async fn serve(queue: &Queue) {
    let gate = Rc::new(Gate::default());
    while let Some(Job { op, reply }) = queue.next().await {
        let slot = Gate::enter(&gate).await;
        drop(tokio_uring::spawn(async move {
            reply.send(write(op).await);
            drop(slot);
        }));
    }
    gate.idle().await;
}

/// Counts writes in flight.
#[derive(Debug, Default)]
struct Gate {
    in_flight: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Gate {
    async fn enter(gate: &Rc<Self>) -> Slot {
        gate.at_most(IN_FLIGHT_MAX - 1).await;
        gate.in_flight.set(gate.in_flight.get() + 1);
        Slot(Rc::clone(gate))
    }

    /// Until nothing is in flight.
    async fn idle(&self) {
        self.at_most(0).await;
    }

    async fn at_most(&self, count: usize) {
        poll_fn(|context| {
            if self.in_flight.get() <= count {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// One write's place among those in flight.
struct Slot(Rc<Gate>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

/// Writes all of `op`, in as many operations as the kernel makes of it.
async fn write(mut op: WriteOp) -> io::Result<()> {
    check_alignment(&op)?;
    let mut cursor = Cursor::new(op.position, op.file.is_direct());
    loop {
        let Some((in_flight, entry)) = InFlight::new(op, &cursor)? else {
            return Ok(());
        };
        let (outcome, returned) = UnsubmittedOneshot::new(in_flight, Landed, entry).submit().await;
        op = returned;
        match outcome {
            Ok(written) => cursor.advance(&op.buffers, written)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Everything the kernel may touch while a write is in flight.
struct InFlight {
    op: WriteOp,
    /// Read by the kernel through the address in the entry.
    _vectors: Box<[IoVec]>,
}

/// The kernel's `struct iovec`.
#[repr(C)]
struct IoVec {
    start: *const u8,
    len: usize,
}

impl InFlight {
    /// The operation for what `cursor` says is left of `op`, or `None` if nothing is.
    fn new(op: WriteOp, cursor: &Cursor) -> io::Result<Option<(Self, squeue::Entry)>> {
        let vector = |bytes: &[u8]| IoVec { start: bytes.as_ptr(), len: bytes.len() };
        let vectors: Box<[IoVec]> = cursor.rest(&op.buffers).map(vector).collect();
        if vectors.is_empty() {
            return Ok(None);
        }
        /// Not in the interface of the ring's crate; `linux/fs.h`.
        const RWF_DSYNC: types::RwFlags = 2;
        let count = u32::try_from(vectors.len()).expect("a cursor gives at most 1024 buffers");
        let fd = types::Fd(StdFile::of(&op)?.target().as_raw_fd());
        let entry = opcode::Writev::new(fd, vectors.as_ptr().cast(), count)
            .offset(cursor.position())
            .rw_flags(if op.durable { RWF_DSYNC } else { 0 })
            .build();
        // Moving the operation moves neither its file nor its buffers: the addresses above stay right.
        Ok(Some((Self { op, _vectors: vectors }, entry)))
    }
}

/// Gives the write back with its completion.
struct Landed;

impl OneshotOutputTransform for Landed {
    type Output = (io::Result<usize>, WriteOp);
    type StoredData = InFlight;

    fn transform_oneshot_output(self, data: InFlight, completion: cqueue::Entry) -> Self::Output {
        let result = completion.result();
        let outcome =
            usize::try_from(result).map_err(|_negative| io::Error::from_raw_os_error(-result));
        (outcome, data.op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Backend;

    fn storage(dir: &Path) -> Option<UringStorage> {
        match UringStorage::probe(Backend::Uring, dir) {
            Ok(storage) => Some(storage),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        if let Some(storage) = storage(dir.path()) {
            assert_eq!(storage.list_dir(dir.path()).unwrap(), []);
        }
    }

    #[test]
    fn a_dropped_ring_finishes_the_writes_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        let Some(storage) = storage(dir.path()) else {
            return;
        };
        let path = dir.path().join("f");
        let file = storage.open(&path, OpenMode::CreateNew, true).unwrap();
        let blocks = 3 * IN_FLIGHT_MAX as u64;
        let op = |at: u64| {
            let block = AlignedBuf::new(BLOCK_BYTES).freeze();
            WriteOp::new(Arc::clone(&file), at * BLOCK_BYTES as u64, vec![block], false)
        };
        let group = storage.ring.submit((0..blocks).map(op).collect());
        drop(storage);
        let state = group.state.lock();
        assert_eq!(state.missing, 0);
        assert!(state.outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(())))));
        assert_eq!(file.len().unwrap(), blocks * BLOCK_BYTES as u64);
    }

    #[test]
    fn a_write_after_the_thread_ended_is_an_error_and_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        let Some(storage) = storage(dir.path()) else {
            return;
        };
        let file = storage.open(&dir.path().join("f"), OpenMode::CreateNew, true).unwrap();
        storage.ring.queue.close();
        let op = WriteOp::new(file, 0, vec![AlignedBuf::new(BLOCK_BYTES).freeze()], true);
        let group = storage.ring.submit(vec![op]);
        storage.ring.wait(&group).pop().unwrap().unwrap_err();
    }
}
