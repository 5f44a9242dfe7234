//! The physical limit: one thread, one file whose blocks were all written before, each write direct
//! and flushed by itself. No log on this file system can acknowledge a lone append faster.
#![expect(clippy::disallowed_methods, reason = "the limit goes past the engine to the disk")]

use crate::Outcome;
use crate::stats::Sample;
use oncelog::io::BLOCK_BYTES;
use oncelog::io::buf::AlignedBuf;
use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use std::fs::{File, OpenOptions};
use std::io::IoSlice;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How the file looks before the writes that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "nothing but the benchmarks uses it")]
pub enum Blocks {
    /// Written once: the limit.
    Written,
    /// Given by `fallocate`: the first write to a block still changes metadata.
    Allocated,
    /// None: every write makes the file longer.
    Missing,
}

/// A file to measure the limit on.
#[derive(Debug)]
pub struct Limit {
    file: File,
    bytes: u64,
    at: u64,
}

impl Limit {
    /// A file of `bytes` bytes in `dir`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn new(dir: &Path, bytes: u64, blocks: Blocks) -> Outcome<Self> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(flags)
            .open(dir.join(format!("limit-{blocks:?}")))?;
        match blocks {
            Blocks::Written => fill(&file, bytes)?,
            Blocks::Allocated => {
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
            }
            Blocks::Missing => {}
        }
        file.sync_all()?;
        Ok(Self { file, bytes, at: 0 })
    }

    /// Flushed writes of `size` bytes, rounded up to whole blocks, one after the other for
    /// `duration`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn run(&mut self, size: usize, duration: Duration) -> Outcome<Sample> {
        let buffer = AlignedBuf::new(size.next_multiple_of(BLOCK_BYTES));
        let mut nanos = Vec::new();
        let started = Instant::now();
        while started.elapsed() < duration {
            let before = Instant::now();
            self.write(&buffer)?;
            nanos.push(u64::try_from(before.elapsed().as_nanos())?);
        }
        Ok(Sample::new(nanos, started.elapsed()))
    }

    /// One flushed write at the next place in the file.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn write(&mut self, buffer: &[u8]) -> Outcome {
        let len = buffer.len() as u64;
        if self.at + len > self.bytes {
            self.at = 0;
        }
        let slices = [IoSlice::new(buffer)];
        let written = rustix::io::pwritev2(&self.file, &slices, self.at, ReadWriteFlags::DSYNC)?;
        if written < buffer.len() {
            return Err("a short write".into());
        }
        self.at += len;
        Ok(())
    }
}

fn fill(file: &File, bytes: u64) -> Outcome {
    let buffer = AlignedBuf::new(1 << 20);
    let mut at = 0;
    while at < bytes {
        at += rustix::io::pwrite(file, &buffer, at)? as u64;
    }
    Ok(())
}
