//! The documented contract, topic by topic, on the real backend and on the simulated disk.

mod append;
mod common;
