//! What a power cut does with everything that was not flushed.

use super::content::SECTOR_BYTES;
use super::rng::Rng;

/// The fate of what was written and not flushed when the power goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crash {
    /// All of it is lost.
    LoseAll,
    /// All of it survives.
    KeepAll,
    /// Each sector, length and name by itself, as the seed says; some seeds lose or keep most.
    Random {
        /// The choice.
        seed: u64,
        /// Whether a sector that was being written may hold noise afterwards.
        garbage: bool,
    },
    /// Unit `n` of [`super::SimDisk::undecided`] survives if bit `n` of this mask (bit `n % 64` of
    /// word `n / 64`) is set; units past the mask are lost.
    Exact(Vec<u64>),
}

/// Answers one question per unit, in a fixed order.
#[derive(Debug)]
pub(super) enum Chooser {
    All(bool),
    Random { rng: Rng, keep_percent: u64, garbage: bool },
    Exact { mask: Vec<u64>, next: usize },
}

impl Chooser {
    pub(super) fn new(crash: &Crash) -> Self {
        match crash {
            Crash::LoseAll => Self::All(false),
            Crash::KeepAll => Self::All(true),
            Crash::Random { seed, garbage } => {
                let mut rng = Rng::new(*seed);
                let keep_percent = [0, 5, 50, 50, 50, 95, 100][rng.below(7)];
                Self::Random { rng, keep_percent, garbage: *garbage }
            }
            Crash::Exact(mask) => Self::Exact { mask: mask.clone(), next: 0 },
        }
    }

    /// Whether the next unit survives.
    pub(super) fn keep(&mut self) -> bool {
        match self {
            Self::All(keep) => *keep,
            Self::Random { rng, keep_percent, .. } => rng.percent(*keep_percent),
            Self::Exact { mask, next } => {
                let unit = *next;
                *next += 1;
                mask.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
            }
        }
    }

    /// How many of a unit's `len` successive states were reached on the disk.
    pub(super) fn prefix(&mut self, len: usize) -> usize {
        let kept = self.keep();
        if len == 0 || !kept {
            return 0;
        }
        // A kept unit is mostly at its newest state, and now and then at an older one.
        let Self::Random { rng, .. } = self else {
            return len;
        };
        if rng.percent(25) { rng.below(len) + 1 } else { len }
    }

    /// Whether the sector just asked about holds noise instead.
    pub(super) fn garbage(&mut self) -> bool {
        match self {
            Self::Random { rng, garbage: true, .. } => rng.percent(5),
            _ => false,
        }
    }

    /// A sector of noise.
    pub(super) fn noise(&mut self) -> [u8; SECTOR_BYTES] {
        let mut noise = [0; SECTOR_BYTES];
        if let Self::Random { rng, .. } = self {
            noise.fill_with(|| rng.next().to_be_bytes()[0]);
        }
        noise
    }
}
