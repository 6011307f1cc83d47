//! What the guest does on request.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::host::log;
use keygate_plugin_sdk::settings::from_json;
use serde::Deserialize;

/// The size of an oversized answer, in bytes: above every bound of the contracts.
pub const HUGE: usize = 8 * 1_024 * 1_024;

/// How many lines a flood has.
pub const FLOOD: u32 = 10_000;

/// A way to misbehave.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Runs for ever. Any function.
    Loop,
    /// Takes memory until it is refused, then dies of it. Any function.
    Memory,
    /// Panics with `hostile panic`. Any function.
    Trap,
    /// Calls itself without end, with a frame in linear memory. Any function.
    Stack,
    /// Calls itself without end, and keeps nothing in linear memory. Any function.
    Recursion,
    /// Logs [`FLOOD`] lines, each of them over its bounds, then goes on as if nothing were. Any function.
    LogFlood,
    /// Asks the host for 16 random bytes and goes on as if nothing were. Any function of the backend; `configure` may not.
    Random,
    /// Asks the host for 1 GiB of random bytes. Any function of the backend.
    RandomHuge,
    /// Asks the host for 4,096 random bytes, again and again, 17 times. Any function of the backend.
    RandomFlood,
    /// Answers with [`HUGE`] bytes. Functions whose answer has bytes or a text in it.
    Output,
    /// Answers with something that is out of its bounds by a little, or makes no sense. The same functions.
    BadOutput,
    /// Answers with what it was given: a `wrap` that is none. `generate-key`, `import-key`, `wrap`, `unwrap`, `rewrap`.
    Echo,
    /// Counts its calls in a static and answers with the count, 4 bytes big-endian: 1 if each call has a sandbox of its
    /// own. `wrap`, `unwrap`, `random`; a rule says it in a denial, `calls: 1`.
    Remember,
}

/// The settings.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// In which function, by its name in the contract.
    #[serde(rename = "in")]
    pub place: String,
    /// What.
    #[serde(rename = "do")]
    pub deed: Option<Deed>,
    /// Whether also while the host tries the backend out. `configure`, `describe` and `probe` do not look at this.
    pub loading: bool,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// An unknown setting, or an unknown deed.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        from_json(text)
    }

    /// Does what is asked for in this function, if it can be done without an answer; otherwise says what to answer.
    pub fn enter(&self, function: &str) -> Option<Deed> {
        let deed = self.deed.filter(|_| self.place == function)?;
        match deed {
            Deed::Loop => endless(),
            Deed::Memory => exhaust(),
            Deed::Trap => panic_now(),
            Deed::Stack => {
                black_box(dig(0));
            }
            Deed::Recursion => {
                black_box(fall(0));
            }
            Deed::LogFlood => flood(),
            Deed::Random | Deed::RandomHuge | Deed::RandomFlood => return Some(deed),
            Deed::Output | Deed::BadOutput | Deed::Echo | Deed::Remember => return Some(deed),
        }
        None
    }
}

/// How often it was called in this sandbox, this time included.
pub fn count() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

fn endless() {
    while black_box(true) {
        black_box(0);
    }
}

fn exhaust() {
    while black_box(true) {
        // Written to, so that no lazy zero page saves anybody.
        let mut block = vec![1_u8; 1_024 * 1_024];
        black_box(block.as_mut_slice());
        std::mem::forget(block);
    }
}

#[expect(clippy::panic, reason = "the deed itself")]
fn panic_now() {
    panic!("hostile panic");
}

#[inline(never)]
fn dig(depth: u64) -> u64 {
    let mut frame = [depth; 32];
    black_box(frame.as_mut_slice());
    if black_box(true) {
        // Not a tail call: the frame is needed after it.
        return dig(depth + 1).wrapping_add(frame[(depth % 32) as usize]);
    }
    depth
}

#[inline(never)]
fn fall(depth: u64) -> u64 {
    static ON: AtomicBool = AtomicBool::new(true);
    // Two operations, so that no compiler makes a loop of it; and no frame, so that it is the machine's stack that ends.
    if ON.load(Ordering::Relaxed) { fall(depth + 1).wrapping_mul(3) ^ depth } else { depth }
}

fn flood() {
    let message = "x".repeat(5_000);
    let value = "y".repeat(2_000);
    let fields = [("flood", value.as_str()); 20];
    for _ in 0..FLOOD {
        log::info(&message, &fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_its_name() {
        for (name, deed) in [
            ("loop", Deed::Loop),
            ("memory", Deed::Memory),
            ("trap", Deed::Trap),
            ("stack", Deed::Stack),
            ("log-flood", Deed::LogFlood),
            ("recursion", Deed::Recursion),
            ("random", Deed::Random),
            ("random-huge", Deed::RandomHuge),
            ("random-flood", Deed::RandomFlood),
            ("output", Deed::Output),
            ("bad-output", Deed::BadOutput),
            ("echo", Deed::Echo),
            ("remember", Deed::Remember),
        ] {
            let settings = Settings::parse(&format!(r#"{{"in":"wrap","do":"{name}"}}"#)).unwrap();
            assert_eq!(settings, Settings { place: "wrap".into(), deed: Some(deed), loading: false });
        }
        assert_eq!(Settings::parse("{}").unwrap(), Settings::default());
        assert!(Settings::parse(r#"{"do":"nothing"}"#).is_err());
        assert!(Settings::parse(r#"{"on":"wrap"}"#).is_err());
    }

    #[test]
    fn misbehaves_where_it_is_told_to_only() {
        let settings = Settings { place: "wrap".into(), deed: Some(Deed::Trap), loading: false };
        assert_eq!(settings.enter("unwrap"), None);
        assert!(std::panic::catch_unwind(|| settings.enter("wrap")).is_err());
        let settings = Settings { place: "wrap".into(), deed: Some(Deed::Output), loading: false };
        assert_eq!(settings.enter("wrap"), Some(Deed::Output));
    }
}
