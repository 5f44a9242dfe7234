//! The names of files and directories: what a log's directory may hold, and what each name means.
//!
//! A segment's files share a stem, the base offset in 20 digits, so that name order is offset order.
//! A suffix after the extension marks a file that is on its way in or out (D-5, D-6). Nothing here
//! touches the disk.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::options::LogName;
use crate::types::Offset;

/// The leader epochs of a log and where each starts (D-49).
pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// There, without a byte, if an embedder sets the log's high watermark.
pub(crate) const REPLICATED: &str = "replicated";

/// The topic id of a log (D-50).
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// Digits of a base offset in a file name: enough for every `i64`.
const STEM_DIGITS: usize = 20;

/// Longest file name that common file systems take, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What follows the unique id of a directory that waits for its removal.
const DELETE_MARK: &str = "-delete";

/// Hexadecimal digits of the unique id in such a directory's name.
const UNIQUE_DIGITS: usize = 32;

/// What a file named after an offset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    /// The batches of a segment.
    Log,
    /// Offsets to positions.
    OffsetIndex,
    /// Timestamps to offsets.
    TimeIndex,
    /// Aborted transactions whose marker lies in the segment.
    TxnIndex,
    /// Producers as of that offset, in Kafka's form. The offset need not be a segment's base.
    Snapshot,
    /// What Kafka's snapshot cannot hold; Kafka ignores it.
    State,
}

impl FileKind {
    /// Every kind, in name order of the extensions.
    pub(crate) const ALL: [Self; 6] = [
        Self::OffsetIndex,
        Self::Log,
        Self::Snapshot,
        Self::State,
        Self::TimeIndex,
        Self::TxnIndex,
    ];

    /// The extension, with its dot.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
            Self::State => ".state",
        }
    }
}

/// What a file is about to become (D-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Suffix {
    /// It is in use.
    None,
    /// It waits for its removal.
    Deleted,
    /// It is the unfinished output of compaction or of a split; worthless after a crash.
    Cleaned,
    /// It is the finished replacement of files that it has not been renamed over yet.
    Swap,
}

impl Suffix {
    const ALL: [Self; 4] = [Self::None, Self::Deleted, Self::Cleaned, Self::Swap];

    /// The text after the extension; empty for a file in use.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }
}

/// The name of the file of `kind` at `base`.
pub(crate) fn segment_file(base: Offset, kind: FileKind) -> String {
    segment_file_with(base, kind, Suffix::None)
}

/// The name of the file of `kind` at `base`, with a suffix.
pub(crate) fn segment_file_with(base: Offset, kind: FileKind, suffix: Suffix) -> String {
    format!("{:020}{}{}", base.get(), kind.extension(), suffix.text())
}

/// What a file name says, or `None` if it is not one of ours; loading ignores those (D-7).
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, FileKind, Suffix)> {
    let (stem, rest) = name.split_at_checked(STEM_DIGITS)?;
    if !stem.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let base = Offset::new(stem.parse().ok()?);
    let (kind, tail) =
        FileKind::ALL.into_iter().find_map(|k| Some((k, rest.strip_prefix(k.extension())?)))?;
    let suffix = Suffix::ALL.into_iter().find(|s| s.text() == tail)?;
    Some((base, kind, suffix))
}

/// The name a log's directory gets while it waits for its removal (D-4).
///
/// The topic is cut where the whole would pass 255 bytes; `uuid` keeps such names apart.
pub(crate) fn delete_dir_name(log: &LogName, uuid: [u8; 16]) -> String {
    let mut tail = format!("-{}.", log.partition());
    for byte in uuid {
        tail.push_str(&format!("{byte:02x}"));
    }
    tail.push_str(DELETE_MARK);
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    // Topics are ASCII (D-2), so every length is a character boundary.
    let topic = log.topic().get(..room).unwrap_or_else(|| log.topic());
    format!("{topic}{tail}")
}

/// Whether a directory waits for its removal.
pub(crate) fn is_delete_dir(name: &str) -> bool {
    let Some((log, unique)) = name.strip_suffix(DELETE_MARK).and_then(|rest| rest.rsplit_once('.'))
    else {
        return false;
    };
    unique.len() == UNIQUE_DIGITS
        && unique.bytes().all(|b| b.is_ascii_hexdigit())
        && LogName::from_dir_name(log).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    // D-5, D-6.
    #[test]
    fn every_kind_and_suffix_is_read_back_from_its_name() {
        for offset in [0, 1, 368_769, i64::MAX] {
            for kind in FileKind::ALL {
                for suffix in Suffix::ALL {
                    let name = segment_file_with(Offset::new(offset), kind, suffix);
                    assert_eq!(parse_file_name(&name), Some((Offset::new(offset), kind, suffix)));
                }
            }
        }
        assert_eq!(
            segment_file(Offset::new(368_769), FileKind::TimeIndex),
            "00000000000000368769.timeindex"
        );
        assert_eq!(
            segment_file_with(Offset::ZERO, FileKind::Log, Suffix::Swap),
            "00000000000000000000.log.swap"
        );
    }

    // D-7: unknown files are ignored.
    #[test]
    fn names_that_are_nearly_right_are_not_ours() {
        for name in [
            "",
            "0.log",
            "00000000000000000000",
            "00000000000000000000.",
            "00000000000000000000.logs",
            "00000000000000000000.log.tmp",
            "00000000000000000000.log.deleted.swap",
            "000000000000000000000.log",
            "-0000000000000000001.log",
            "+0000000000000000001.log",
            "99999999999999999999.log",
            "0000000000000000000\u{661}.log",
            LEADER_EPOCH_CHECKPOINT,
            PARTITION_METADATA,
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    // D-4.
    #[test]
    fn a_deleted_directory_keeps_within_a_file_name() {
        let uuid = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\xfc\xfd\xfe\xff";
        let short = LogName::new("orders", 3).unwrap();
        let name = delete_dir_name(&short, uuid);
        assert_eq!(name, "orders-3.000102030405060708090a0bfcfdfeff-delete");
        assert!(is_delete_dir(&name));

        let long = LogName::new(&"t".repeat(LogName::TOPIC_LEN_MAX), i32::MAX).unwrap();
        let name = delete_dir_name(&long, uuid);
        assert_eq!(name.len(), 255);
        assert!(name.ends_with("-2147483647.000102030405060708090a0bfcfdfeff-delete"));
        assert!(is_delete_dir(&name));
    }

    #[test]
    fn only_a_full_delete_name_marks_a_directory_for_removal() {
        let id = "000102030405060708090a0bfcfdfeff";
        for name in [
            "orders-3".to_owned(),
            "orders-delete".to_owned(),
            "-delete".to_owned(),
            format!("orders-3.{id}"),
            format!("orders-3.{id}-stray"),
            format!("orders.{id}-delete"),
            format!("orders-3.{id}0-delete"),
            format!("orders-3.{}x-delete", &id[1..]),
        ] {
            assert!(!is_delete_dir(&name), "{name}");
        }
    }
}
