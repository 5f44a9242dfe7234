//! See `src/segment_open.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::segment_open::check(bytes));
