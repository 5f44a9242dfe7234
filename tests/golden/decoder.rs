//! A reader of a log's directory, written from `docs/format.md` alone.
//!
//! It uses nothing of the crate. What it finds it checks against itself: an index must hold exactly
//! the entries that the rules give for the batches, the transaction index and the producer snapshot
//! must be what a replay of the batches gives.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

/// Takes numbers off the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.bytes(1).try_into().unwrap())
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes(8).try_into().unwrap())
    }

    /// A zigzag number, least significant group first.
    fn varint(&mut self) -> i64 {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = u64::from(self.bytes(1)[0]);
            value |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return i64::try_from(value >> 1).unwrap() ^ -i64::try_from(value & 1).unwrap();
            }
        }
    }

    fn nullable(&mut self) -> Option<Vec<u8>> {
        let length = self.varint();
        (length >= 0).then(|| self.bytes(usize::try_from(length).unwrap()).to_vec())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Batch {
    position: u32,
    size: u32,
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) leader_epoch: i32,
    max_timestamp: i64,
    pub(crate) pid: i64,
    epoch: i16,
    base_sequence: i32,
    pub(crate) transactional: bool,
    /// Type and coordinator epoch of a control record.
    pub(crate) control: Option<(i16, i32)>,
    pub(crate) records: Vec<Record>,
}

/// One batch, from its first byte on.
fn batch(bytes: &[u8], position: usize) -> Batch {
    let mut r = Reader(&bytes[position..]);
    let base = r.i64();
    let length = usize::try_from(r.i32()).unwrap();
    let leader_epoch = r.i32();
    assert_eq!(r.i8(), 2, "magic at {position}");
    let crc = r.u32();
    assert_eq!(crc, crc32c(&bytes[position + 21..position + 12 + length]), "at {position}");
    let attributes = r.i16();
    assert_eq!(attributes & 7, 0, "this decoder knows no codec");
    let delta = r.i32();
    let base_timestamp = r.i64();
    let max_timestamp = r.i64();
    let (pid, epoch, base_sequence) = (r.i64(), r.i16(), r.i32());
    let count = r.i32();
    let mut rest = Reader(&r.0[..length - 49]);
    let mut records = Vec::new();
    for _ in 0..count {
        let size = usize::try_from(rest.varint()).unwrap();
        let mut record = Reader(rest.bytes(size));
        assert_eq!(record.i8(), 0);
        let timestamp = base_timestamp + record.varint();
        let offset = base + record.varint();
        let (key, value) = (record.nullable(), record.nullable());
        assert_eq!((record.varint(), record.0.len()), (0, 0), "no headers, nothing left");
        let timestamp = if attributes & 8 == 0 { timestamp } else { max_timestamp };
        records.push(Record { offset, timestamp, key, value });
    }
    assert!(rest.0.is_empty(), "bytes behind the last record at {position}");
    let control = (attributes & 0x20 != 0).then(|| {
        let mut key = Reader(records[0].key.as_deref().unwrap());
        let mut value = Reader(records[0].value.as_deref().unwrap());
        assert_eq!((key.i16(), value.i16()), (0, 0), "versions");
        (key.i16(), value.i32())
    });
    Batch {
        position: u32::try_from(position).unwrap(),
        size: u32::try_from(length + 12).unwrap(),
        base,
        last: base + i64::from(delta),
        leader_epoch,
        max_timestamp,
        pid,
        epoch,
        base_sequence,
        transactional: attributes & 0x10 != 0,
        control,
        records,
    }
}

/// The batches of a `.log` that holds nothing else.
pub(crate) fn batches(bytes: &[u8]) -> Vec<Batch> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let next = batch(bytes, at);
        at += next.size as usize;
        found.push(next);
    }
    found
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    pub(crate) batches: Vec<Batch>,
    /// Last offset and position.
    pub(crate) index: Vec<(i64, u32)>,
    /// Timestamp and last offset.
    times: Vec<(i64, i64)>,
    /// Producer, first, marker, last stable offset.
    pub(crate) aborted: Vec<[i64; 4]>,
}

/// Epoch, last sequence, last offset, delta, timestamp, coordinator epoch, open since.
pub(crate) type Producer = (i16, i32, i64, i32, i64, i32, i64);

/// A log's directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) segments: Vec<Segment>,
    /// Offset of the snapshot, and its producers.
    pub(crate) snapshot: (i64, BTreeMap<i64, Producer>),
    /// Epoch and first offset.
    pub(crate) epochs: Vec<(i32, i64)>,
}

impl Directory {
    pub(crate) fn read(path: &Path) -> Self {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let of = |suffix: &str| -> Vec<String> {
            names.iter().filter_map(|n| Some(n.strip_suffix(suffix)?.to_owned())).collect()
        };
        let read = |stem: &str, suffix| fs::read(path.join(format!("{stem}{suffix}"))).unwrap();
        let segments = of(".log")
            .iter()
            .map(|stem| {
                assert_eq!(stem.len(), 20, "D-5");
                let base: i64 = stem.parse().unwrap();
                let entries = |suffix, size: usize| {
                    let bytes = read(stem, suffix);
                    assert_eq!(bytes.len() % size, 0, "{stem}{suffix}");
                    bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>()
                };
                let index = entries(".index", 8).into_iter().map(|entry| {
                    let mut r = Reader(&entry);
                    (base + i64::from(r.i32()), r.u32())
                });
                let times = entries(".timeindex", 12).into_iter().map(|entry| {
                    let mut r = Reader(&entry);
                    (r.i64(), base + i64::from(r.i32()))
                });
                let aborted = entries(".txnindex", 34).into_iter().map(|entry| {
                    let mut r = Reader(&entry);
                    assert_eq!(r.i16(), 0, "version");
                    [r.i64(), r.i64(), r.i64(), r.i64()]
                });
                Segment {
                    base,
                    batches: batches(&read(stem, ".log")),
                    index: index.collect(),
                    times: times.collect(),
                    aborted: aborted.collect(),
                }
            })
            .collect();
        let snapshots = of(".snapshot");
        let newest = snapshots.last().unwrap();
        let snapshot = (newest.parse().unwrap(), producers(&read(newest, ".snapshot")));
        let text = fs::read_to_string(path.join("leader-epoch-checkpoint")).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("0"), "version");
        let count: usize = lines.next().unwrap().parse().unwrap();
        let epochs: Vec<(i32, i64)> = lines
            .map(|line| line.split_once(' ').unwrap())
            .map(|(epoch, start)| (epoch.parse().unwrap(), start.parse().unwrap()))
            .collect();
        assert_eq!(epochs.len(), count);
        Self { segments, snapshot, epochs }
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.segments.iter().flat_map(|segment| &segment.batches)
    }

    pub(crate) fn end(&self) -> i64 {
        self.batches().last().map_or(0, |batch| batch.last + 1)
    }

    /// Everything that can be said of an undamaged, untrimmed log that was closed in order.
    /// `at_once`: it was written without a stop, so that no segment was closed twice.
    pub(crate) fn check(&self, index_interval: u32, at_once: bool) {
        let mut expected = 0;
        for segment in &self.segments {
            assert!(segment.base >= expected, "segment {}", segment.base);
            for batch in &segment.batches {
                assert!(batch.base >= expected.max(segment.base), "batch {}", batch.base);
                expected = batch.last + 1;
            }
            segment.check_index(index_interval);
            segment.check_times(index_interval, at_once);
        }
        self.check_epochs();
        self.check_producers();
    }

    /// D-49: an epoch begins where its first batch does, or before it, where no other one reaches.
    fn check_epochs(&self) {
        assert!(self.epochs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{:?}", self.epochs);
        for batch in self.batches().filter(|batch| batch.leader_epoch >= 0) {
            let holding = self.epochs.iter().rev().find(|(_, start)| *start <= batch.base);
            assert_eq!(holding.map(|e| e.0), Some(batch.leader_epoch), "batch {}", batch.base);
        }
    }

    /// Replays the batches: the snapshot and the transaction indexes are what comes out.
    fn check_producers(&self) {
        let mut producers: BTreeMap<i64, Producer> = BTreeMap::new();
        for segment in &self.segments {
            let mut aborted = Vec::new();
            for batch in segment.batches.iter().filter(|batch| batch.pid >= 0) {
                let known = (batch.epoch, -1, -1, 0, -1, -1, -1);
                let p = producers.entry(batch.pid).or_insert(known);
                if p.0 != batch.epoch {
                    (p.0, p.1, p.2, p.3) = (batch.epoch, -1, -1, 0);
                }
                p.4 = batch.max_timestamp;
                match batch.control {
                    None => {
                        let delta = i32::try_from(batch.last - batch.base).unwrap();
                        let last = i64::from(batch.base_sequence) + i64::from(delta);
                        // After the largest sequence comes zero.
                        p.1 = i32::try_from(last % (1 << 31)).unwrap();
                        (p.2, p.3) = (batch.last, delta);
                        if batch.transactional && p.6 < 0 {
                            p.6 = batch.base;
                        }
                    }
                    Some((kind, coordinator_epoch)) => {
                        p.5 = coordinator_epoch;
                        let first = std::mem::replace(&mut p.6, -1);
                        if first >= 0 && kind == 0 {
                            let open = producers.values().map(|p| p.6).filter(|first| *first >= 0);
                            let stable = open.min().unwrap_or(batch.last + 1);
                            aborted.push([batch.pid, first, batch.last, stable]);
                        }
                    }
                }
            }
            assert_eq!(segment.aborted, aborted, "segment {}", segment.base);
        }
        assert_eq!(self.snapshot, (self.end(), producers));
    }
}

impl Segment {
    /// D-26, D-27.
    fn check_index(&self, interval: u32) {
        let mut since = 0;
        let mut due = Vec::new();
        for batch in &self.batches {
            if since > interval {
                due.push((batch.last, batch.position));
                since = 0;
            }
            since += batch.size;
        }
        assert_eq!(self.index, due, "segment {}", self.base);
    }

    /// D-33, D-34.
    fn check_times(&self, interval: u32, at_once: bool) {
        assert!(self.times.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{:?}", self.times);
        for (timestamp, offset) in &self.times {
            let batch = self.batches.iter().find(|batch| batch.last == *offset);
            assert_eq!(batch.map(|batch| batch.max_timestamp), Some(*timestamp));
            let older = self.batches.iter().take_while(|batch| batch.last <= *offset);
            assert!(older.into_iter().all(|batch| batch.max_timestamp <= *timestamp));
        }
        let (mut since, mut greatest) = (0, (-1, -1));
        let mut due: Vec<(i64, i64)> = Vec::new();
        let enter = |due: &mut Vec<(i64, i64)>, greatest: (i64, i64)| {
            if greatest.0 > due.last().map_or(-1, |last| last.0) {
                due.push(greatest);
            }
        };
        for batch in &self.batches {
            if batch.max_timestamp > greatest.0 {
                greatest = (batch.max_timestamp, batch.last);
            }
            if since > interval {
                enter(&mut due, greatest);
                since = 0;
            }
            since += batch.size;
        }
        enter(&mut due, greatest);
        if at_once {
            assert_eq!(self.times, due, "segment {}", self.base);
        } else {
            // Each stop may have added an entry for the greatest time until then.
            assert!(due.iter().all(|entry| self.times.contains(entry)), "segment {}", self.base);
        }
    }
}

/// A `.snapshot`.
fn producers(bytes: &[u8]) -> BTreeMap<i64, Producer> {
    let mut r = Reader(bytes);
    assert_eq!(r.i16(), 1, "version");
    assert_eq!(r.u32(), crc32c(&bytes[6..]), "snapshot");
    let count = usize::try_from(r.i32()).unwrap();
    assert_eq!(r.0.len(), count * 46);
    let entries = (0..count).map(|_| {
        let pid = r.i64();
        (pid, (r.i16(), r.i32(), r.i64(), r.i32(), r.i64(), r.i32(), r.i64()))
    });
    entries.collect()
}
