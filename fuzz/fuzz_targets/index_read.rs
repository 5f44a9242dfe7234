//! See `src/index_read.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::index_read::check(bytes));
