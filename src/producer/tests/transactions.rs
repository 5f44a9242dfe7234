//! The last stable offset and the end of transactions: S-24 to S-26.

use super::*;

const EVERYTHING: Offset = Offset::new(i64::MAX);

fn lso(bench: &Bench) -> i64 {
    bench.table.last_stable_offset(Offset::new(bench.next_offset), Offset::ZERO).get()
}

fn begin(bench: &mut Bench, id: i64, offset: i64) {
    bench.next_offset = offset;
    bench.send(data(id, 0, 0).in_txn()).unwrap();
}

fn end(bench: &mut Bench, id: i64, offset: i64, commit: bool) -> CompletedTxn {
    bench.next_offset = offset;
    bench.end(marker(id, 0, commit, 0)).unwrap()
}

// S-24, T-3, T-8, T-9.
#[test]
fn each_end_names_the_earliest_other_open_transaction() {
    let mut bench = Bench::new();
    for (id, offset) in [(1, 100), (2, 125), (3, 157)] {
        begin(&mut bench, id, offset);
    }
    let a = end(&mut bench, 1, 172, false);
    assert_eq!((a.first_offset.get(), a.last_offset.get(), a.aborted), (100, 172, true));
    assert_eq!(a.last_stable_offset.get(), 125);
    bench.table.on_high_watermark(Offset::new(172));
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::new(100)), "marker not below HW");
    bench.table.on_high_watermark(Offset::new(173));
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::new(125)));

    let c = end(&mut bench, 3, 192, true);
    assert_eq!((c.last_stable_offset.get(), c.aborted), (125, false));
    bench.table.on_high_watermark(Offset::new(193));
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::new(125)));

    let b = end(&mut bench, 2, 270, false);
    assert_eq!(b.last_stable_offset.get(), 271);
    bench.table.on_high_watermark(Offset::new(271));
    assert_eq!(bench.table.first_unstable_offset(), None);
}

// T-9: an ended transaction that is not replicated yet does not count in the index entry.
#[test]
fn an_unreplicated_transaction_bounds_readers_but_not_index_entries() {
    let mut bench = Bench::new();
    begin(&mut bench, 1, 0);
    begin(&mut bench, 2, 1);
    end(&mut bench, 1, 2, true);
    assert_eq!(end(&mut bench, 2, 3, false).last_stable_offset.get(), 4);
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::ZERO));
}

// S-25, T-5, T-6, T-7.
#[test]
fn the_last_stable_offset_is_the_first_open_transaction_or_the_high_watermark() {
    let mut bench = Bench::new();
    bench.send(data(9, 0, 0)).unwrap();
    assert_eq!(lso(&bench), 1);
    bench.send(data(1, 0, 0).records(3).in_txn()).unwrap();
    bench.send(data(9, 0, 1)).unwrap();
    bench.send(data(2, 0, 0).in_txn()).unwrap();
    assert_eq!(lso(&bench), 1);
    let below_the_transaction = Offset::new(1);
    assert_eq!(bench.table.last_stable_offset(below_the_transaction, Offset::ZERO).get(), 1);
    bench.end(marker(1, 0, true, 0)).unwrap();
    assert_eq!(lso(&bench), 1, "the marker is not below the high watermark");
    bench.table.on_high_watermark(Offset::new(bench.next_offset));
    assert_eq!(lso(&bench), 5);
    bench.end(marker(2, 0, false, 0)).unwrap();
    bench.table.on_high_watermark(Offset::new(bench.next_offset));
    assert_eq!(lso(&bench), bench.next_offset);

    begin(&mut bench, 3, 20);
    bench.table.limits.planted.lso_off_by_one = true;
    assert_eq!(lso(&bench), 21, "planted");
}

// S-26, T-4.
#[test]
fn the_last_stable_offset_does_not_fall_below_the_log_start() {
    let mut bench = Bench::new();
    begin(&mut bench, 1, 0);
    bench.next_offset = 10;
    let log_start = Offset::new(4);
    bench.table.on_log_start(log_start);
    assert_eq!(bench.table.last_stable_offset(Offset::new(10), log_start), log_start);
    let ended = end(&mut bench, 1, 10, false);
    assert_eq!((ended.first_offset.get(), ended.last_stable_offset.get()), (0, 11));
    bench.table.on_high_watermark(Offset::new(11));
    assert_eq!(lso(&bench), 11);
}

// P-35.
#[test]
fn a_log_start_above_a_marker_releases_its_transaction() {
    let mut bench = Bench::new();
    begin(&mut bench, 1, 0);
    end(&mut bench, 1, 1, true);
    bench.table.on_log_start(Offset::new(1));
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::ZERO));
    bench.table.on_log_start(Offset::new(2));
    assert_eq!(bench.table.first_unstable_offset(), None);
}

#[test]
fn open_transactions_tell_their_age() {
    let mut bench = Bench::new();
    begin(&mut bench, 2, 0);
    bench.now_ms = 5000;
    begin(&mut bench, 1, 1);
    bench.send(data(2, 0, 1).in_txn()).unwrap();
    let open: Vec<_> = bench.table.open_transactions().collect();
    let times: Vec<_> =
        open.iter().map(|t| (t.producer_id.get(), t.started_ms, t.last_used_ms)).collect();
    assert_eq!(times, [(2, 1000, 5000), (1, 5000, 5000)]);
    assert_eq!(open[0].first_offset, Offset::ZERO);
}

#[test]
fn clearing_forgets_producers_transactions_and_guards() {
    let mut bench = Bench::new();
    begin(&mut bench, 1, 0);
    begin(&mut bench, 2, 1);
    end(&mut bench, 1, 2, true);
    bench.table.clear();
    assert_eq!((bench.table.len(), bench.table.first_unstable_offset()), (0, None));
    assert_eq!(bench.table.last_stable_offset(EVERYTHING, Offset::ZERO), EVERYTHING);
}
