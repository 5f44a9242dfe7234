//! (skeleton)

pub(crate) mod name;
