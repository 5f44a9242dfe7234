//! Appending: offsets, acknowledgement, duplicates, and what a reopened log remembers.

use crate::common::{append, create, name, on_both, plain, produced, values};
use oncelog::{ErrorKind, Isolation, Offset};

const ALL: Isolation = Isolation::ReadUncommitted;

#[test]
fn appended_records_are_read_back_in_order_and_after_a_reopen() {
    on_both(|world| {
        let engine = world.open();
        let log = create(&engine);
        assert_eq!(append(&log, &plain(&["a", "b"])).unwrap().base_offset, Offset::ZERO);
        assert_eq!(append(&log, &plain(&["c"])).unwrap().base_offset, Offset::new(2));
        let expected = vec![(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
        assert_eq!(values(&log, 0, ALL), expected);
        assert_eq!(values(&log, 1, ALL), expected, "a batch is returned whole");
        engine.close().unwrap();
        let engine = world.open();
        assert!(engine.recovery_reports().is_empty());
        let log = engine.log(&name()).unwrap();
        assert_eq!(values(&log, 0, ALL), expected);
        assert_eq!(append(&log, &plain(&["d"])).unwrap().base_offset, Offset::new(3));
    });
}

// S-3, and S-23 with a window that survives: Kafka keeps one batch over a restart, we keep five.
#[test]
fn five_batches_stay_duplicates_over_a_restart() {
    on_both(|world| {
        let engine = world.open();
        let log = create(&engine);
        for sequence in 0..6 {
            append(&log, &produced(1, 0, sequence, 1, false)).unwrap();
        }
        engine.close().unwrap();
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        for sequence in 1..6 {
            let again = append(&log, &produced(1, 0, sequence, 1, false)).unwrap();
            assert!(again.duplicate);
            assert_eq!(again.base_offset, Offset::new(i64::from(sequence)));
        }
        let error = append(&log, &produced(1, 0, 0, 1, false)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfOrderSequence { .. }), "{error:?}");
        assert_eq!(values(&log, 0, ALL).len(), 6);
    });
}
