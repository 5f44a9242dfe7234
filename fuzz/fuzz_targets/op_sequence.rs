//! See `src/op_sequence.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::op_sequence::check(bytes));
