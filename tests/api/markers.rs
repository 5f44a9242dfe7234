//! Ends of transactions, as a coordinator writes them.

use oncelog::batch::{EndMarker, MarkerKind, marker_batch};
use oncelog::{
    AppendOptions, Appended, LeaderEpoch, Log, Offset, Origin, ProducerEpoch, ProducerId,
};

/// The marker that ends a producer's transaction; for [`Origin::Coordinator`].
pub(crate) fn marker(pid: i64, epoch: i16, commit: bool) -> Vec<u8> {
    let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
    let (pid, epoch) = (ProducerId::new(pid), ProducerEpoch::new(epoch));
    let (none, marker) = (LeaderEpoch::NONE, EndMarker::new(kind, 0));
    marker_batch(Offset::ZERO, none, pid, epoch, marker, 1_700_000_000_000).to_vec()
}

/// Ends a producer's transaction and waits for it.
pub(crate) fn end_txn(log: &Log, pid: i64, epoch: i16, commit: bool) -> oncelog::Result<Appended> {
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    log.append(&marker(pid, epoch, commit), &options)?.wait()
}
