//! Files that are made to be expensive: they must cost memory of a few buffers and time of a few passes.

use crate::counting::counted;
use crate::world;
use oncelog::io::OpenMode;
use oncelog::{Backend, Engine, EngineOptions, ErrorKind, Log, Offset, ReadOptions};
use std::path::Path;
use std::time::Instant;

const FILE_BYTES: usize = 64 << 20;
const HEADER_BYTES: usize = 61;

/// A plausible header every 61 bytes, each of a batch of `claims` bytes, or of all that is left if that is less.
fn headers(claims: usize) -> Vec<u8> {
    let mut file = Vec::with_capacity(FILE_BYTES);
    while file.len() + HEADER_BYTES <= FILE_BYTES {
        let size = claims.min(FILE_BYTES - file.len());
        let mut header = [0; HEADER_BYTES];
        header[8..12].copy_from_slice(&i32::try_from(size - 12).unwrap().to_be_bytes());
        header[16] = 2;
        file.extend(header);
    }
    file
}

fn open(path: &Path) -> Log {
    let mut options = EngineOptions::new(path);
    options.background = false;
    options.reserve_bytes = 0;
    options.backend = Backend::Std;
    Engine::open(options).and_then(|engine| engine.log(&world::name())).unwrap()
}

#[test]
fn a_segment_of_plausible_headers_takes_a_few_buffers_and_a_few_passes() {
    for (claims, what) in [(FILE_BYTES, "all that is left"), (2 << 20, "2 MiB"), (4096, "4 KiB")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut options = EngineOptions::new(path);
        options.background = false;
        options.reserve_bytes = 0;
        let engine = Engine::open(options).unwrap();
        let log =
            engine.create_log(&world::name(), [7; 16], oncelog::LogConfig::default()).unwrap();
        engine.close().unwrap();
        drop((log, engine));
        let storage = oncelog::io::open_storage(Backend::Std, path).unwrap();
        let file = path.join("t-0/00000000000000000000.log");
        let file = storage.open(&file, OpenMode::Truncate, false).unwrap();
        file.write_at(&headers(claims), 0).unwrap();
        // Its end was durable once, says the name: what lies before it is damage, and is searched.
        let state = path.join("t-0/00000000000000001000.state");
        storage.open(&state, OpenMode::CreateNew, false).unwrap();
        let start = Instant::now();
        let taken = counted(|| {
            let log = open(path);
            assert_eq!(log.offsets().log_end_offset, Offset::new(1000));
            let error = log.read(Offset::ZERO, &ReadOptions::default()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error:?}");
        });
        println!("{what}: {taken:?}, {} ms", start.elapsed().as_millis());
        assert!(taken.largest <= 1 << 20 && taken.peak <= 8 << 20, "{what}: {taken:?}");
    }
}
