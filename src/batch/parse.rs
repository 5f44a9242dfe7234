//! Why bytes are not a batch, told apart by what the reader of a stream or file must do next.

use crate::error::{Error, ErrorKind};
use std::fmt;

/// Why [`Batch::parse`](super::Batch::parse) found no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end inside the batch: read on, or cut a torn tail here.
    Incomplete {
        /// Bytes that must be there, counted from the start of the batch. While the length field
        /// itself is missing this is the size of a header; it may grow on the next try.
        needed: usize,
    },
    /// These bytes cannot be the start of a batch.
    Malformed(&'static str),
    /// A message format other than 2; 0 and 1 are those of Kafka before 0.11.
    Magic(u8),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { needed } => {
                write!(f, "the bytes end inside a batch that needs {needed} bytes")
            }
            Self::Malformed(fault) => f.write_str(fault),
            Self::Magic(magic) => write!(f, "message format {magic} is not supported, only 2"),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for Error {
    /// [`ErrorKind::InvalidBatch`] for another message format, else
    /// [`ErrorKind::CorruptBatch`].
    fn from(error: ParseError) -> Self {
        let kind = match error {
            ParseError::Magic(_) => ErrorKind::InvalidBatch,
            ParseError::Incomplete { .. } | ParseError::Malformed(_) => ErrorKind::CorruptBatch,
        };
        Self::with_source(kind, "cannot parse a record batch", error)
    }
}
