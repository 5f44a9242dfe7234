//! The four codecs of the format (D-15), for readers of records and for the builder.
//!
//! Decompression is where a small batch may ask for endless memory. Every decoder streams into an
//! output that may not pass the cap of [`DecodeLimits`]; sizes that a stream declares about itself
//! are never used to allocate beyond what its bytes can really produce.

use crate::error::{Error, ErrorKind, Result};

/// The codec of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as they are.
    #[default]
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Snappy in the block framing of xerial's Java library; a bare block is read too.
    Snappy,
    /// An LZ4 frame.
    Lz4,
    /// Zstandard, of one or more frames.
    Zstd,
}

impl Compression {
    /// The codec with the number `bits` (D-10).
    pub(super) const fn from_bits(bits: i16) -> Option<Self> {
        match bits {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) const fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// How much a batch may grow when its records are decompressed.
///
/// By default: to 100 times its stored size plus 1 MiB, but not above 64 MiB. Raising the cap costs
/// that much memory per batch being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DecodeLimits {
    output_bytes_max: Option<usize>,
}

impl DecodeLimits {
    /// A fixed cap, whatever the size of the input.
    #[must_use]
    pub const fn new(output_bytes_max: usize) -> Self {
        Self { output_bytes_max: Some(output_bytes_max) }
    }

    /// The cap for compressed records of `input_bytes`.
    #[must_use]
    pub const fn output_bytes_max(&self, input_bytes: usize) -> usize {
        const CAP: usize = 64 << 20;
        const FLOOR: usize = 1 << 20;
        const RATIO: usize = 100;
        if let Some(cap) = self.output_bytes_max {
            return cap;
        }
        let scaled = input_bytes.saturating_mul(RATIO).saturating_add(FLOOR);
        if scaled < CAP { scaled } else { CAP }
    }
}

#[cfg(feature = "compression")]
pub(super) use codecs::{compress, decompress};

/// Decompresses nothing: the codecs are not compiled in.
#[cfg(not(feature = "compression"))]
pub(super) fn decompress(codec: Compression, _: &[u8], _: &DecodeLimits) -> Result<Vec<u8>> {
    Err(not_compiled_in(codec))
}

/// Compresses nothing: the codecs are not compiled in.
#[cfg(not(feature = "compression"))]
pub(super) fn compress(codec: Compression, _: &[u8], _: Vec<u8>) -> Result<Vec<u8>> {
    Err(not_compiled_in(codec))
}

#[cfg(not(feature = "compression"))]
fn not_compiled_in(codec: Compression) -> Error {
    let context = format!("{codec:?} needs the feature `compression`");
    Error::new(ErrorKind::UnsupportedCompression, context)
}

#[cfg(feature = "compression")]
mod codecs {
    use super::{Compression, DecodeLimits, Error, ErrorKind, Result};
    use crate::batch::snappy;
    use std::io::{self, Read, Write};

    /// The records in `input`.
    pub(crate) fn decompress(
        codec: Compression,
        input: &[u8],
        limits: &DecodeLimits,
    ) -> Result<Vec<u8>> {
        let cap = limits.output_bytes_max(input.len());
        let done = match codec {
            Compression::None => read_capped(input, cap),
            Compression::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(input), cap),
            Compression::Snappy => snappy::decompress(input, cap),
            Compression::Lz4 => read_lz4(input, cap),
            Compression::Zstd => read_zstd(input, cap),
        };
        done.map_err(|source| {
            let context = format!("cannot decompress {} bytes of {codec:?}", input.len());
            Error::with_source(ErrorKind::InvalidBatch, context, source)
        })
    }

    /// Everything that `reader` yields, unless that is more than `cap` bytes.
    fn read_capped(reader: impl Read, cap: usize) -> io::Result<Vec<u8>> {
        let probe = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
        let mut out = Vec::new();
        reader.take(probe).read_to_end(&mut out)?;
        if out.len() > cap { Err(over_cap(cap)) } else { Ok(out) }
    }

    /// One frame, as Kafka writes and reads it.
    fn read_lz4(mut input: &[u8], cap: usize) -> io::Result<Vec<u8>> {
        const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
        if !input.starts_with(&MAGIC) {
            return Err(malformed("not an LZ4 frame"));
        }
        let out = read_capped(lz4_flex::frame::FrameDecoder::new(&mut input), cap)?;
        if input.is_empty() { Ok(out) } else { Err(malformed("bytes follow the LZ4 frame")) }
    }

    fn read_zstd(input: &[u8], cap: usize) -> io::Result<Vec<u8>> {
        /// Windows of up to 8 MiB, which every level up to 19 stays within.
        const WINDOW_LOG_MAX: u32 = 23;
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        read_capped(decoder, cap)
    }

    /// `out` with the compressed records at its end.
    pub(crate) fn compress(
        codec: Compression,
        records: &[u8],
        mut out: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let done = match codec {
            Compression::None => out.write_all(records),
            Compression::Gzip => write_gzip(records, &mut out),
            Compression::Snappy => snappy::compress(records, &mut out),
            Compression::Lz4 => write_lz4(records, &mut out),
            Compression::Zstd => zstd::stream::copy_encode(records, &mut out, 3),
        };
        let context = || format!("cannot compress {} bytes with {codec:?}", records.len());
        done.map_err(|source| Error::with_source(ErrorKind::Invalid, context(), source))?;
        Ok(out)
    }

    fn write_gzip(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        encoder.write_all(records)?;
        encoder.finish().map(drop)
    }

    /// Blocks of 64 KiB that do not refer to each other, the only kind all clients read.
    fn write_lz4(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        let info =
            FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
        let mut encoder = FrameEncoder::with_frame_info(info, out);
        encoder.write_all(records)?;
        encoder.finish().map(drop).map_err(io::Error::other)
    }

    pub(crate) fn over_cap(cap: usize) -> io::Error {
        malformed(format!("the records are larger than the cap of {cap} bytes"))
    }

    pub(crate) fn malformed(
        fault: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

#[cfg(feature = "compression")]
pub(super) use codecs::{malformed, over_cap};
