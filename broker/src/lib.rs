//! A small exactly-once broker for Kafka clients, on the `oncelog` engine.
//!
//! [`Server::start`] runs a whole broker inside a program, on the caller's tokio runtime; the
//! `oncelog` command is a thin shell around it. The broker keeps everything it knows in logs of the
//! engine and has no files of its own.
//!
//! | module | owns |
//! |---|---|
//! | `server`, `connection` | sockets, frames, the order of answers, memory in flight |
//! | `protocol` | the wire format of every message served |
//! | `handler` | one file per family of requests: from decoded request to response |
//! | `topics`, `producer_ids`, `metadata` | what the broker remembers, in a log of the engine |
//! | `state_log` | the logs in which coordinators keep their state |
//! | `group` | consumer groups and their offsets |
//! | `txn` | transactions: their coordinator |
//! | `config` | Kafka's property names, typed |

#![forbid(unsafe_code)]

mod answer_budget;
mod blocking;
mod clock;
mod config;
mod connection;
mod fetch_session;
pub mod group;
mod handler;
mod metadata;
mod producer_ids;
pub mod protocol;
mod server;
mod state_log;
mod topics;
mod txn;

pub use config::{Config, Setting, Settings, settings};
pub use server::{ServeError, ServeOptions, Server};
