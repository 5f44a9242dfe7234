//! What the builder was given is what a reader gets, with every codec.

use super::*;

struct Given {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn random_record(random: &mut Random) -> Given {
    let nullable =
        |random: &mut Random, len_max| (random.below(4) != 0).then(|| random.bytes(len_max));
    Given {
        timestamp_ms: i64::from_be_bytes(random.next().to_be_bytes()) >> random.below(64),
        key: nullable(random, 20),
        value: nullable(random, 3000),
        headers: (0..random.below(4)).map(|_| (random.bytes(9), nullable(random, 40))).collect(),
    }
}

fn build(given: &[Given], codec: Compression) -> bytes::Bytes {
    let (id, epoch) = (ProducerId::new(77), ProducerEpoch::new(3));
    let mut builder =
        BatchBuilder::new().compression(codec).producer(id, epoch, Sequence::new(i32::MAX - 3));
    for record in given {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header::new(key, value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append(record.timestamp_ms, key, value, &headers).unwrap();
    }
    builder.build().unwrap()
}

fn assert_same(given: &[Given], batch: &Batch<'_>) {
    let records = batch.records(&DecodeLimits::new(16 << 20)).unwrap();
    let read: Vec<_> = records.iter().map(Result::unwrap).collect();
    assert_eq!(read.len(), given.len());
    for (at, (given, read)) in given.iter().zip(read).enumerate() {
        let at = i32::try_from(at).unwrap();
        assert_eq!(read.offset(), Offset::new(i64::from(at)));
        assert_eq!(read.sequence(), Sequence::new(i32::MAX - 3).advance(at));
        assert_eq!(read.timestamp_ms(), given.timestamp_ms);
        assert_eq!(read.key(), given.key.as_deref());
        assert_eq!(read.value(), given.value.as_deref());
        let headers: Vec<_> =
            read.headers().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(headers, given.headers);
    }
}

#[test]
fn records_survive_every_codec() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let count = 1 + random.below(80);
        let given: Vec<_> = (0..count).map(|_| random_record(&mut random)).collect();
        for &codec in CODECS {
            let bytes = build(&given, codec);
            let batch = parse(&bytes);
            assert!(batch.is_crc_valid(), "seed {seed}, {codec:?}");
            assert_eq!(batch.compression().unwrap(), codec);
            assert_eq!(
                batch.max_timestamp_ms(),
                given.iter().map(|g| g.timestamp_ms).max().unwrap()
            );
            assert_same(&given, &batch);
        }
    }
}

#[test]
fn an_empty_batch_is_not_built() {
    assert_eq!(BatchBuilder::new().build().unwrap_err().kind(), &ErrorKind::Invalid);
}

#[test]
fn the_builder_can_stamp_the_log_s_time() {
    let mut builder = BatchBuilder::new().timestamp_type(TimestampType::LogAppendTime);
    builder.append(5, None, None, &[]).unwrap();
    builder.append(9, None, None, &[]).unwrap();
    let bytes = builder.build().unwrap();
    let records = parse(&bytes).records(&DecodeLimits::default()).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp_ms() == 9));
}

#[test]
fn several_batches_parse_one_after_another() {
    let one = build(&[random_record(&mut Random(1))], Compression::None);
    let two = build(&[random_record(&mut Random(2))], Compression::None);
    let both = [&one[..], &two[..]].concat();
    let (first, rest) = Batch::parse(&both).unwrap();
    assert_eq!((first.as_bytes(), rest), (&one[..], &two[..]));
    assert_eq!(Batch::peek_len(&both), Some(one.len()));
}
