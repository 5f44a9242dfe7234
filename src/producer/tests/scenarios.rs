//! Sequences, epochs, markers, expiry, capacity, verification: S-1 to S-15, S-20 to S-22.

use super::*;

const MAX: i32 = i32::MAX;

fn accepted(result: Result<Admission>) -> bool {
    matches!(result, Ok(Admission::Accept))
}

// S-1, S-2, P-15.
#[test]
fn after_the_largest_sequence_comes_zero() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, MAX))));
    assert_eq!(bench.error(data(1, 0, 1)), out_of_order(0, 1));
    assert!(accepted(bench.send(data(1, 0, 0))));
}

// S-2, P-2.
#[test]
fn a_batch_across_the_wrap_is_recognised_and_followed() {
    let mut bench = Bench::new();
    let straddling = data(1, 0, MAX - 10).records(21);
    assert!(accepted(bench.send(straddling)));
    assert_eq!(bench.described(1).unwrap().last_sequence, Sequence::new(9));
    assert_eq!(bench.send(straddling).unwrap(), duplicate(0, 20, 1000));
    assert_eq!(bench.error(data(1, 0, 11)), out_of_order(10, 11));
    assert!(accepted(bench.send(data(1, 0, 10))));
}

// S-3, P-5, P-6.
#[test]
fn five_batches_back_is_a_duplicate_and_six_is_out_of_order() {
    let mut bench = Bench::new();
    for sequence in 0..6 {
        assert!(accepted(bench.send(data(1, 0, sequence))));
    }
    bench.now_ms = 2000;
    assert!(accepted(bench.send(data(1, 0, 6).records(3))));
    assert_eq!(bench.send(data(1, 0, 6).records(3)).unwrap(), duplicate(6, 8, 2000));
    assert_eq!(bench.next_offset, 9);
    assert_eq!(bench.error(data(1, 0, 7).records(2)), out_of_order(9, 7));
    assert_eq!(bench.send(data(1, 0, 2)).unwrap(), duplicate(2, 2, 1000));
    assert_eq!(bench.error(data(1, 0, 1)), out_of_order(9, 1));
}

// Shows that S-3 would notice a smaller cache.
#[test]
fn a_planted_cache_of_four_forgets_the_fifth_batch() {
    let mut planted = limits();
    planted.planted.four_cached_batches = true;
    let mut bench = Bench::with(planted);
    for sequence in 0..5 {
        assert!(accepted(bench.send(data(1, 0, sequence))));
    }
    assert_eq!(bench.send(data(1, 0, 1)).unwrap(), duplicate(1, 1, 1000));
    assert_eq!(bench.error(data(1, 0, 0)), out_of_order(5, 0));
}

// S-4, S-5, P-8, P-9, P-10.
#[test]
fn a_higher_epoch_begins_at_zero_and_fences_the_lower() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0))));
    assert!(accepted(bench.send(data(1, 0, 1))));
    assert_eq!(bench.error(data(1, 0, 3)), out_of_order(2, 3));
    assert_eq!(bench.error(data(1, 1, 1)), out_of_order(0, 1));
    assert!(accepted(bench.send(data(1, 1, 0))));
    assert_eq!(bench.error(data(1, 0, 2)), fenced(1, 0));
    assert_eq!(bench.error(data(1, 0, 1)), fenced(1, 0), "not a duplicate any more (P-3)");
}

// S-6, P-11b, P-19e.
#[test]
fn a_marker_of_an_unknown_producer_makes_it_known_without_batches() {
    let mut bench = Bench::new();
    assert_eq!(bench.end(marker(1, 2, false, 0)), None);
    let known = bench.described(1).unwrap();
    assert_eq!((known.producer_epoch.get(), known.last_sequence), (2, Sequence::NONE));
    assert_eq!(bench.error(data(1, 0, 0)), fenced(2, 0));
    assert_eq!(bench.error(data(1, 2, 17)), out_of_order(0, 17));
    assert!(accepted(bench.send(data(1, 2, 0))));
}

// S-7, P-7.
#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 1, 3))));
    assert_eq!(bench.error(data(1, 1, 5)), out_of_order(4, 5));
}

// S-8, S-9, P-16.
#[test]
fn a_marker_of_a_higher_epoch_forgets_the_batches() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    bench.end(marker(1, 1, false, 0)).unwrap();
    assert_eq!(bench.described(1).unwrap().last_sequence, Sequence::NONE);
    assert_eq!(bench.error(data(1, 0, 0)), fenced(1, 0));
    assert_eq!(bench.error(data(1, 1, 1)), out_of_order(0, 1));
    assert!(accepted(bench.send(data(1, 1, 0))));
}

// S-9, P-16b.
#[test]
fn a_marker_of_the_same_epoch_lets_the_sequence_go_on() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    bench.end(marker(1, 0, true, 0)).unwrap();
    assert_eq!(bench.send(data(1, 0, 0).in_txn()).unwrap(), duplicate(0, 0, 1000));
    assert!(accepted(bench.send(data(1, 0, 1).in_txn())));
}

// S-10, P-13.
#[test]
fn a_plain_batch_within_an_open_transaction_is_refused() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    assert_eq!(bench.error(data(1, 0, 1)), ErrorKind::InvalidTxnState);
    assert!(accepted(bench.send(data(2, 0, 0))), "other producers are free");
}

// S-11, P-19b.
#[test]
fn an_older_coordinator_is_fenced_even_without_data() {
    let mut bench = Bench::new();
    bench.end(marker(1, 0, false, 1));
    let refused = bench.send_as(Origin::Coordinator, marker(1, 0, false, 0)).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::CoordinatorFenced);
    bench.end(marker(1, 0, false, 1));
}

// S-12, P-19b.
#[test]
fn a_replay_accepts_coordinator_epochs_that_fall() {
    let mut bench = Bench::new();
    for coordinator_epoch in [5, 0] {
        assert!(accepted(bench.send_as(Origin::Follower, marker(1, 0, false, coordinator_epoch))));
    }
    assert_eq!(bench.described(1).unwrap().coordinator_epoch, 0);
}

// S-13, P-18.
#[test]
fn a_follower_copies_gaps_old_epochs_and_strangers() {
    let mut bench = Bench::new();
    for batch in [data(1, 3, 55), data(1, 3, 90), data(1, 2, 7), data(1, 2, 7).in_txn()] {
        assert!(accepted(bench.send_as(Origin::Follower, batch)));
    }
    assert!(accepted(bench.send_as(Origin::Follower, data(1, 2, 9))), "within a transaction too");
    let known = bench.described(1).unwrap();
    assert_eq!((known.producer_epoch.get(), known.last_sequence.get()), (2, 9));
}

//
#[test]
fn a_coordinator_is_checked_for_its_epoch_only() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let commit = data(1, 1, -1).records(3).in_txn();
        assert!(accepted(bench.send_as(Origin::Coordinator, commit)), "never a duplicate");
    }
    let refused = bench.send_as(Origin::Coordinator, data(1, 0, -1).in_txn()).unwrap_err();
    assert_eq!(*refused.kind(), fenced(1, 0));
    assert_eq!(bench.error(data(1, 1, 5).in_txn()), out_of_order(0, 5));
    for _ in 0..2 {
        let numbered = data(2, 0, 7);
        assert!(accepted(bench.send_as(Origin::Coordinator, numbered)), "even with sequences");
    }
}

// S-31, P-19a, P-19d.
#[test]
fn marker_epochs_may_not_fall_and_must_rise_where_the_request_says_so() {
    let strict = |epoch| {
        let control =
            ControlKind::Marker { commit: true, coordinator_epoch: 0, epoch_must_rise: true };
        Batch { control, ..marker(1, epoch, true, 0) }
    };
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 5, 0).in_txn())));
    for stale in [marker(1, 4, true, 0), strict(4), strict(5)] {
        let refused = bench.send_as(Origin::Coordinator, stale).unwrap_err();
        assert_eq!(*refused.kind(), fenced(5, stale.epoch));
    }
    assert!(bench.end(strict(6)).is_some());
    assert_eq!(bench.end(strict(6)), None, "a repetition is accepted and ends nothing");
}

// P-19c.
#[test]
fn a_repeated_marker_is_accepted_and_completes_nothing() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    assert!(bench.end(marker(1, 0, true, 3)).is_some());
    assert_eq!(bench.end(marker(1, 0, true, 3)), None);

    bench.table.limits.planted.markers_not_idempotent = true;
    assert_eq!(bench.error(marker(1, 0, true, 3)), ErrorKind::InvalidTxnState, "planted");
}

// S-14, P-27.
#[test]
fn an_idle_producer_expires_and_one_in_a_transaction_does_not() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0))));
    assert!(accepted(bench.send(data(2, 0, 0).in_txn())));
    let all_trimmed = Offset::new(2);
    assert_eq!(bench.table.expire(1000 + DAY_MS - 1, all_trimmed), 0);
    assert_eq!(bench.table.expire(1000 + DAY_MS, all_trimmed), 1);
    assert!(bench.described(1).is_none() && bench.described(2).is_some());
    assert!(accepted(bench.send(data(1, 0, 1))), "unknown again, so any sequence will do (P-29)");
}

#[test]
fn a_producer_whose_last_batch_or_marker_is_in_the_log_never_expires() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0))));
    bench.end(marker(2, 0, true, 0));
    assert_eq!(bench.table.expire(i64::MAX, Offset::ZERO), 0);
    assert_eq!(bench.table.expire(i64::MAX, Offset::new(1)), 1);
    assert!(bench.described(2).is_some());
    assert_eq!(bench.table.expire(i64::MAX, Offset::new(2)), 1);
    assert_eq!(bench.table.len(), 0);
}

// P-27 would go by the records' times, which are the client's.
#[test]
fn a_client_with_a_clock_in_the_past_keeps_its_duplicate_detection() {
    let mut bench = Bench::new();
    bench.now_ms = 100 * DAY_MS;
    let facts = data(1, 0, 0).at(0, 5);
    bench.table.apply(&facts, bench.now_ms);
    assert_eq!(bench.table.expire(bench.now_ms + 1, Offset::new(1)), 0);
}

#[test]
fn at_the_cap_the_longest_unused_producer_makes_room() {
    let mut bench = Bench::with(ProducerLimits::new(3, DAY_MS));
    for id in 1..=3 {
        assert!(accepted(bench.send(data(id, 0, 0))));
    }
    assert!(accepted(bench.send(data(1, 0, 1))));
    assert!(accepted(bench.send(data(4, 0, 0))));
    let mut left: Vec<_> = bench.table.describe().iter().map(|p| p.producer_id.get()).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 3, 4]);
}

#[test]
fn at_the_cap_open_transactions_are_never_evicted() {
    let mut bench = Bench::with(ProducerLimits::new(2, DAY_MS));
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    assert!(accepted(bench.send(data(2, 0, 0).in_txn())));
    assert_eq!(bench.error(data(3, 0, 0)), ErrorKind::TooManyProducers);
    assert!(accepted(bench.send(data(2, 0, 1).in_txn())), "the known go on");
    bench.end(marker(3, 0, true, 0));
    assert_eq!(bench.table.len(), 3, "a marker is never refused");
    bench.end(marker(1, 0, true, 0)).unwrap();
    assert!(accepted(bench.send(data(4, 0, 0))));
    assert!(bench.described(2).is_some(), "still open");
    assert!(bench.described(3).is_none(), "the longest unused");
}

// S-20, P-19.
#[test]
fn an_empty_control_batch_changes_nothing() {
    let mut bench = Bench::new();
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    let before = bench.described(1);
    let empty = Batch { control: ControlKind::Empty, ..marker(1, 0, true, 0) };
    assert!(accepted(bench.send_as(Origin::Follower, empty)));
    assert_eq!(bench.described(1), before);
    assert_eq!(bench.table.first_unstable_offset(), Some(Offset::ZERO));
}

fn verifying() -> Bench {
    Bench::with(ProducerLimits { verification_required: true, ..limits() })
}

fn request(id: i64, epoch: i16, sequence: i32) -> VerificationRequest {
    VerificationRequest {
        producer_id: ProducerId::new(id),
        producer_epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::new(sequence),
        supports_epoch_bump: false,
        now_ms: 1000,
    }
}

// S-21, P-12, P-21.
#[test]
fn the_first_append_after_verification_has_the_lowest_verified_sequence() {
    let mut bench = verifying();
    let guard = bench.table.create_guard(&request(1, 0, 3)).unwrap();
    bench.guard = Some(guard);
    assert_eq!(bench.error(data(1, 0, 4).in_txn()), out_of_order(3, 4));
    assert_eq!(bench.table.create_guard(&request(1, 0, 2)).unwrap(), guard);
    assert_eq!(bench.table.create_guard(&request(1, 0, 4)).unwrap(), guard);
    assert_eq!(bench.error(data(1, 0, 3).in_txn()), out_of_order(2, 3));
    assert_eq!(bench.table.create_guard(&request(1, 1, 7)).unwrap(), guard);
    assert_eq!(bench.error(data(1, 1, 8).in_txn()), out_of_order(7, 8));
    assert_eq!(
        bench.table.create_guard(&request(1, 0, 0)),
        Err(VerificationRefused::StaleEpoch {
            current: ProducerEpoch::new(1),
            found: ProducerEpoch::new(0)
        })
    );
    assert!(accepted(bench.send(data(1, 1, 7).in_txn())));
    let next = bench.table.create_guard(&request(1, 1, 8)).unwrap();
    assert_eq!(next, VerificationGuard::NOT_NEEDED, "the transaction is open now (P-20)");
    bench.guard = Some(next);
    assert!(accepted(bench.send(data(1, 1, 8).in_txn())));
}

// S-22, P-14, P-23.
#[test]
fn only_the_guard_on_record_opens_a_transaction() {
    let mut bench = verifying();
    assert_eq!(bench.error(data(1, 0, 0).in_txn()), ErrorKind::InvalidTxnState);
    bench.guard = Some(VerificationGuard::NOT_NEEDED);
    assert_eq!(bench.error(data(1, 0, 0).in_txn()), ErrorKind::InvalidTxnState);
    let other = bench.table.create_guard(&request(2, 0, 0)).unwrap();
    let guard = bench.table.create_guard(&request(1, 0, 0)).unwrap();
    bench.guard = Some(other);
    assert_eq!(bench.error(data(1, 0, 0).in_txn()), ErrorKind::InvalidTxnState);
    bench.guard = Some(guard);
    bench.end(marker(1, 0, false, 0));
    assert_eq!(bench.error(data(1, 0, 0).in_txn()), ErrorKind::InvalidTxnState, "voided");
    bench.guard = Some(bench.table.create_guard(&request(1, 0, 0)).unwrap());
    assert_ne!(bench.guard, Some(guard));
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    bench.guard = None;
    assert!(accepted(bench.send(data(3, 0, 0))), "plain batches need none");
}

// A-56, P-20.
#[test]
fn a_coordinators_transactional_data_needs_a_guard_too() {
    let mut bench = verifying();
    let offsets = data(1, 0, -1).in_txn();
    assert!(bench.send_as(Origin::Coordinator, offsets).is_err());
    bench.guard = Some(bench.table.create_guard(&request(1, 0, -1)).unwrap());
    assert!(accepted(bench.send_as(Origin::Coordinator, offsets)));
}

// P-12, KIP-890 part 2.
#[test]
fn a_producer_that_bumps_its_epoch_may_not_begin_in_the_middle() {
    let mut bench = verifying();
    let bumping = VerificationRequest { supports_epoch_bump: true, ..request(1, 0, 3) };
    bench.guard = Some(bench.table.create_guard(&bumping).unwrap());
    assert_eq!(bench.error(data(1, 0, 3).in_txn()), out_of_order(0, 3));
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
}

// P-26.
#[test]
fn a_transaction_of_an_older_epoch_must_end_before_a_new_one_is_verified() {
    let mut bench = verifying();
    bench.guard = Some(bench.table.create_guard(&request(1, 1, 0)).unwrap());
    assert!(accepted(bench.send(data(1, 1, 0).in_txn())));
    let newer = request(1, 2, 0);
    assert_eq!(bench.table.create_guard(&newer), Err(VerificationRefused::OlderTxnOpen));
    assert!(matches!(
        bench.table.create_guard(&request(1, 0, 0)),
        Err(VerificationRefused::StaleEpoch { .. })
    ));
    bench.end(marker(1, 1, false, 0)).unwrap();
    assert!(bench.table.create_guard(&newer).is_ok());
}

// P-26b.
#[test]
fn verifications_expire_and_are_bounded() {
    let mut bench = Bench::with(ProducerLimits {
        verification_required: true,
        ..ProducerLimits::new(2, DAY_MS)
    });
    let first = bench.table.create_guard(&request(1, 0, 0)).unwrap();
    let second = bench.table.create_guard(&request(2, 0, 0)).unwrap();
    bench.table.create_guard(&request(3, 0, 0)).unwrap();
    bench.guard = Some(first);
    assert_eq!(bench.error(data(1, 0, 0).in_txn()), ErrorKind::InvalidTxnState);
    bench.table.expire(1000 + DAY_MS - 1, Offset::ZERO);
    bench.guard = Some(second);
    let facts = data(2, 0, 0).in_txn().at(0, 0);
    assert!(accepted(bench.table.admit(Origin::Client, &facts, bench.guard)));
    bench.table.expire(1000 + DAY_MS, Offset::ZERO);
    assert_eq!(bench.error(data(2, 0, 0).in_txn()), ErrorKind::InvalidTxnState);
}

// P-23, P-26b.
#[test]
fn a_used_verification_no_longer_counts_as_the_oldest() {
    let mut bench = Bench::with(ProducerLimits {
        verification_required: true,
        ..ProducerLimits::new(2, DAY_MS)
    });
    bench.guard = Some(bench.table.create_guard(&request(1, 0, 0)).unwrap());
    assert!(accepted(bench.send(data(1, 0, 0).in_txn())));
    bench.end(marker(1, 0, true, 0)).unwrap();
    bench.table.create_guard(&request(2, 0, 0)).unwrap();
    bench.guard = Some(bench.table.create_guard(&request(1, 0, 1)).unwrap());
    bench.table.create_guard(&request(3, 0, 0)).unwrap();
    assert!(accepted(bench.send(data(1, 0, 1).in_txn())), "2 was the oldest");
}
