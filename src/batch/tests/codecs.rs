//! The codecs against foreign streams, cut streams and bombs.

use super::*;
use crate::batch::compression::{compress, decompress};
use std::io::Write;

const COMPRESSED: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn packed(codec: Compression, records: &[u8]) -> Vec<u8> {
    compress(codec, records, Vec::new()).unwrap()
}

fn unpack(codec: Compression, input: &[u8], cap: usize) -> Result<Vec<u8>, ErrorKind> {
    decompress(codec, input, &DecodeLimits::new(cap)).map_err(|error| error.kind().clone())
}

const REFUSED: Result<Vec<u8>, ErrorKind> = Err(ErrorKind::InvalidBatch);

#[test]
fn the_cap_is_the_largest_output() {
    let records = vec![3; 100_000];
    for codec in COMPRESSED {
        let input = packed(codec, &records);
        assert_eq!(unpack(codec, &input, 100_000).as_ref(), Ok(&records), "{codec:?}");
        assert_eq!(unpack(codec, &input, 99_999), REFUSED, "{codec:?}");
    }
}

#[test]
fn the_default_cap_scales_with_the_input_and_ends_at_64_mib() {
    let limits = DecodeLimits::default();
    assert_eq!(limits.output_bytes_max(0), 1 << 20);
    assert_eq!(limits.output_bytes_max(1000), (1 << 20) + 100_000);
    assert_eq!(limits.output_bytes_max(1 << 20), 64 << 20);
    assert_eq!(limits.output_bytes_max(usize::MAX), 64 << 20);
}

// A small batch that would fill 80 MiB stops at the default cap.
#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 80 << 20];
    for codec in COMPRESSED {
        let bomb = packed(codec, &zeros);
        let result = decompress(codec, &bomb, &DecodeLimits::default());
        assert_eq!(result.unwrap_err().kind(), &ErrorKind::InvalidBatch, "{codec:?}");
    }
}

#[test]
fn a_bomb_in_a_batch_is_refused_when_its_records_are_read() {
    let value = vec![0; 8 << 20];
    for codec in COMPRESSED {
        let mut builder = BatchBuilder::new().compression(codec);
        builder.append(0, None, Some(&value), &[]).unwrap();
        let bytes = builder.build().unwrap();
        let batch = parse(&bytes);
        let error = batch.records(&DecodeLimits::new(1 << 20)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidBatch);
        assert!(batch.records(&DecodeLimits::new(9 << 20)).is_ok());
    }
}

#[test]
fn cut_streams_are_refused() {
    let records: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
    for codec in COMPRESSED {
        let input = packed(codec, &records);
        for cut in [1, input.len() / 2, input.len() - 9] {
            let result = unpack(codec, &input[..cut], 1 << 20);
            // A cut at a block's end is only seen by whoever counts the records.
            assert!(result.is_err() || result.unwrap().len() < records.len(), "{codec:?}, {cut}");
        }
    }
}

// D-15: a gzip stream of several members, zstd of several frames.
#[test]
fn concatenated_streams_are_read() {
    for codec in [Compression::Gzip, Compression::Zstd, Compression::Snappy] {
        let input = [packed(codec, b"first "), packed(codec, b"second")].concat();
        assert_eq!(unpack(codec, &input, 100).unwrap(), b"first second", "{codec:?}");
    }
}

#[test]
fn many_small_members_share_one_cap() {
    let input = packed(Compression::Gzip, &[0; 1000]).repeat(50);
    assert_eq!(unpack(Compression::Gzip, &input, 50_000).unwrap().len(), 50_000);
    assert_eq!(unpack(Compression::Gzip, &input, 49_999), REFUSED);
}

// D-15: the framing, byte for byte, and the bare block of other clients.
#[test]
fn snappy_is_read_framed_and_bare() {
    let framed = hex("82 534e41505059 00 00000001 00000001 00000007 05 10 68656c6c6f");
    assert_eq!(packed(Compression::Snappy, b"hello"), framed);
    assert_eq!(unpack(Compression::Snappy, &framed, 5).unwrap(), b"hello");
    assert_eq!(unpack(Compression::Snappy, &framed[20..], 5).unwrap(), b"hello");
}

#[test]
fn snappy_s_declared_lengths_are_not_believed() {
    let lying = |bytes: &str| unpack(Compression::Snappy, &hex(bytes), usize::MAX);
    assert_eq!(lying("ffffffff0f 10 68656c6c6f"), REFUSED, "a block of 4 GiB");
    assert_eq!(lying("82534e4150505900 00000001 00000001 7fffffff 05"), REFUSED);
    assert_eq!(lying("82534e4150505900 00000001 00000001 ffffffff 05"), REFUSED);
    assert_eq!(lying("82534e4150505900 00000001 0000"), REFUSED);
}

// D-15: independent blocks of at most 64 KiB, which version 1 of the frame calls 0x60 0x40.
#[test]
fn lz4_frames_have_kafka_s_descriptor() {
    assert_eq!(packed(Compression::Lz4, b"x")[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
}

#[test]
fn other_lz4_streams_are_refused() {
    let frame = packed(Compression::Lz4, b"records");
    let twice = frame.repeat(2);
    assert_eq!(unpack(Compression::Lz4, &twice, 100), REFUSED, "a second frame");
    let mut checksum = frame.clone();
    checksum[6] ^= 1;
    assert_eq!(unpack(Compression::Lz4, &checksum, 100), REFUSED, "the header checksum");
    let legacy = [&[0x02, 0x21, 0x4c, 0x18][..], &frame[7..]].concat();
    assert_eq!(unpack(Compression::Lz4, &legacy, 100), REFUSED, "the legacy frame");
    assert_eq!(unpack(Compression::Lz4, &[], 100), REFUSED);
}

// Linked blocks and larger ones are other clients' choice.
#[test]
fn lz4_frames_of_every_shape_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let records: Vec<u8> = (0..300_000_u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(1_200_000));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&records).unwrap();
            let input = encoder.finish().unwrap();
            assert_eq!(unpack(Compression::Lz4, &input, 1_200_000).as_ref(), Ok(&records));
            assert_eq!(unpack(Compression::Lz4, &input, 1_199_999), REFUSED);
        }
    }
}

// A window is memory that the stream asks for: 8 MiB is granted, more is not.
#[test]
fn zstd_windows_above_8_mib_are_refused() {
    let frame = |window_log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(b"records").unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(unpack(Compression::Zstd, &frame(23), 100).unwrap(), b"records");
    assert_eq!(unpack(Compression::Zstd, &frame(24), 100), REFUSED);
}
