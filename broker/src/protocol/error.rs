//! Why bytes were refused, and why a message could not be written.

use std::error::Error;
use std::fmt;

/// Why received bytes are not a message.
///
/// None of these is worth an answer on the wire: the sender and this codec no longer agree on where
/// a message ends, so the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value needs more bytes than the message has left.
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A length below zero that is not the null marker.
    NegativeLength(i32),
    /// Null where this version allows none.
    UnexpectedNull,
    /// More elements announced than could fit the bytes that are left.
    CountTooLarge {
        /// Elements announced.
        count: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A string of more than 32,767 bytes.
    StringTooLong(usize),
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A variable-length integer of more than 32 bits.
    VarintTooLong,
    /// More tagged fields than any message carries.
    TooManyTags(usize),
    /// A tagged field whose value is shorter than the size it announced.
    TagSizeMismatch {
        /// The field's tag.
        tag: u32,
        /// Bytes announced but not part of the value.
        left: usize,
    },
    /// The decoded form would take more memory than a message of this size may.
    BudgetExceeded,
    /// No such api is served.
    UnknownApi(i16),
    /// The api is served, this version of it is not.
    UnsupportedVersion {
        /// The api's key.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
    /// The message ended before its frame did.
    TrailingBytes(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, left } => {
                write!(f, "a value of {needed} bytes with {left} bytes left")
            }
            Self::NegativeLength(length) => write!(f, "a length of {length}"),
            Self::UnexpectedNull => f.write_str("null where a value is required"),
            Self::CountTooLarge { count, left } => {
                write!(f, "{count} elements announced with {left} bytes left")
            }
            Self::StringTooLong(length) => write!(f, "a string of {length} bytes"),
            Self::InvalidUtf8 => f.write_str("a string that is not UTF-8"),
            Self::VarintTooLong => f.write_str("a variable-length integer of more than 32 bits"),
            Self::TooManyTags(count) => write!(f, "{count} tagged fields"),
            Self::TagSizeMismatch { tag, left } => {
                write!(f, "tagged field {tag} announced {left} bytes too many")
            }
            Self::BudgetExceeded => {
                f.write_str("more elements than a message of this size may hold")
            }
            Self::UnknownApi(api_key) => write!(f, "api key {api_key} is not served"),
            Self::UnsupportedVersion { api_key, version } => {
                write!(f, "version {version} of api key {api_key} is not served")
            }
            Self::TrailingBytes(left) => write!(f, "{left} bytes after the message"),
        }
    }
}

impl Error for DecodeError {}

/// Why a message could not be written: a mistake of the sender, never of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string, array or frame has more bytes or elements than its length field can state.
    TooLong(usize),
    /// The message has no such version.
    UnsupportedVersion {
        /// The api's key.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong(length) => write!(f, "a length of {length} does not fit its field"),
            Self::UnsupportedVersion { api_key, version } => {
                write!(f, "api key {api_key} has no version {version}")
            }
        }
    }
}

impl Error for EncodeError {}
