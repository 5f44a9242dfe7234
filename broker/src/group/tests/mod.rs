//! Tests of groups: the state machine by hand and at random, the stored bytes, the coordinator.

mod bench;
mod coordinator;
mod membership;
mod memory;
mod offsets;
mod random;
mod records;
mod statics;
mod table;
mod timing;
