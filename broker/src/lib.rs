//! A small exactly-once broker for Kafka clients.

pub mod protocol;
