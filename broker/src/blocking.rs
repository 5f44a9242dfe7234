//! Engine calls that wait for the disk, kept off the threads that serve connections.

use oncelog::{Error, ErrorKind, Result};
use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` where blocking is allowed.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    joined(spawn_blocking(work).await)
}

/// The outcome of work whose task may itself have failed.
fn joined<T>(outcome: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    match outcome {
        Ok(result) => result,
        Err(error) => Err(Error::with_source(ErrorKind::Closed, "the work was cut short", error)),
    }
}
