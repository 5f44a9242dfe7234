//! See `src/batch.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::batch::check(bytes));
