//! Bounds of options and arguments, and errors whose kind says what to do.

use crate::common::{ID, World, create, name, plain};
use oncelog::{AppendOptions, Engine, EngineOptions, Error, ErrorKind, LogConfig, LogName, Offset};
use std::path::PathBuf;

fn assert_names(error: &Error, words: &[&str]) {
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word}");
    }
}

#[test]
fn a_log_option_out_of_bounds_is_refused_with_its_name_and_bounds() {
    let refused = |field: &str, low: &str, change: fn(&mut LogConfig)| {
        let mut config = LogConfig::default();
        change(&mut config);
        assert_names(&config.validate().unwrap_err(), &[field, low]);
    };
    refused("segment_bytes", "4096..=2147483647", |c| c.segment_bytes = 4095);
    refused("segment_ms", "1..=", |c| c.segment_ms = 0);
    refused("segment_index_bytes", "32..=", |c| c.segment_index_bytes = 31);
    refused("index_interval_bytes", "0..=2147483647", |c| c.index_interval_bytes = u32::MAX);
    refused("max_message_bytes", "61..=2147483647", |c| c.max_message_bytes = 0);
    refused("max_message_bytes", "61..=2147483647", |c| c.max_message_bytes = u32::MAX);
    refused("retention_ms", "-1..=", |c| c.retention_ms = -2);
    refused("retention_bytes", "-1..=", |c| c.retention_bytes = -2);
    refused("timestamp_before_max_ms", "0..=", |c| c.timestamp_before_max_ms = -1);
    refused("timestamp_after_max_ms", "0..=", |c| c.timestamp_after_max_ms = -1);
    refused("file_delete_delay_ms", "0..=", |c| c.file_delete_delay_ms = -1);
    refused("producer_id_expiration_ms", "1..=", |c| c.producer_id_expiration_ms = -1);
    LogConfig::default().validate().unwrap();
}

#[test]
fn an_engine_option_out_of_bounds_is_refused_with_its_name_and_bounds() {
    let refused = |words: &[&str], change: fn(&mut EngineOptions)| {
        let mut options = EngineOptions::new("/data");
        change(&mut options);
        assert_names(&options.validate().unwrap_err(), words);
    };
    refused(&["staged_bytes_max", "1048576..="], |o| o.staged_bytes_max = u64::MAX);
    refused(&["staged_bytes_max", "1048576..="], |o| o.staged_bytes_max = 1);
    refused(&["checkpoint_bytes", "1..="], |o| o.checkpoint_bytes = 0);
    refused(&["producers_max", "1..="], |o| o.producers_max = 0);
    refused(&["node_id", "0..="], |o| o.node_id = Some(-1));
    refused(&["directories"], |o| o.directories.clear());
    // Rather than that another engine has it.
    refused(&["directories", "/data/ twice"], |o| o.directories.push(PathBuf::from("/data/")));
}

#[test]
fn a_negative_offset_changes_nothing() {
    let world = World::simulated();
    let log = create(&world.open());
    for _ in 0..3 {
        log.append(&plain(&["x"]), &AppendOptions::default()).unwrap().wait().unwrap();
    }
    log.trim_before(Offset::new(1)).unwrap();
    let before = log.offsets();
    assert_names(&log.truncate_to(Offset::new(-1)).unwrap_err(), &["-1", "0..="]);
    assert_names(&log.trim_before(Offset::new(-1)).unwrap_err(), &["-1", "0..="]);
    assert_eq!(log.offsets(), before);
}

#[test]
fn an_id_of_zeroes_is_refused_before_there_is_a_log() {
    let world = World::simulated();
    let engine = world.open();
    let error = engine.create_log(&name(), [0; 16], LogConfig::default()).unwrap_err();
    assert_names(&error, &["id"]);
    assert_eq!(engine.logs().unwrap(), []);
}

#[test]
fn retriable_is_what_may_succeed_unchanged_and_nothing_else() {
    use ErrorKind::{Busy, ConcurrentTransactions, CorruptBatch, DiskFull, Io, TooManyProducers};
    let is_retriable = |kind| Error::new(kind, "").is_retriable();
    for kind in [Busy, DiskFull, TooManyProducers, ConcurrentTransactions] {
        assert!(is_retriable(kind.clone()), "{kind:?}");
    }
    let others = [ErrorKind::TransactionAborted, ErrorKind::TransactionUnseen, ErrorKind::Locked];
    for kind in others.into_iter().chain([CorruptBatch, Io, ErrorKind::Truncated]) {
        assert!(!is_retriable(kind.clone()), "{kind:?}");
    }
}

#[test]
fn a_log_is_opened_or_created_by_one_call() {
    let world = World::simulated();
    let topic = |partition| LogName::new("orders", partition).unwrap();
    let configured = |retention_ms| {
        let mut config = LogConfig::default();
        config.retention_ms = retention_ms;
        config
    };
    let engine = world.open();
    let log = engine.open_log(&topic(0), configured(1000)).unwrap();
    log.append(&plain(&["x"]), &AppendOptions::default()).unwrap().wait().unwrap();
    assert_ne!(log.id(), [0; 16]);
    // The partitions of a topic share its id; other topics have their own.
    assert_eq!(engine.open_log(&topic(1), configured(1000)).unwrap().id(), log.id());
    assert_ne!(engine.open_log(&name(), configured(1000)).unwrap().id(), log.id());
    let id = log.id();
    drop(log);
    engine.close().unwrap();

    let engine: Engine = world.open();
    let log = engine.open_log(&topic(0), configured(2000)).unwrap();
    assert_eq!((log.id(), log.offsets().log_end_offset.get()), (id, 1));
    assert_eq!(log.config().retention_ms, 2000);
    let error = engine.open_log(&topic(0), configured(-2)).unwrap_err();
    assert_names(&error, &["retention_ms"]);
    // Whatever id a log was created with.
    let other = LogName::new("other", 0).unwrap();
    engine.create_log(&other, ID, LogConfig::default()).unwrap();
    assert_eq!(engine.open_log(&other, configured(1000)).unwrap().id(), ID);
}
