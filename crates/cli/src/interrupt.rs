//! Ctrl-C: the first one cancels the work, the second one ends the process.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::{exit, failure::Interrupted};

/// Cancels `token` at the first Ctrl-C, so that partial results can be shown; ends the process at
/// the second.
pub fn cancel_on_ctrl_c(token: &CancellationToken) {
    let token = token.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            token.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
}

/// Awaits `work`, or drops it when the token is cancelled.
///
/// # Errors
/// Errors of the work, or [`Interrupted`].
pub async fn until_cancelled<T, E>(
    token: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T>
where
    anyhow::Error: From<E>,
{
    tokio::select! {
        biased;
        () = token.cancelled() => Err(Interrupted.into()),
        result = work => Ok(result?),
    }
}
