//! Input that nobody means well with: cut, flipped, random and lying bytes.
//!
//! The goal is that nothing panics, that nothing is allocated on the word of a length, and that
//! every refusal has the kind the caller acts on. A failure names the seed it began with.

use super::*;

fn sample(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec);
    for value in [&b"one"[..], &[7; 300]] {
        builder.append(5, Some(b"k"), Some(value), &[Header::new(b"h", Some(b"v"))]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

/// Uses everything a reader of `bytes` could call.
fn exercise(bytes: &[u8]) {
    assert!(Batch::peek_len(bytes).is_none_or(|size| size >= HEADER_BYTES));
    let Ok((batch, rest)) = Batch::parse(bytes) else {
        return;
    };
    assert_eq!(batch.size() + rest.len(), bytes.len());
    assert!(batch.next_offset() >= batch.last_offset());
    assert_eq!(batch.is_crc_valid(), crc32c::crc32c(&batch.as_bytes()[21..]) == batch.crc());
    assert!(batch.last_sequence() >= Sequence::NONE);
    match batch.end_marker() {
        Ok(marker) => assert!(marker.is_none() || batch.is_control()),
        Err(_) => assert!(batch.is_control(), "only a control batch can fail"),
    }
    let header = batch.patched_header(batch.base_offset(), batch.leader_epoch(), None);
    assert_eq!(header, batch.as_bytes()[..HEADER_BYTES]);
    if let Ok(records) = batch.records(&DecodeLimits::new(1 << 20)) {
        let mut records = records.iter();
        while let Some(Ok(record)) = records.next() {
            assert!((batch.base_offset()..=batch.last_offset()).contains(&record.offset()));
            assert!(record.headers().count() <= batch.size() * 100 + (1 << 20));
        }
        assert!(records.next().is_none(), "nothing follows the end or a failure");
    }
}

fn fault(bytes: &[u8]) -> ErrorKind {
    let records = parse(bytes).records(&DecodeLimits::default());
    let failed =
        records.and_then(|records| records.iter().find_map(Result::err).map_or(Ok(()), Err));
    failed.expect_err("the records are refused").kind().clone()
}

//
#[test]
fn every_cut_of_a_batch_is_incomplete() {
    let bytes = sample(Compression::None);
    for len in 0..bytes.len() {
        let needed = if len < 12 { HEADER_BYTES } else { bytes.len() };
        let error = Batch::parse(&bytes[..len]).unwrap_err();
        assert_eq!(error, ParseError::Incomplete { needed }, "{len} bytes");
        assert_eq!(Batch::peek_len(&bytes[..len]), (len >= 12).then_some(bytes.len()));
    }
    let error = Error::from(ParseError::Incomplete { needed: 61 });
    assert_eq!(error.kind(), &ErrorKind::CorruptBatch);
}

//
#[test]
fn other_formats_and_impossible_lengths_are_told_apart() {
    let bytes = sample(Compression::None);
    for magic in [0, 1, 3, 255] {
        let mut other = bytes.clone();
        other[16] = magic;
        let error = Batch::parse(&other).unwrap_err();
        assert_eq!(error, ParseError::Magic(magic));
        assert_eq!(Error::from(error).kind(), &ErrorKind::InvalidBatch);
        other[8..12].copy_from_slice(&20_i32.to_be_bytes());
        assert_eq!(Batch::parse(&other).unwrap_err(), ParseError::Magic(magic), "a small old one");
    }
    for length in [i32::MIN, -1, 0, 13, 14, 48] {
        let mut bad = bytes.clone();
        bad[8..12].copy_from_slice(&length.to_be_bytes());
        let error = Batch::parse(&bad).unwrap_err();
        assert!(matches!(error, ParseError::Malformed(_)), "{length}");
        assert_eq!(Error::from(error).kind(), &ErrorKind::CorruptBatch);
        assert_eq!(Batch::peek_len(&bad), None, "{length}");
    }
    let mut huge = bytes;
    huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let needed = usize::try_from(i32::MAX).unwrap() + 12;
    assert_eq!(Batch::parse(&huge).unwrap_err(), ParseError::Incomplete { needed });
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut bytes = random.bytes(200);
        if let Some(magic) = bytes.get_mut(16) {
            *magic = 2;
        }
        if bytes.len() > HEADER_BYTES && random.below(8) != 0 {
            let length = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        exercise(&bytes);
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for &codec in CODECS {
        let bytes = sample(codec);
        for seed in 0..3_000 {
            let mut random = Random(seed);
            let mut bytes = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            exercise(&bytes);
        }
    }
}

// A-34, D-20, S-53 (testUnmatchedNumberOfRecords).
#[test]
fn more_or_fewer_records_than_declared_are_refused() {
    for &codec in CODECS {
        for count in [i32::MIN, -1, 0, 1, 3, i32::MAX] {
            let bytes = patched(&sample(codec), 57, &count.to_be_bytes());
            assert_eq!(fault(&bytes), ErrorKind::InvalidBatch, "{codec:?}, {count}");
        }
    }
}

// D-20: every way in which one record can lie about itself.
#[test]
fn malformed_records_are_refused() {
    let cases: [(&str, &[u8]); 15] = [
        ("no record", &[]),
        ("a record longer than the batch", &[14, 0, 0, 0, 1, 1]),
        ("a negative length", &[1]),
        ("a length of two gigabytes", &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("an over-long length", &[0x8c, 0x80, 0x80, 0x80, 0x80, 0]),
        ("an empty record", &[0]),
        ("no key", &[6, 0, 0, 0]),
        ("a key past the record", &[12, 0, 0, 0, 20, 1, 0]),
        ("a key of length −2", &[12, 0, 0, 0, 3, 1, 0]),
        ("a value past the record", &[12, 0, 0, 0, 1, 8, 0]),
        ("a negative number of headers", &[12, 0, 0, 0, 1, 1, 1]),
        ("two gigabytes of headers", &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("a header with a null key", &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("bytes after the headers", &[14, 0, 0, 0, 1, 1, 0, 9]),
        ("an offset outside the batch", &[12, 0, 0, 2, 1, 1, 0]),
    ];
    for (what, record) in cases {
        assert_eq!(fault(&one_record(record)), ErrorKind::InvalidBatch, "{what}");
    }
    let good = one_record(&[12, 0, 0, 0, 1, 1, 0]);
    assert!(parse(&good).records(&DecodeLimits::default()).unwrap().iter().all(|r| r.is_ok()));
}

/// A batch with the header of one record and `record` as its records.
fn one_record(record: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, None, &[]).unwrap();
    let header = &builder.build().unwrap()[..HEADER_BYTES];
    let bytes = [header, record].concat();
    let length = i32::try_from(bytes.len() - 12).unwrap();
    patched(&bytes, 8, &length.to_be_bytes())
}

// D-21: the last offset of the number range has no successor, and no overflow either.
#[test]
fn offsets_at_the_end_of_the_number_range_do_not_overflow() {
    let bytes = patched(&sample(Compression::None), 0, &i64::MAX.to_be_bytes());
    let batch = parse(&bytes);
    assert_eq!(batch.last_offset(), Offset::new(i64::MAX));
    assert_eq!(batch.next_offset(), Offset::new(i64::MAX));
    assert_eq!(fault(&bytes), ErrorKind::InvalidBatch);
}

#[cfg(not(feature = "compression"))]
#[test]
fn codecs_that_are_not_compiled_in_are_named() {
    for codec in 1..=4 {
        let bytes = patched(&sample(Compression::None), 21, &[0, codec]);
        assert_eq!(fault(&bytes), ErrorKind::UnsupportedCompression);
    }
}
