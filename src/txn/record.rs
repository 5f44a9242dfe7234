//! What the transaction log says, as bytes (`docs/format.md`, "Transaction log").
//!
//! A record is the value of one Kafka record in a batch of its own, so the batch's checksum covers
//! it. Decoding believes no count before the bytes are there, and knows three kinds:
//!
//! - a *decision*: the logs of one transaction with what they must hold, the positions it stores,
//!   and the numbers of earlier transactions that are known to be committed;
//! - *verdicts*: how transactions ended, where that cannot be left to the logs;
//! - *positions*, restated so that older records can go.

use crate::error::{Error, ErrorKind, Result};
use crate::options::LogName;
use crate::types::{Offset, ProducerId};

const VERSION: u8 = 1;
const DECISION: u8 = 0;
const VERDICTS: u8 = 1;
const POSITIONS: u8 = 2;

/// Longest name of a consumer group, in bytes.
pub(super) const GROUP_BYTES_MAX: usize = i16::MAX as usize;

/// One record of the transaction log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Decision(Decision),
    Verdicts(Vec<Verdict>),
    Positions(Vec<NumberedPosition>),
}

/// That a transaction is committed, provided every log holds what is said here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Ascends with every decision; never used twice.
    pub(super) number: i64,
    pub(super) producer: ProducerId,
    /// Earlier transactions that are committed: whoever reads this need not ask their logs.
    pub(super) committed: Vec<i64>,
    pub(super) logs: Vec<Participant>,
    pub(super) positions: Vec<Position>,
}

/// What one log must hold of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Participant {
    pub(super) log: LogName,
    pub(super) id: [u8; 16],
    pub(super) first: Offset,
    pub(super) last: Offset,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) number: i64,
    pub(super) committed: bool,
}

/// The next offset that a group wants of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) group: String,
    pub(super) log: LogName,
    pub(super) id: [u8; 16],
    pub(super) next: Offset,
}

/// A position and the transaction that stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumberedPosition {
    pub(super) number: i64,
    pub(super) position: Position,
}

impl Participant {
    /// Its size in a record.
    pub(super) fn size(&self) -> usize {
        2 + self.log.to_string().len() + 16 + 8 + 8
    }
}

impl Position {
    /// Its size in a record.
    pub(super) fn size(&self) -> usize {
        2 + self.group.len() + 2 + self.log.to_string().len() + 16 + 8
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Decision(decision) => {
                out.push(DECISION);
                put_i64(&mut out, decision.number);
                put_i64(&mut out, decision.producer.get());
                put_all(&mut out, &decision.committed, |out, number| put_i64(out, *number));
                put_all(&mut out, &decision.logs, put_participant);
                put_all(&mut out, &decision.positions, put_position);
            }
            Self::Verdicts(verdicts) => {
                out.push(VERDICTS);
                put_all(&mut out, verdicts, |out, verdict| {
                    put_i64(out, verdict.number);
                    out.push(u8::from(verdict.committed));
                });
            }
            Self::Positions(positions) => {
                out.push(POSITIONS);
                put_all(&mut out, positions, |out, numbered| {
                    put_i64(out, numbered.number);
                    put_position(out, &numbered.position);
                });
            }
        }
        out
    }

    /// # Errors
    /// [`ErrorKind::NewerFormat`] for a later version; [`ErrorKind::Invalid`] for anything that no
    /// version of this library wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = || Error::new(ErrorKind::Invalid, "a malformed record");
        let mut reader = Reader { rest: bytes };
        match reader.u8().ok_or_else(malformed)? {
            VERSION => {}
            newer if newer > VERSION => {
                let context = format!("version {newer} where {VERSION} is the newest known");
                return Err(Error::new(ErrorKind::NewerFormat, context));
            }
            _ => return Err(malformed()),
        }
        reader.record().filter(|_| reader.rest.is_empty()).ok_or_else(malformed)
    }
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Counts and lengths fit: a transaction is bounded far below (`transaction::SIZE_MAX`).
fn put_all<T>(out: &mut Vec<u8>, all: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    let count = u32::try_from(all.len()).expect("a record is bounded far below 4 GiB");
    out.extend_from_slice(&count.to_be_bytes());
    all.iter().for_each(|one| put(out, one));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("names are bounded far below 64 KiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_participant(out: &mut Vec<u8>, participant: &Participant) {
    put_text(out, &participant.log.to_string());
    out.extend_from_slice(&participant.id);
    put_i64(out, participant.first.get());
    put_i64(out, participant.last.get());
}

fn put_position(out: &mut Vec<u8>, position: &Position) {
    put_text(out, &position.group);
    put_text(out, &position.log.to_string());
    out.extend_from_slice(&position.id);
    put_i64(out, position.next.get());
}

/// Reads untrusted bytes; past the end there is `None`, never a panic.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<Record> {
        match self.u8()? {
            DECISION => Some(Record::Decision(Decision {
                number: self.number()?,
                producer: ProducerId::new(self.i64()?),
                committed: self.all(Self::number)?,
                logs: self.all(Self::participant)?,
                positions: self.all(Self::position)?,
            })),
            VERDICTS => self.all(Self::verdict).map(Record::Verdicts),
            POSITIONS => self.all(Self::numbered_position).map(Record::Positions),
            _ => None,
        }
    }

    fn verdict(&mut self) -> Option<Verdict> {
        let number = self.number()?;
        let committed = match self.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Verdict { number, committed })
    }

    fn participant(&mut self) -> Option<Participant> {
        let (log, id) = (self.log()?, self.array()?);
        let (first, last) = (self.offset()?, self.offset()?);
        (first <= last).then_some(Participant { log, id, first, last })
    }

    fn position(&mut self) -> Option<Position> {
        let group = self.text()?.to_owned();
        Some(Position { group, log: self.log()?, id: self.array()?, next: self.offset()? })
    }

    fn numbered_position(&mut self) -> Option<NumberedPosition> {
        Some(NumberedPosition { number: self.number()?, position: self.position()? })
    }

    /// The count is believed item by item: each takes bytes.
    fn all<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = u32::from_be_bytes(self.array()?);
        (0..count).map(|_| one(self)).collect()
    }

    /// The number of a transaction; the largest is kept free for "the next one".
    fn number(&mut self) -> Option<i64> {
        self.i64().filter(|number| (0..i64::MAX).contains(number))
    }

    fn offset(&mut self) -> Option<Offset> {
        self.i64().filter(|offset| (0..i64::MAX).contains(offset)).map(Offset::new)
    }

    fn log(&mut self) -> Option<LogName> {
        LogName::from_dir_name(self.text()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::from(u16::from_be_bytes(self.array()?));
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let log = LogName::new("a-b", 12).unwrap();
        let position =
            Position { group: "g".to_owned(), log: log.clone(), id: [3; 16], next: Offset::new(9) };
        let (first, last) = (Offset::new(7), Offset::new(8));
        vec![
            Record::Decision(Decision {
                number: 258,
                producer: ProducerId::new(1 << 62),
                committed: vec![256, 257],
                logs: vec![Participant { log, id: [2; 16], first, last }],
                positions: vec![position.clone()],
            }),
            Record::Verdicts(vec![Verdict { number: 1, committed: true }]),
            Record::Positions(vec![NumberedPosition { number: 4, position }]),
        ]
    }

    #[test]
    fn a_decision_has_the_bytes_of_the_format_document() {
        let bytes = records()[0].encode();
        let mut expected = vec![1, 0];
        expected.extend(258_i64.to_be_bytes());
        expected.extend([0x40, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 0, 0, 2]);
        expected.extend(256_i64.to_be_bytes());
        expected.extend(257_i64.to_be_bytes());
        expected.extend([0, 0, 0, 1, 0, 6]);
        expected.extend(b"a-b-12");
        expected.extend([2; 16]);
        expected.extend(7_i64.to_be_bytes());
        expected.extend(8_i64.to_be_bytes());
        expected.extend([0, 0, 0, 1, 0, 1, b'g', 0, 6]);
        expected.extend(b"a-b-12");
        expected.extend([3; 16]);
        expected.extend(9_i64.to_be_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn records_round_trip_and_every_cut_or_longer_one_is_refused() {
        for record in records() {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            for len in 0..bytes.len() {
                let cut = Record::decode(&bytes[..len]);
                assert_eq!(cut.unwrap_err().kind(), &ErrorKind::Invalid, "{record:?} cut to {len}");
            }
            let longer = [bytes, vec![0]].concat();
            assert_eq!(Record::decode(&longer).unwrap_err().kind(), &ErrorKind::Invalid);
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_allocates_nothing_and_a_later_version_is_named() {
        for kind in [DECISION, VERDICTS, POSITIONS] {
            let bytes = [&[VERSION, kind][..], &[0xff; 64]].concat();
            assert_eq!(Record::decode(&bytes).unwrap_err().kind(), &ErrorKind::Invalid);
        }
        let mut bytes = records()[0].encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Record::decode(&bytes).unwrap_err().kind(), &ErrorKind::NewerFormat);
    }

    #[test]
    fn sizes_are_those_of_the_bytes() {
        let Record::Decision(decision) = records().remove(0) else { panic!("a decision") };
        let without = Record::Decision(Decision {
            logs: Vec::new(),
            positions: Vec::new(),
            ..decision.clone()
        });
        let size = decision.logs[0].size() + decision.positions[0].size();
        assert_eq!(Record::Decision(decision).encode().len(), without.encode().len() + size);
    }
}
