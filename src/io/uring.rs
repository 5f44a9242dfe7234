//! Groups of direct writes through a ring.
