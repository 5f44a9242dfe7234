//! See `src/directory_open.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::directory_open::check(bytes));
