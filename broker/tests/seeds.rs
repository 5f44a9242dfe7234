//! The fuzz target of the wire codec over every committed seed, on a stable compiler.
//!
//! The seeds are the newest version of every message in `codec_vectors`, except those called
//! `found-…`, which a fuzzer made. `ONCELOG_WRITE_SEEDS=1 cargo test -p oncelog-broker --test seeds`
//! makes them again; `cargo +nightly fuzz run request_decode <seed>` replays one.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own data has failed")]
#![expect(unreachable_pub, reason = "the check is a library of the fuzz crate")]
#![expect(clippy::disallowed_methods, reason = "the seeds lie in the tree, not in a log")]

#[path = "../../fuzz/src/request_decode.rs"]
mod request_decode;

use oncelog_broker::protocol::{RequestHeader, Writer, api_info};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, panic};

/// The newest vectors, as frames.
fn made() -> BTreeMap<String, Vec<u8>> {
    let mut made = BTreeMap::new();
    for line in include_str!("codec_vectors/codec.vectors").lines() {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        let (api_key, api_version) = (parts[0].parse().unwrap(), parts[1].parse().unwrap());
        let api = api_info(api_key).unwrap();
        if api_version != api.max {
            continue;
        }
        let name = format!("{}-{}", api.name, parts[2]).to_lowercase();
        // Each message comes full and empty; the full one is worth more.
        made.entry(name).or_insert_with(|| {
            let mut frame = match parts[2] {
                "request" => header(api_key, api_version),
                _ => [api_key.to_be_bytes(), api_version.to_be_bytes()].concat(),
            };
            frame.extend(unhex(parts[3]));
            frame
        });
    }
    made
}

fn header(api_key: i16, api_version: i16) -> Vec<u8> {
    let header = RequestHeader { api_key, api_version, ..RequestHeader::default() };
    let mut writer = Writer::new();
    header.encode(&mut writer);
    writer.into_buffers().unwrap().concat()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[test]
fn every_request_seed_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/request_decode");
    if std::env::var_os("ONCELOG_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in made() {
            fs::write(directory.join(name), bytes).unwrap();
        }
    }
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        count += 1;
        let bytes = fs::read(&path).unwrap();
        let right = panic::catch_unwind(|| request_decode::check(&bytes));
        assert!(right.is_ok(), "seed {}", path.display());
    }
    assert!(count > 0, "there are no seeds");
}
