//! Clocks and randomness.

use crate::Place;
use std::collections::BTreeSet;

contract! {
    fn time_never_goes_back(place) {
        let clock = place.io.clock.as_ref();
        let mut last = clock.monotonic();
        for _ in 0..10_000 {
            let now = clock.monotonic();
            assert!(now >= last);
            last = now;
        }
    }

    fn the_wall_clock_counts_milliseconds_since_1970(place) {
        // Between the years 2020 and 2100.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&place.io.clock.now_ms()));
    }

    fn random_numbers_do_not_repeat(place) {
        let numbers: BTreeSet<u64> = (0..10_000).map(|_| place.io.random.next_u64()).collect();
        assert_eq!(numbers.len(), 10_000);
        // Identities are made of whole numbers: no bit stands still.
        assert_eq!(numbers.iter().fold(0, |bits, n| bits | n), u64::MAX);
        assert_eq!(numbers.iter().fold(u64::MAX, |bits, n| bits & n), 0);
    }
}
