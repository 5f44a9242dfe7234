//! See `src/producer_snapshot.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::producer_snapshot::check(bytes));
