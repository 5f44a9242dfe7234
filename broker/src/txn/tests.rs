//! Tests of the state machine, of its stored form, and of both together.

use super::error::TxnError;
use super::record::{decode_key, encode_key};
use super::state::{End, Identity, Init, Partition, State, Transaction};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOW_MS: i64 = 1_700_000_000_000;
const TIMEOUT_MS: i32 = 60_000;

fn by(producer_id: i64, epoch: i16) -> Identity {
    Identity { producer_id, epoch }
}

fn partitions(names: &[(&str, i32)]) -> BTreeSet<Partition> {
    names.iter().map(|(topic, index)| (Arc::from(*topic), *index)).collect()
}

fn empty() -> Transaction {
    Transaction::new(7, TIMEOUT_MS, NOW_MS)
}

fn ongoing() -> Transaction {
    let some = partitions(&[("t", 0), ("t", 2), ("u", 1)]);
    empty().add(by(7, 0), &some, NOW_MS).unwrap().unwrap()
}

fn in_state(state: State) -> Transaction {
    Transaction { state, ..ongoing() }
}

fn stored(init: Init) -> Transaction {
    match init {
        Init::Store(txn) => txn,
        other => panic!("{other:?}"),
    }
}

// C-14, second and third row.
#[test]
fn each_incarnation_has_the_next_epoch() {
    for state in [State::Empty, State::CompleteCommit, State::CompleteAbort] {
        let txn = in_state(state);
        let next = stored(txn.init(None, 1000, NOW_MS + 5).unwrap());
        assert_eq!((next.identity(), next.last_producer_epoch), (by(7, 1), -1));
        assert_eq!((next.state, next.timeout_ms, next.start_ms), (State::Empty, 1000, -1));
        assert!(next.partitions.is_empty());
        let next = stored(txn.init(Some(by(7, 0)), 1000, NOW_MS).unwrap());
        assert_eq!((next.identity(), next.last_producer_epoch), (by(7, 1), 0));
    }
}

// C-14, fourth and last row; C-12.
#[test]
fn a_producer_that_repeats_its_request_gets_the_same_answer_and_an_older_one_is_fenced() {
    let txn = stored(empty().init(Some(by(7, 0)), TIMEOUT_MS, NOW_MS).unwrap());
    assert_eq!(txn.init(Some(by(7, 0)), TIMEOUT_MS, NOW_MS), Ok(Init::Same));
    let txn = stored(txn.init(None, TIMEOUT_MS, NOW_MS).unwrap());
    for older in [by(7, 0), by(7, 1), by(8, 2)] {
        assert_eq!(txn.init(Some(older), TIMEOUT_MS, NOW_MS), Err(TxnError::ProducerFenced));
    }
}

// C-5, C-12, C-14, first row.
#[test]
fn used_up_epochs_give_a_new_producer_id_that_a_retry_finds_again() {
    let last = Transaction { producer_epoch: 32_766, ..empty() };
    assert_eq!(last.init(None, TIMEOUT_MS, NOW_MS), Ok(Init::Rotate));
    let asked = Some(by(7, 32_766));
    assert_eq!(last.init(asked, TIMEOUT_MS, NOW_MS), Ok(Init::Rotate));
    let next = last.rotated(9, asked, TIMEOUT_MS, NOW_MS);
    assert_eq!((next.identity(), next.previous_producer_id), (by(9, 0), 7));
    assert_eq!(next.init(asked, TIMEOUT_MS, NOW_MS), Ok(Init::Same));
    assert_eq!(
        next.init(Some(by(7, 32_765)), TIMEOUT_MS, NOW_MS),
        Err(TxnError::ProducerFenced),
        "a previous id is known by its last epoch only"
    );
}

// C-15, C-16.
#[test]
fn a_new_incarnation_aborts_what_the_old_one_left_open_and_fences_it() {
    let txn = ongoing();
    assert_eq!(txn.init(None, TIMEOUT_MS, NOW_MS), Ok(Init::Fence));
    let fenced = txn.fenced(NOW_MS + 1);
    assert_eq!((fenced.state, fenced.identity()), (State::PrepareAbort, by(7, 1)));
    assert_eq!(fenced.end(by(7, 0), true, NOW_MS), Err(TxnError::ProducerFenced));
    let complete = fenced.completed(NOW_MS + 2);
    assert_eq!(complete.state, State::CompleteAbort);
    let next = stored(complete.init(None, TIMEOUT_MS, NOW_MS + 3).unwrap());
    assert_eq!(next.identity(), by(7, 2));
    let last = Transaction { producer_epoch: 32_766, ..txn };
    assert_eq!(last.fenced(NOW_MS).producer_epoch, 32_767);
    let complete = last.fenced(NOW_MS).completed(NOW_MS);
    assert_eq!(complete.init(None, TIMEOUT_MS, NOW_MS), Ok(Init::Rotate));
}

// C-13.
#[test]
fn nothing_begins_while_markers_are_on_their_way() {
    for state in [State::PrepareCommit, State::PrepareAbort] {
        let txn = in_state(state);
        assert_eq!(txn.init(None, TIMEOUT_MS, NOW_MS), Err(TxnError::Concurrent));
        let some = partitions(&[("t", 0)]);
        assert_eq!(txn.add(by(7, 0), &some, NOW_MS), Err(TxnError::Concurrent));
        let first = some.first().unwrap();
        assert_eq!(txn.verify(by(7, 0), first), Err(TxnError::Concurrent));
    }
}

// C-22, C-22a.
#[test]
fn partitions_are_added_once_and_verified_while_the_transaction_runs() {
    let txn = ongoing();
    assert_eq!((txn.state, txn.start_ms), (State::Ongoing, NOW_MS));
    assert_eq!(txn.add(by(7, 0), &partitions(&[("t", 2)]), NOW_MS + 9), Ok(None));
    let more = txn.add(by(7, 0), &partitions(&[("t", 3)]), NOW_MS + 9).unwrap().unwrap();
    assert_eq!((more.partitions.len(), more.start_ms), (4, NOW_MS), "it began with the first");
    let (known, unknown) = ((Arc::from("t"), 3), (Arc::from("t"), 4));
    assert_eq!(more.verify(by(7, 0), &known), Ok(()));
    assert_eq!(more.verify(by(7, 0), &unknown), Err(TxnError::Abortable));
    assert_eq!(more.verify(by(7, 1), &known), Err(TxnError::ProducerFenced));
    assert_eq!(more.verify(by(8, 0), &known), Err(TxnError::InvalidProducerIdMapping));
    let done = Transaction { state: State::PrepareCommit, ..more }.completed(NOW_MS + 10);
    assert_eq!(done.verify(by(7, 0), &known), Err(TxnError::Abortable), "over, so not in it");
    let next = done.add(by(7, 0), &partitions(&[("u", 0)]), NOW_MS + 11).unwrap().unwrap();
    assert_eq!((next.partitions, next.start_ms), (partitions(&[("u", 0)]), NOW_MS + 11));
}

// The first table of 5.4; where Kafka says 51 to a repeated end, this one goes on with it.
#[test]
fn a_transaction_ends_as_it_was_decided() {
    use State::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
    let refused = Err(TxnError::InvalidTxnState);
    let ends = |state: State, commit| in_state(state).end(by(7, 0), commit, NOW_MS);
    for (state, commit, abort) in [
        (CompleteCommit, Ok(End::Done), refused.clone()),
        (CompleteAbort, refused.clone(), Ok(End::Done)),
        (PrepareCommit, Ok(End::Resume), refused.clone()),
        (PrepareAbort, refused.clone(), Ok(End::Resume)),
        (Empty, refused.clone(), refused),
    ] {
        assert_eq!((ends(state, true), ends(state, false)), (commit, abort), "{state:?}");
    }
    for (commit, prepared, complete) in
        [(true, PrepareCommit, CompleteCommit), (false, PrepareAbort, CompleteAbort)]
    {
        let Ok(End::Prepare(next)) = ends(Ongoing, commit) else { panic!("{commit}") };
        assert_eq!((next.state, next.partitions.len()), (prepared, 3));
        assert_eq!(next.completed(NOW_MS).state, complete);
    }
}

// C-36, C-37.
#[test]
fn only_what_runs_can_time_out_and_only_what_rests_can_expire() {
    let end_ms = NOW_MS + i64::from(TIMEOUT_MS);
    assert!(!ongoing().has_timed_out(end_ms) && ongoing().has_timed_out(end_ms + 1));
    assert!(!ongoing().has_expired(1000, i64::MAX));
    for state in [State::Empty, State::CompleteCommit, State::CompleteAbort] {
        assert!(!in_state(state).has_timed_out(i64::MAX));
        assert!(in_state(state).has_expired(1000, NOW_MS + 1000));
        assert!(!in_state(state).has_expired(1000, NOW_MS + 999));
    }
}

// C-40 to C-43.
#[test]
fn every_state_comes_back_from_its_bytes() {
    for state in State::ALL {
        let mut txn = in_state(state);
        txn.previous_producer_id = 3;
        txn.last_producer_epoch = 4;
        if state == State::Empty {
            txn.partitions.clear();
        }
        let bytes = txn.encode().unwrap();
        assert_eq!(Transaction::decode(&bytes), Ok(txn), "{state:?}");
        for end in 0..bytes.len() {
            assert!(Transaction::decode(&bytes[..end]).is_err(), "cut to {end}");
        }
    }
    assert_eq!(decode_key(&encode_key("id").unwrap()).as_deref(), Ok("id"));
}

/// Written by Kafka 3 in version 0: producer 12, epoch 1, 30 s, Ongoing, "t" 0 and 1.
const KAFKA_V0: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 1, 0, 0, 0x75, 0x30, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2,
    0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 8,
];

#[test]
fn the_inflexible_form_is_read_too() {
    let txn = Transaction::decode(KAFKA_V0).unwrap();
    assert_eq!(txn.identity(), by(12, 1));
    assert_eq!((txn.timeout_ms, txn.state), (30_000, State::Ongoing));
    assert_eq!(txn.partitions, partitions(&[("t", 0), ("t", 1)]));
    assert_eq!((txn.last_update_ms, txn.start_ms), (9, 8));
    assert_eq!((txn.previous_producer_id, txn.last_producer_epoch), (-1, -1));
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_refused() {
    let mut bytes = KAFKA_V0.to_vec();
    bytes[17..21].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(Transaction::decode(&bytes).is_err());
    bytes[17..21].copy_from_slice(&1_i32.to_be_bytes());
    bytes[16] = 99;
    assert!(Transaction::decode(&bytes).is_err(), "no such state");
}
