//! Wall-clock time and identities, for what the broker itself writes.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the broker's one reading of the wall clock")]
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A fresh random (version 4) UUID. Nothing secret depends on it.
pub(crate) fn random_id() -> [u8; 16] {
    let half = || u128::from(RandomState::new().hash_one(now_ms()));
    let mut id = ((half() << 64) | half()).to_be_bytes();
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut id;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ_and_are_of_version_four() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id[6] >> 4 == 4 && id[8] >> 6 == 2));
    }
}
