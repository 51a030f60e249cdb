//! Ctrl-C.

use std::future::Future;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::failure::{INTERRUPTED, Interrupted};

/// Cancels `token` at the first Ctrl-C, so that what was reached can be shown; ends the process at the second.
pub fn cancel_on_ctrl_c(token: &CancellationToken) {
    let token = token.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            token.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
}

/// Does `work` until it ends or the token is cancelled, which drops it.
///
/// # Errors
/// Those of the work, and [`Interrupted`].
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
