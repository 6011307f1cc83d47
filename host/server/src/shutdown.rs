//! Signals: when to stop, at SIGTERM or SIGINT, and when to reload, at SIGHUP.

use std::io::IsTerminal as _;

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

/// SIGHUP, from now on. One that comes before anybody waits for it is kept.
pub struct Hangups {
    signal: Signal,
    had_terminal: bool,
}

/// Listens for SIGHUP.
///
/// # Errors
/// When the operating system lets no handler be installed.
pub fn hangups() -> std::io::Result<Hangups> {
    Ok(Hangups { signal: signal(SignalKind::hangup())?, had_terminal: std::io::stdin().is_terminal() })
}

impl Hangups {
    /// The next one; `None` when no more is to be waited for. Where it says what it said before there were reloads, that the
    /// terminal is gone from which the gateway was started, it is a reason to stop.
    pub async fn next(&mut self) -> Option<()> {
        self.signal.recv().await?;
        if self.had_terminal && !std::io::stdin().is_terminal() {
            // The way that every other stop goes.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
            return None;
        }
        Some(())
    }
}
