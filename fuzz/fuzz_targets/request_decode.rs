//! See `src/request_decode.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oncelog_fuzz::request_decode::check(bytes));
