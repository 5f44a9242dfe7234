//! One file's bytes: what every reader sees, and what a power cut may leave.
//!
//! The one idea: a disk takes sectors whole, and a sector's write-back carries whatever the page held
//! at that moment. So each sector that was written and not yet flushed keeps the list of contents it
//! went through, and a power cut picks one of them, or the durable one, for each sector alone. The
//! length is a separate list of changes, of which a power cut keeps a prefix (it lives in the
//! journal, in order).

use super::crash::Chooser;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the device writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// A file's visible and durable state.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// What readers see.
    visible: Vec<u8>,
    /// What certainly survives.
    durable: Vec<u8>,
    /// Contents of sectors since they were last flushed, oldest first.
    sectors: BTreeMap<usize, Vec<Version>>,
    /// Changes of the length since it was last flushed, oldest first.
    lengths: Vec<Length>,
    /// Orders versions and lengths.
    clock: u64,
    /// End of the range that must keep its bytes; see [`super::SimDisk::protect`].
    pub(super) protected: usize,
}

#[derive(Clone, Debug)]
struct Version {
    at: u64,
    bytes: [u8; SECTOR_BYTES],
    /// A flush of it failed: no later flush makes it durable, only writing it again.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Length {
    at: u64,
    len: usize,
    /// Whether it was shortened: what lay beyond is gone, not merely hidden.
    cut: bool,
    abandoned: bool,
}

impl Content {
    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        self.clock += 1;
        if end > self.visible.len() {
            self.change_len(end);
        }
        self.visible[position..end].copy_from_slice(bytes);
        for sector in position / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.remember(sector);
        }
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len == self.visible.len() {
            return;
        }
        self.clock += 1;
        let cut = len < self.visible.len();
        self.change_len(len);
        if cut && len % SECTOR_BYTES != 0 {
            self.remember(len / SECTOR_BYTES);
        }
    }

    /// Whether these bytes would change, or cutting there would remove, something protected.
    pub(super) fn breaks_protection(&self, position: usize, bytes: &[u8]) -> bool {
        let end = (position + bytes.len()).min(self.protected).min(self.visible.len());
        match self.visible.get(position..end) {
            Some(old) => old != &bytes[..old.len()],
            None => false,
        }
    }

    /// Makes the sectors that `range` touches durable (all of them for `None`), and the length.
    pub(super) fn flush(&mut self, range: Option<Range<usize>>) {
        self.flush_lengths();
        let touched = match range {
            Some(range) if range.is_empty() => return,
            Some(range) => range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES),
            None => 0..usize::MAX,
        };
        let touched: Vec<usize> = self.sectors.range(touched).map(|(&sector, _)| sector).collect();
        for sector in touched {
            let newest = self.sectors.get(&sector).and_then(|versions| versions.last());
            if let Some(version) = newest.filter(|version| !version.abandoned) {
                put(&mut self.durable, sector, &version.bytes);
                self.sectors.remove(&sector);
            }
        }
    }

    /// A flush failed: whatever was waiting for it may be on the disk or not, for good.
    pub(super) fn abandon(&mut self) {
        for version in self.sectors.values_mut().flatten() {
            version.abandoned = true;
        }
        for length in &mut self.lengths {
            length.abandoned = true;
        }
    }

    /// What a failed flush left undecided is read from the medium, and decided by that.
    pub(super) fn drop_cache(&mut self, chooser: &mut Chooser) {
        let abandoned = |versions: &Vec<Version>| versions.last().is_some_and(|v| v.abandoned);
        let sectors: Vec<usize> =
            self.sectors.iter().filter(|(_, v)| abandoned(v)).map(|(&sector, _)| sector).collect();
        for sector in sectors {
            let versions = self.sectors.remove(&sector).unwrap_or_default();
            let chosen = chooser.prefix(versions.len()).checked_sub(1);
            let bytes = match chosen.and_then(|nth| versions.get(nth)) {
                Some(version) => version.bytes,
                None => get(&self.durable, sector),
            };
            put(&mut self.visible, sector, &bytes);
            put(&mut self.durable, sector, &bytes);
        }
    }

    /// Sectors, and one for the length, whose durable state is undecided.
    pub(super) fn undecided(&self) -> usize {
        self.sectors.len() + usize::from(!self.lengths.is_empty())
    }

    /// The file after a power cut.
    pub(super) fn crashed(&self, chooser: &mut Chooser) -> Self {
        let changes = self.lengths.len();
        let kept = if changes == 0 { 0 } else { chooser.prefix(changes) };
        let mut image = self.durable.clone();
        let kept = &self.lengths[..kept];
        for length in kept {
            image.resize(length.len, 0);
        }
        for (&sector, versions) in &self.sectors {
            let oldest = versions.partition_point(|version| version.at < cut_at(kept, sector));
            let possible = &versions[oldest..];
            let chosen = chooser.prefix(possible.len());
            if chooser.garbage() {
                put(&mut image, sector, &chooser.noise());
            } else if let Some(version) = chosen.checked_sub(1).and_then(|nth| possible.get(nth)) {
                put(&mut image, sector, &version.bytes);
            }
        }
        let protected = self.protected;
        Self { visible: image.clone(), durable: image, protected, ..Self::default() }
    }

    /// Damages the medium: readers see it, and so does everyone after a power cut.
    pub(super) fn flip_bit(&mut self, position: usize, bit: u32) {
        let flip = |byte: &mut u8| *byte ^= 1u8.rotate_left(bit);
        self.visible.get_mut(position).map(flip);
        self.durable.get_mut(position).map(flip);
        for version in self.sectors.get_mut(&(position / SECTOR_BYTES)).into_iter().flatten() {
            flip(&mut version.bytes[position % SECTOR_BYTES]);
        }
    }

    /// Replaces everything, durably.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        let protected = self.protected;
        *self = Self { visible: bytes.clone(), durable: bytes, protected, ..Self::default() };
    }

    fn change_len(&mut self, len: usize) {
        let cut = len < self.visible.len();
        self.visible.resize(len, 0);
        self.lengths.push(Length { at: self.clock, len, cut, abandoned: false });
    }

    fn remember(&mut self, sector: usize) {
        let mut bytes = [0; SECTOR_BYTES];
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.visible.len());
        bytes[..end - start].copy_from_slice(&self.visible[start..end]);
        let version = Version { at: self.clock, bytes, abandoned: false };
        self.sectors.entry(sector).or_default().push(version);
    }

    fn flush_lengths(&mut self) {
        // Lengths go through the journal in order, so the newest one decides for all.
        if self.lengths.last().is_none_or(|newest| newest.abandoned) {
            return;
        }
        let lengths = std::mem::take(&mut self.lengths);
        for length in &lengths {
            self.durable.resize(length.len, 0);
        }
        self.sectors.retain(|&sector, versions| {
            let cut = cut_at(&lengths, sector);
            versions.retain(|version| version.at >= cut);
            !versions.is_empty()
        });
    }
}

/// When `sector`, or a part of it, was last cut off: older contents cannot come back.
fn cut_at(lengths: &[Length], sector: usize) -> u64 {
    let end = (sector + 1) * SECTOR_BYTES;
    let cuts = lengths.iter().filter(|length| length.cut && length.len < end);
    cuts.map(|length| length.at).max().unwrap_or(0)
}

/// A sector of an image, as far as the image's length goes.
fn get(image: &[u8], sector: usize) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    let start = (sector * SECTOR_BYTES).min(image.len());
    let end = (start + SECTOR_BYTES).min(image.len());
    bytes[..end - start].copy_from_slice(&image[start..end]);
    bytes
}

/// Puts a sector into an image, as far as the image's length goes.
fn put(image: &mut [u8], sector: usize, bytes: &[u8; SECTOR_BYTES]) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(image.len());
    if start < end {
        image[start..end].copy_from_slice(&bytes[..end - start]);
    }
}
