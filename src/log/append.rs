//! Appending: checks without the lock, then admission, offsets and staging under it.
//!
//! ```text
//! parse · checksum · rules         no lock
//! budget                           no lock
//! ┌ duplicate? fenced? in order?   ProducerTable::admit
//! │ roll if the segment is full
//! │ copy into the tail, header patched with base offset and leader epoch
//! │ index entry, producer and transaction state
//! └ log end offset moves: staged
//! queue for the next commit group; the ticket knows its offsets
//! ```
//!
//! Nothing here waits or does I/O. State moves at staging; since a failed write poisons the log,
//! memory never runs ahead of a future that could still be acknowledged.

use super::LogInner;
use super::api::{AppendOptions, Appended};
use super::inner::{Active, LogState};
use super::ticket::AppendTicket;
use crate::batch::{Batch, HEADER_BYTES, MARKER_BATCH_BYTES, MarkerKind, Rules, validate};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{CleanupPolicy, Durability, LogConfig, TimestampType};
use crate::producer::reserved::is_reserved;
use crate::producer::{Admission, BatchFacts, ControlKind, VerificationGuard};
use crate::segment::Segment;
use crate::segment::scan::Observed;
use crate::types::{LeaderEpoch, Offset, Origin};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an append stands back for a truncation, which takes a write, a flush and the cut.
const HELD_MAX: Duration = Duration::from_secs(1);

/// A batch that passed the checks which need no lock.
struct Checked<'a> {
    batch: Batch<'a>,
    control: ControlKind,
    append_time_ms: Option<i64>,
}

/// On whose behalf a batch is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behalf {
    /// A caller of [`Log::append`](super::Log::append): the engine's own producers are not its.
    Caller,
    /// A program's records in one of the engine's own transactions.
    Transaction,
    /// Markers and decisions: never refused for want of room, since they make room.
    Engine,
}

/// What was staged.
pub(super) struct Staged {
    pub(super) appended: Appended,
    /// How often the log had been truncated then.
    truncations: u64,
    durability: Durability,
}

impl LogInner {
    /// Appends; see [`Log::append`](super::Log::append).
    pub(super) fn append(
        self: &Arc<Self>,
        bytes: &[u8],
        options: &AppendOptions,
    ) -> Result<AppendTicket> {
        let staged = self.stage_batches(bytes, options, Behalf::Caller)?;
        Ok(AppendTicket::new(self, staged.appended, staged.truncations, staged.durability))
    }

    /// Checks and stages, and leaves it to the caller to wait.
    pub(super) fn stage_batches(
        self: &Arc<Self>,
        bytes: &[u8],
        options: &AppendOptions,
        behalf: Behalf,
    ) -> Result<Staged> {
        self.check_alive()?;
        let config = Arc::clone(&self.state.lock().config);
        let now_ms = self.shared.io.clock.now_ms();
        let batches = match options.origin {
            Origin::Follower => check_follower(bytes)?,
            origin => vec![check_leader(bytes, origin, &config, now_ms)?],
        };
        match behalf {
            Behalf::Caller => {
                refuse_reserved(&batches, options.origin)?;
                self.shared.admit_bytes(&self.space, bytes.len(), options.origin)?;
            }
            Behalf::Transaction => {
                self.shared.admit_bytes(&self.space, bytes.len(), Origin::Client)?;
            }
            Behalf::Engine => {}
        }
        let durability = options.durability.unwrap_or(config.durability);
        let (appended, truncations) = {
            let mut state = self.state.lock();
            if behalf != Behalf::Engine {
                self.wait_for_truncation(&mut state);
            }
            // Once more with the lock: a close or a failure may have come in between.
            self.check_alive()?;
            if state.closing {
                return Err(Error::new(ErrorKind::Closed, format!("{} is closing", self.name)));
            }
            let appended = self.stage_all(&mut state, &batches, options, now_ms)?;
            state.wants_durable |= durability == Durability::Durable;
            (appended, self.truncations())
        };
        if !appended.duplicate {
            self.enqueue();
        }
        Ok(Staged { appended, truncations, durability })
    }

    /// Lets a truncation that is under way finish first.
    fn wait_for_truncation(&self, state: &mut MutexGuard<'_, LogState>) {
        while self.appends_held.load(Ordering::Relaxed) > 0 {
            if self.resumed.wait_for(state, HELD_MAX).timed_out() {
                // It may be this very thread that the truncation waits for: some executors run a task
                // from within its waker, which is called by the one who leads a commit group.
                return;
            }
        }
    }

    fn stage_all(
        &self,
        state: &mut LogState,
        batches: &[Checked<'_>],
        options: &AppendOptions,
        now_ms: i64,
    ) -> Result<Appended> {
        let mut whole: Option<Appended> = None;
        for checked in batches {
            let appended = match options.origin {
                Origin::Follower => self.stage_follower(state, checked, now_ms)?,
                origin => {
                    let epoch = options.leader_epoch.unwrap_or_else(|| state.leader_epoch());
                    self.stage_leader(state, checked, origin, epoch, options.verification, now_ms)?
                }
            };
            match whole.as_mut() {
                None => whole = Some(appended),
                Some(whole) => whole.last_offset = appended.last_offset,
            }
        }
        whole.ok_or_else(|| Error::new(ErrorKind::InvalidBatch, "no batch to append"))
    }

    fn stage_leader(
        &self,
        state: &mut LogState,
        checked: &Checked<'_>,
        origin: Origin,
        epoch: LeaderEpoch,
        verification: Option<VerificationGuard>,
        now_ms: i64,
    ) -> Result<Appended> {
        let batch = &checked.batch;
        let base = state.end;
        let facts = facts_at(checked, base)?;
        if batch.size() as u64 > u64::from(state.config.segment_bytes) {
            let context = format!("a batch of {} bytes is larger than a segment", batch.size());
            return Err(Error::new(ErrorKind::LargerThanSegment, context));
        }
        if let Admission::Duplicate { base_offset, last_offset, timestamp_ms } =
            state.producers.admit(origin, &facts, verification)?
        {
            return Ok(Appended {
                base_offset,
                last_offset,
                duplicate: true,
                log_append_time_ms: timestamp_ms,
                log_start_offset: state.log_start,
            });
        }
        let header = batch.patched_header(base, epoch, checked.append_time_ms);
        self.stage(state, &header, batch, &facts, epoch, now_ms);
        Ok(Appended {
            base_offset: base,
            last_offset: facts.last_offset,
            duplicate: false,
            log_append_time_ms: checked.append_time_ms.unwrap_or(-1),
            log_start_offset: state.log_start,
        })
    }

    fn stage_follower(
        &self,
        state: &mut LogState,
        checked: &Checked<'_>,
        now_ms: i64,
    ) -> Result<Appended> {
        let batch = &checked.batch;
        if batch.base_offset() < state.end {
            let context = format!(
                "{}: a copied batch begins at {}, the log ends at {}",
                self.name,
                batch.base_offset(),
                state.end
            );
            return Err(Error::new(ErrorKind::InvalidBatch, context));
        }
        let facts = facts_at(checked, batch.base_offset())?;
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(batch.as_bytes().get(..HEADER_BYTES).unwrap_or(&[0; HEADER_BYTES]));
        self.stage(state, &header, batch, &facts, batch.leader_epoch(), now_ms);
        Ok(Appended {
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            duplicate: false,
            log_append_time_ms: -1,
            log_start_offset: state.log_start,
        })
    }

    /// Makes the batch part of the log. Cannot fail.
    fn stage(
        &self,
        state: &mut LogState,
        header: &[u8; HEADER_BYTES],
        batch: &Batch<'_>,
        facts: &BatchFacts,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) {
        if needs_roll(state, batch, facts, now_ms) {
            self.roll(state, facts.base_offset, now_ms);
        }
        state.epochs.assign(epoch, facts.base_offset);
        let active = &mut state.active;
        let rest = batch.as_bytes().get(HEADER_BYTES..).unwrap_or_default();
        let position = active.tail.append(header, rest);
        Observed::of(position, batch.size(), facts.last_offset, facts.max_timestamp_ms)
            .enter(&mut active.indexer);
        active.first_timestamp_ms.get_or_insert(facts.max_timestamp_ms);
        let completed = state.producers.apply(facts, now_ms);
        if let Some(txn) = completed.filter(|txn| txn.aborted) {
            state.active.note_aborted(&txn);
        }
        state.end = facts.last_offset.next();
        state.uncheckpointed_bytes += batch.size() as u64;
        state.staged_bytes += batch.size() as u64;
        self.shared.stage_bytes(&self.space, batch.size() as u64);
    }

    /// Completes the active segment and begins one at `base`.
    pub(super) fn roll(&self, state: &mut LogState, base: Offset, now_ms: i64) {
        let segment = Arc::new(Segment::active(
            Arc::clone(self.storage()),
            Arc::clone(&self.path),
            base,
            None,
        ));
        // A copied batch that begins behind a gap may be lost where the state is not, and the state would
        // say that the log had reached it.
        if base == state.end && state.is_state_small() {
            let bytes = crate::producer::state::encode(&state.producers, base, &state.beside());
            state.rolled_states.push_back((base, bytes));
        }
        let fresh = Active::empty(Arc::clone(&segment), state.config.index_interval_bytes, now_ms);
        let mut old = std::mem::replace(&mut state.active, fresh);
        old.indexer.close();
        old.segment.set_size(old.size());
        let is_confirmed = old.indexer.is_max_timestamp_confirmed();
        old.segment.set_largest_timestamp_ms(old.largest_timestamp_ms(), is_confirmed);
        old.segment.roll(base, old.indexes(), old.aborted.clone());
        state.segments.push(segment);
        state.rolled.push_back(old);
        state.release_rolled();
    }
}

/// Whether the batch must go into a new segment (A-51, A-52).
fn needs_roll(state: &LogState, batch: &Batch<'_>, facts: &BatchFacts, now_ms: i64) -> bool {
    let (active, config) = (&state.active, &state.config);
    let size = active.size();
    if size == 0 {
        return false;
    }
    let full = size + batch.size() as u64 > u64::from(config.segment_bytes);
    let aged = match active.first_timestamp_ms {
        Some(first) if first >= 0 => facts.max_timestamp_ms.saturating_sub(first),
        _ => now_ms.saturating_sub(active.created_ms),
    } > config.segment_ms;
    let base = active.segment.base().get();
    let too_wide = facts.last_offset.get() - base > i64::from(i32::MAX);
    full || aged || too_wide || active.indexer.is_full(config.segment_index_bytes)
}

fn check_leader<'a>(
    bytes: &'a [u8],
    origin: Origin,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Checked<'a>> {
    let (batch, rest) = Batch::parse(bytes)?;
    if !rest.is_empty() {
        let context = "an append carries exactly one batch";
        return Err(Error::new(ErrorKind::InvalidBatch, context));
    }
    validate(
        &batch,
        &Rules {
            origin,
            max_message_bytes: config.max_message_bytes.max(smallest_max(origin)),
            timestamp_type: config.timestamp_type,
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            now_ms,
            keys_required: config.cleanup_policy != CleanupPolicy::Delete,
        },
    )?;
    let append_time_ms = (config.timestamp_type == TimestampType::LogAppendTime).then_some(now_ms);
    Ok(Checked { control: control_of(&batch)?, batch, append_time_ms })
}

/// A marker must get in, whatever the log's limit: without it a transaction would never end.
fn smallest_max(origin: Origin) -> u32 {
    let marker = u32::try_from(MARKER_BATCH_BYTES).unwrap_or(u32::MAX);
    if origin == Origin::Coordinator { marker } else { 0 }
}

/// A batch under the name of one of the engine's own producers could end, or get into, a transaction
/// that is not its sender's. What a follower copies is history.
fn refuse_reserved(batches: &[Checked<'_>], origin: Origin) -> Result<()> {
    if origin == Origin::Follower {
        return Ok(());
    }
    match batches.iter().map(|checked| checked.batch.producer_id()).find(|id| is_reserved(*id)) {
        None => Ok(()),
        Some(id) => {
            let context = format!("producer id {id} is reserved for the engine's transactions");
            Err(Error::new(ErrorKind::InvalidBatch, context))
        }
    }
}

fn check_follower(mut bytes: &[u8]) -> Result<Vec<Checked<'_>>> {
    let mut batches = Vec::new();
    let mut end = i64::MIN;
    while !bytes.is_empty() {
        let (batch, rest) = Batch::parse(bytes)?;
        if !batch.is_crc_valid() {
            let context = format!("the batch at {} has a wrong checksum", batch.base_offset());
            return Err(Error::new(ErrorKind::CorruptBatch, context));
        }
        if batch.base_offset().get() < end || batch.last_offset() < batch.base_offset() {
            let context = format!("the batch at {} is out of order", batch.base_offset());
            return Err(Error::new(ErrorKind::InvalidBatch, context));
        }
        end = batch.next_offset().get();
        batches.push(Checked { control: control_of(&batch)?, batch, append_time_ms: None });
        bytes = rest;
    }
    Ok(batches)
}

/// What a batch controls, in the producer table's terms.
pub(super) fn control_of(batch: &Batch<'_>) -> Result<ControlKind> {
    if !batch.is_control() {
        return Ok(ControlKind::None);
    }
    if batch.record_count() == 0 {
        return Ok(ControlKind::Empty);
    }
    Ok(match batch.end_marker()? {
        None => ControlKind::Other,
        Some(marker) => ControlKind::Marker {
            commit: marker.kind == MarkerKind::Commit,
            coordinator_epoch: marker.coordinator_epoch,
            epoch_must_rise: false,
        },
    })
}

fn facts_at(checked: &Checked<'_>, base: Offset) -> Result<BatchFacts> {
    let batch = &checked.batch;
    let delta = batch.last_offset_delta();
    // The largest offset is kept free, so that "the offset after" always exists.
    let last_offset = base
        .checked_add(i64::from(delta))
        .filter(|last| delta >= 0 && last.get() < i64::MAX)
        .ok_or_else(|| Error::new(ErrorKind::InvalidBatch, "the log is out of offsets"))?;
    Ok(batch_facts(batch, checked.control, base, last_offset, checked.append_time_ms))
}

/// The facts of a batch that lies in the log already.
pub(super) fn stored_facts(batch: &Batch<'_>) -> Result<BatchFacts> {
    Ok(batch_facts(batch, control_of(batch)?, batch.base_offset(), batch.last_offset(), None))
}

fn batch_facts(
    batch: &Batch<'_>,
    control: ControlKind,
    base_offset: Offset,
    last_offset: Offset,
    append_time_ms: Option<i64>,
) -> BatchFacts {
    BatchFacts {
        base_offset,
        last_offset,
        base_sequence: batch.base_sequence(),
        last_sequence: batch.last_sequence(),
        last_offset_delta: batch.last_offset_delta(),
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        transactional: batch.is_transactional(),
        control,
        max_timestamp_ms: append_time_ms.unwrap_or_else(|| batch.max_timestamp_ms()),
    }
}
