//! (skeleton)
/// skeleton
pub fn open_storage() {}
