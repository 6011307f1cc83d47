//! Signals: when to stop, at SIGTERM or SIGINT, and when to reload, at SIGHUP.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals from now on. The future ends at the first of them; a second one ends the process at once, for
/// those who will not wait.
///
/// # Errors
/// When the operating system lets no handler be installed.
pub fn signals() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let which = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = which, "stopping; what is in work is finished first");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("a second signal: stopping at once");
            std::process::exit(130);
        });
    })
}

/// Listens for SIGHUP from now on. One that comes before anybody waits for it is kept.
///
/// # Errors
/// When the operating system lets no handler be installed.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}
