//! A small exactly-once broker for Kafka clients.

pub mod group;
pub mod protocol;
