//! Storing batches with the codec that their topic names (`compression.type`, A-39).
//!
//! Only a batch whose codec differs is touched. Records, their order, times, keys and the producer's
//! numbers stay; a duplicate is recognised as before.

use bytes::Bytes;
use oncelog::batch::{Batch, BatchBuilder, Compression, DecodeLimits};
use oncelog::{Error, ErrorKind, ProducerId, Result};

/// The batch with `codec`; `None` if it can stay as it is, or is for the engine to refuse.
pub(super) fn recompressed(bytes: &[u8], codec: Compression) -> Result<Option<Bytes>> {
    let Ok((batch, rest)) = Batch::parse(bytes) else { return Ok(None) };
    let differs = batch.compression().is_ok_and(|own| own != codec);
    if !differs || batch.is_control() || !rest.is_empty() || !batch.is_crc_valid() {
        return Ok(None);
    }
    let records = batch.records(&DecodeLimits::default())?;
    let mut builder = builder(&batch).compression(codec);
    let mut count = 0;
    for record in &records {
        let record = record?;
        if record.offset().get() - batch.base_offset().get() != count {
            return Err(Error::new(
                ErrorKind::InvalidBatch,
                "its records are not numbered in order",
            ));
        }
        let headers: Vec<_> = record.headers().collect();
        builder.append(record.timestamp_ms(), record.key(), record.value(), &headers)?;
        count += 1;
    }
    if count != i64::from(batch.record_count()) || count != i64::from(batch.last_offset_delta()) + 1
    {
        let context = format!("it says {} records and holds {count}", batch.record_count());
        return Err(Error::new(ErrorKind::InvalidBatch, context));
    }
    builder.build().map(Some)
}

/// A builder with everything that is not the records.
fn builder(batch: &Batch<'_>) -> BatchBuilder {
    let builder = BatchBuilder::new().timestamp_type(batch.timestamp_type());
    let builder = if batch.is_transactional() { builder.transactional() } else { builder };
    match batch.producer_id() {
        ProducerId::NONE => builder,
        id => builder.producer(id, batch.producer_epoch(), batch.base_sequence()),
    }
}

/// The codec that a value of `compression.type` names; `None` leaves it to the producer.
pub(crate) fn codec_named(name: &str) -> Option<Compression> {
    match name {
        "uncompressed" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncelog::batch::Header;
    use oncelog::{ProducerEpoch, Sequence};

    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    fn sample(codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new().compression(codec).transactional().producer(
            ProducerId::new(7),
            ProducerEpoch::new(2),
            Sequence::new(40),
        );
        let headers = [Header::new(b"h", Some(b"v")), Header::new(b"h", None)];
        builder.append(1000, Some(b"k"), Some(b"value"), &headers).unwrap();
        builder.append(900, None, None, &[]).unwrap();
        builder.build().unwrap()
    }

    fn content(bytes: &[u8]) -> String {
        let (batch, _) = Batch::parse(bytes).unwrap();
        let records = batch.records(&DecodeLimits::default()).unwrap();
        let records: Vec<_> = records
            .iter()
            .map(|record| {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers().collect();
                (
                    record.offset(),
                    record.timestamp_ms(),
                    record.key().map(<[u8]>::to_vec),
                    record.value().map(<[u8]>::to_vec),
                    format!("{headers:?}"),
                )
            })
            .collect();
        let producer = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
        format!(
            "{records:?} {producer:?} {} {}",
            batch.is_transactional(),
            batch.max_timestamp_ms()
        )
    }

    // S-55.
    #[test]
    fn another_codec_changes_nothing_but_the_codec() {
        for from in CODECS {
            for to in CODECS {
                let sent = sample(from);
                match recompressed(&sent, to).unwrap() {
                    None => assert_eq!(from, to),
                    Some(stored) => {
                        assert_ne!(from, to);
                        let (batch, rest) = Batch::parse(&stored).unwrap();
                        assert!(rest.is_empty() && batch.is_crc_valid());
                        assert_eq!(batch.compression().unwrap(), to);
                        assert_eq!(content(&stored), content(&sent));
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_engine_refuses_is_left_to_it() {
        let mut damaged = sample(Compression::Gzip).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(recompressed(&damaged, Compression::None).unwrap(), None);
        assert_eq!(recompressed(&damaged[..40], Compression::None).unwrap(), None);
    }
}
