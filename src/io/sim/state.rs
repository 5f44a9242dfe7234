//! One disk's whole state, and the life of one operation on it: counted, possibly the last, possibly
//! failed, traced.

use super::names::{Names, NodeId};
use super::rng::Rng;
use super::{Fault, FaultKind, Moment, Violation};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[derive(Debug)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) rng: Rng,
    pub(super) powered: bool,
    pub(super) operations: u64,
    pub(super) flushes: u64,
    /// The operation during which the power goes; chance says when if nobody else does.
    pub(super) dies_at: Option<(u64, Option<Moment>)>,
    pub(super) faults: Vec<Fault>,
    pub(super) faults_met: u64,
    pub(super) capacity: Option<u64>,
    pub(super) direct: bool,
    pub(super) locked: BTreeSet<NodeId>,
    pub(super) violations: Vec<Violation>,
    pub(super) trace: u64,
}

impl State {
    pub(super) fn new(rng: Rng) -> Self {
        /// The offset basis of FNV-1a.
        const TRACE_START: u64 = 0xcbf2_9ce4_8422_2325;
        Self {
            names: Names::new(),
            rng,
            powered: true,
            operations: 0,
            flushes: 0,
            dies_at: None,
            faults: Vec::new(),
            faults_met: 0,
            capacity: None,
            direct: true,
            locked: BTreeSet::new(),
            violations: Vec::new(),
            trace: TRACE_START,
        }
    }

    /// The state of the disk that a power cut or a kill leaves.
    pub(super) fn successor(&self, names: Names) -> Self {
        let mut next = Self::new(Rng::new(self.rng.clone().next()));
        next.names = names;
        next.capacity = self.capacity;
        next.direct = self.direct;
        next.violations.clone_from(&self.violations);
        next.trace = self.trace;
        next
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.powered { Ok(()) } else { Err(power_is_off()) }
    }

    /// Runs one operation that changes the disk. If it is the one the power cut hits, chance says
    /// whether it still takes effect, and it fails either way.
    pub(super) fn operate<T>(
        &mut self,
        label: &str,
        path: &Path,
        effect: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.check_power()?;
        self.operations += 1;
        let dies = self.dying();
        let outcome = if dies && self.dies_before() { Err(power_is_off()) } else { effect(self) };
        if dies {
            self.powered = false;
        }
        let outcome = if dies { Err(power_is_off()) } else { outcome };
        self.record(label, path, &[u64::from(outcome.is_ok())]);
        outcome
    }

    /// One write, and its flush if it is `durable`.
    pub(super) fn write(
        &mut self,
        node: NodeId,
        path: &Path,
        position: u64,
        bytes: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let content = [position, u64::from(crc32c::crc32c(bytes)), u64::from(durable)];
        self.record("bytes", path, &content);
        self.operate("write", path, |state| {
            let position = to_usize(position)?;
            let end = position.checked_add(bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
            state.check_protection(node, path, position, bytes)?;
            let room = state.room(node, position, bytes.len())?;
            let failed = state.fault(FaultKind::Write, path);
            let whole = failed.is_ok() && room == bytes.len();
            // What a refused write leaves behind is up to chance.
            let taken = if whole { bytes.len() } else { state.rng.below(room + 1) };
            state.names.file_mut(node)?.write(position, &bytes[..taken]);
            failed?;
            if !whole {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            // A power cut in the middle of a write comes before its flush.
            if durable && !state.dying() {
                state.flush(node, path, Some(position..end))?;
            }
            Ok(())
        })
    }

    pub(super) fn flush(
        &mut self,
        node: NodeId,
        path: &Path,
        range: Option<std::ops::Range<usize>>,
    ) -> io::Result<()> {
        self.flushes += 1;
        let failed = self.fault(FaultKind::Flush, path);
        let content = self.names.file_mut(node)?;
        match failed {
            Ok(()) => content.flush(range),
            Err(_) => content.abandon(),
        }
        failed
    }

    pub(super) fn set_len(&mut self, node: NodeId, path: &Path, len: u64) -> io::Result<()> {
        self.operate("set_len", path, |state| {
            let len = to_usize(len)?;
            let content = state.names.file(node)?;
            if len < content.protected.min(content.visible().len()) {
                state.violate(path, len);
            }
            state.fault(FaultKind::Length, path)?;
            let grown = len.saturating_sub(state.names.file(node)?.visible().len());
            if state.room(node, len - grown, grown)? < grown {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            state.names.file_mut(node)?.set_len(len);
            Ok(())
        })
    }

    /// One change of a name.
    pub(super) fn change_name<T>(
        &mut self,
        label: &str,
        path: &Path,
        change: impl FnOnce(&mut Names) -> io::Result<T>,
    ) -> io::Result<T> {
        self.operate(label, path, |state| {
            state.fault(FaultKind::Name, path)?;
            change(&mut state.names)
        })
    }

    /// Whether a planned fault hits this call.
    pub(super) fn fault(&mut self, kind: FaultKind, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        let mut hit = None;
        self.faults.retain_mut(|fault| {
            if fault.kind != kind || !path.contains(&fault.path) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            hit = Some(if fault.full { ENOSPC } else { EIO });
            fault.sticky
        });
        let Some(code) = hit else { return Ok(()) };
        self.faults_met += 1;
        Err(io::Error::from_raw_os_error(code))
    }

    pub(super) fn free_space(&self) -> u64 {
        /// What an unlimited disk reports.
        const PLENTY: u64 = 1 << 40;
        self.capacity.unwrap_or(PLENTY).saturating_sub(self.names.used_bytes())
    }

    /// Folds a call into the trace.
    pub(super) fn record(&mut self, label: &str, path: &Path, numbers: &[u64]) {
        let path = path.to_string_lossy();
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        for byte in label.bytes().chain(path.bytes()).chain(numbers) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn dying(&self) -> bool {
        self.dies_at.is_some_and(|(operation, _)| self.operations >= operation)
    }

    fn dies_before(&mut self) -> bool {
        match self.dies_at {
            Some((_, Some(moment))) => moment == Moment::Before,
            _ => self.rng.percent(50),
        }
    }

    /// How many of `len` bytes at `position` the disk has space for.
    fn room(&self, node: NodeId, position: usize, len: usize) -> io::Result<usize> {
        let Some(capacity) = self.capacity else {
            return Ok(len);
        };
        let have = self.names.file(node)?.visible().len();
        let free = usize::try_from(capacity.saturating_sub(self.names.used_bytes()));
        let end = have.saturating_add(free.unwrap_or(usize::MAX));
        Ok(end.saturating_sub(position).min(len))
    }

    fn check_protection(
        &mut self,
        node: NodeId,
        path: &Path,
        position: usize,
        bytes: &[u8],
    ) -> io::Result<()> {
        if self.names.file(node)?.breaks_protection(position, bytes) {
            self.violate(path, position);
        }
        Ok(())
    }

    fn violate(&mut self, path: &Path, position: usize) {
        let operation = self.operations;
        self.violations.push(Violation { path: path.to_owned(), position, operation });
    }
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

pub(super) fn to_usize(position: u64) -> io::Result<usize> {
    /// Far above any test, far below what would exhaust memory.
    const FILE_BYTES_MAX: usize = 1 << 32;
    let position = usize::try_from(position).ok().filter(|position| *position <= FILE_BYTES_MAX);
    position.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}
