//! One contract, three backends: every promise of `oncelog::io` is a test that runs on plain system
//! calls, on a ring and on the simulated disk.
//!
//! | file | what is promised |
//! |---|---|
//! | `names` | directories and names: made, listed, moved, removed, locked, durable |
//! | `files` | one open file: modes, positions, lengths, flushes, maps |
//! | `groups` | groups of writes |
//! | `world` | clocks and randomness |
//! | `denied` | what is left where the kernel refuses a ring |
//!
//! A power cut is part of the contract, but only the simulated disk has one at hand: [`Place::cut`]
//! cuts it there, with everything lost that was not flushed, and does nothing elsewhere (`tests/powercut`
//! does). Where the kernel has no ring, that third of the suite says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is a failed test, and one that cannot run says why"
)]

/// Runs each test on every backend, as `<test>::uring` and so on.
macro_rules! contract {
    ($($(#[$meta:meta])* fn $name:ident($place:ident) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                fn holds($place: &Place) $body

                #[test]
                fn std() {
                    holds(&Place::std());
                }

                #[test]
                fn sim() {
                    holds(&Place::sim());
                }

                #[test]
                fn uring() {
                    if let Some(place) = Place::uring() {
                        holds(&place);
                    }
                }
            }
        )*
    };
}

#[cfg(target_os = "linux")]
mod denied;
mod files;
mod groups;
mod names;
mod place;
mod world;

use place::{Place, block, blocks};
