//! A panic in a sandbox ends in a trap that says no more than `unreachable`. This says more, to the host's log, first.

use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::host::log;

/// Sends the message of a panic to the host's log, at level error. Done once; later calls cost a comparison.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(tell)));
}

fn tell(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("panic");
    match info.location() {
        Some(place) => {
            let line = place.line().to_string();
            log::error(message, &[("panic", place.file()), ("line", &line)]);
        }
        None => log::error(message, &[("panic", "")]),
    }
}
