//! The newtypes of the log's vocabulary.
//!
//! Two integers of one type in a signature are a trap; each of Kafka's words is a type of its own
//! here, converted only at the edges (`new`, `get`). All are signed, as they are on disk and wire.

use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            /// Wraps the number as it stands on disk or wire; no value is refused.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The number as it stands on disk or wire.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

newtype! {
    /// The logical number of a record in a log; the first record of a fresh log has offset 0.
    Offset(i64)
}
newtype! {
    /// The epoch of the leader that assigned a batch's offsets; −1 means unknown.
    LeaderEpoch(i32)
}
newtype! {
    /// The identity of an idempotent or transactional producer; −1 means none.
    ProducerId(i64)
}
newtype! {
    /// The incarnation of a producer id; a higher one fences all lower ones. −1 means none.
    ProducerEpoch(i16)
}
newtype! {
    /// A producer's per-log record number; after 2,147,483,647 comes 0 (D-11). −1 means none.
    Sequence(i32)
}

impl Offset {
    /// The first offset of a fresh log.
    pub const ZERO: Self = Self(0);

    /// The offset `delta` records further on, or `None` past the end of the number range.
    #[must_use]
    pub const fn checked_add(self, delta: i64) -> Option<Self> {
        match self.0.checked_add(delta) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The offset after this one, saturating at the end of the number range.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LeaderEpoch {
    /// No epoch known.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// Not written by an idempotent producer.
    pub const NONE: Self = Self(-1);

    /// Whether a batch that carries this id takes part in duplicate detection.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// No epoch known.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// No sequence.
    pub const NONE: Self = Self(-1);

    /// The sequence `delta` records further on, wrapping from 2,147,483,647 to 0 (D-11).
    ///
    /// `delta` must not be negative; a negative one is treated as 0.
    #[must_use]
    pub const fn advance(self, delta: i32) -> Self {
        let delta = if delta < 0 { 0 } else { delta };
        match self.0.checked_add(delta) {
            Some(value) => Self(value),
            None => Self(delta - (i32::MAX - self.0) - 1),
        }
    }

    /// The sequence `delta` records earlier, wrapping from 0 to 2,147,483,647 (P-2).
    ///
    /// `delta` must not be negative; a negative one is treated as 0.
    #[must_use]
    pub const fn retreat(self, delta: i32) -> Self {
        let delta = if delta < 0 { 0 } else { delta };
        if self.0 >= delta { Self(self.0 - delta) } else { Self(i32::MAX - (delta - self.0) + 1) }
    }

    /// Whether `next` directly follows this sequence (P-15).
    #[must_use]
    pub const fn is_followed_by(self, next: Self) -> bool {
        if self.0 == i32::MAX { next.0 == 0 } else { next.0 == self.0 + 1 }
    }
}

/// Who appends, which decides the rules that apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origin {
    /// A producer: every rule of sections A and P holds.
    #[default]
    Client,
    /// A coordinator of groups or transactions: markers allowed, sequences not checked.
    Coordinator,
    /// A follower copying its leader: offsets and epochs are in the batches already.
    Follower,
}

#[cfg(test)]
mod tests {
    use super::*;

    // D-11, P-15, S-2.
    #[test]
    fn sequences_wrap_to_zero_and_back() {
        let first = Sequence::new(i32::MAX - 10);
        assert_eq!(first.advance(20), Sequence::new(9));
        assert_eq!(Sequence::new(9).retreat(20), first);
        assert!(Sequence::new(i32::MAX).is_followed_by(Sequence::new(0)));
        assert!(!Sequence::new(i32::MAX).is_followed_by(Sequence::new(1)));
        assert!(Sequence::new(4).is_followed_by(Sequence::new(5)));
    }
}
