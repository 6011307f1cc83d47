//! What the operator says of a token.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keygate_core::ports::{Clock, Entropy};
use keygate_core::secret::SecretText;

use crate::error::StartError;

/// The longest name of a token, in bytes (`keygate:host/pkcs11.token.open`).
pub const MAX_NAME: usize = 64;
/// The most sessions a token's pool may have.
pub const MAX_SESSIONS: usize = 256;
/// The longest queue of calls that wait for a session.
pub const MAX_QUEUE: usize = 65_536;
/// The longest PIN, in bytes.
pub const MAX_PIN: usize = 256;

/// How a token is found. Never by slot number: those move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// CK_TOKEN_INFO.label, blanks cut. Two tokens with it are an error.
    Label(String),
    /// CK_TOKEN_INFO.serialNumber, blanks cut.
    Serial(String),
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "the label `{label}`"),
            Self::Serial(serial) => write!(f, "the serial number `{serial}`"),
        }
    }
}

/// Where the user's PIN comes from. Read at every login, so that a corrected PIN is taken without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file that gives its group and others no right. One line end at its end is cut.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
}

/// When a token is given up for a while. See [`crate::breaker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures in a row open it: 1 to 1,000.
    pub failures: u32,
    /// How long it stays open the first time. Doubles at each trial that fails.
    pub open_for: Duration,
    /// And no longer than this.
    pub open_at_most: Duration,
    /// A call that misses its deadline is a failure when it was inside the module for at least so long. A caller without
    /// patience says nothing about the token.
    pub slow: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_secs(1),
            open_at_most: Duration::from_secs(30),
            slow: Duration::from_secs(1),
        }
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The operator's name for it: 1 to [`MAX_NAME`] bytes.
    pub name: String,
    /// The module's shared library: an absolute path.
    pub module: PathBuf,
    /// A string for C_Initialize's reserved argument, which NSS softokn needs and no other module should be given.
    pub module_parameters: Option<String>,
    /// Which of the module's tokens.
    pub find: Find,
    /// The user's PIN.
    pub pin: PinSource,
    /// Worker threads, each with a session of its own: 1 to [`MAX_SESSIONS`].
    pub sessions: usize,
    /// Calls that may wait for a session: 0 to [`MAX_QUEUE`]. One more is told to come again.
    pub queue: usize,
    /// A call inside the module for longer than this is taken for hung: its worker is written off.
    pub hang: Duration,
    /// The same for making RSA keys, which is slow on small tokens.
    pub hang_generating: Duration,
    /// How many written-off workers may be inside the module before they are replaced no more.
    pub written_off: usize,
    /// Handles of token objects that are remembered.
    pub handles: usize,
    /// Unwrapped keys that are kept as session objects.
    pub unwrapped: usize,
    /// What stands before the id in CKA_LABEL of keys that are made here.
    pub label_prefix: String,
    /// When it is given up for a while.
    pub breaker: BreakerConfig,
}

impl TokenConfig {
    /// A token with the default bounds: 4 sessions, a queue of 256, 10 seconds until a call is taken for hung (2 minutes
    /// when generating RSA keys), as many written-off workers as sessions, 4,096 handles, 1,024 unwrapped keys.
    pub fn new(name: impl Into<String>, module: impl Into<PathBuf>, find: Find, pin: PinSource) -> Self {
        Self {
            name: name.into(),
            module: module.into(),
            module_parameters: None,
            find,
            pin,
            sessions: 4,
            queue: 256,
            hang: Duration::from_secs(10),
            hang_generating: Duration::from_secs(120),
            written_off: 4,
            handles: 4_096,
            unwrapped: 1_024,
            label_prefix: "keygate".to_owned(),
            breaker: BreakerConfig::default(),
        }
    }

    /// Whether everything is within its bounds.
    ///
    /// # Errors
    /// The first thing that is not, by the name that the field has here.
    pub fn check(&self) -> Result<(), StartError> {
        let shown = match &self.find {
            Find::Label(text) | Find::Serial(text) => text,
        };
        let ms = Duration::from_millis(1);
        let hour = Duration::from_secs(3_600);
        let rules = [
            ((1..=MAX_NAME).contains(&self.name.len()), "its name must have 1 to 64 bytes"),
            (self.module.is_absolute(), "`module` must be an absolute path"),
            ((1..=32).contains(&shown.trim().len()), "its label or serial number must have 1 to 32 bytes"),
            ((1..=MAX_SESSIONS).contains(&self.sessions), "`sessions` must be 1 to 256"),
            (self.queue <= MAX_QUEUE, "`queue` must be at most 65536"),
            (self.written_off <= MAX_SESSIONS, "`written_off` must be at most 256"),
            (
                self.hang >= ms && self.hang_generating >= self.hang,
                "`hang` must be at least 1ms and at most `hang_generating`",
            ),
            (self.hang_generating <= hour, "`hang` and `hang_generating` must be at most 1h"),
            ((1..=1 << 20).contains(&self.handles), "`handles` must be 1 to 1048576"),
            ((1..=1 << 20).contains(&self.unwrapped), "`unwrapped` must be 1 to 1048576"),
            (self.label_prefix.len() <= 64, "`label_prefix` must have at most 64 bytes"),
            ((1..=1_000).contains(&self.breaker.failures), "`breaker.failures` must be 1 to 1000"),
            (
                self.breaker.open_for >= ms && self.breaker.open_at_most >= self.breaker.open_for,
                "`breaker.open_for` must be at least 1ms and at most `breaker.open_at_most`",
            ),
            (
                self.breaker.open_at_most <= hour && self.breaker.slow <= hour,
                "`breaker.open_at_most` and `breaker.slow` must be at most 1h",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, problem)) => Err(StartError::Config { token: self.name.clone(), problem: (*problem).to_owned() }),
        }
    }
}

/// Reads an environment variable, for PINs.
pub type Environment = dyn Fn(&str) -> Option<SecretText> + Send + Sync;

/// What a token needs of the world.
#[derive(Clone)]
pub struct Surroundings {
    /// For the circuit breaker and for "since when".
    pub clock: Arc<dyn Clock>,
    /// For initialization vectors.
    pub entropy: Arc<dyn Entropy>,
    /// For PINs.
    pub environment: Arc<Environment>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Reads the PIN, and when its file was written. The error says what is wrong and how to mend it, and nothing of the PIN.
pub(crate) fn read_pin(
    source: &PinSource,
    environment: &Environment,
) -> Result<(SecretText, Option<SystemTime>), String> {
    let (pin, written) = match source {
        PinSource::Environment(name) => {
            let unset =
                || format!("the PIN's environment variable {name} is not set; set it for the gateway's process");
            (environment(name).ok_or_else(unset)?, None)
        }
        PinSource::File(path) => read_pin_file(path)?,
    };
    if pin.expose().is_empty() || pin.expose().len() > MAX_PIN {
        return Err(format!("the PIN must have 1 to {MAX_PIN} bytes; correct its file or variable"));
    }
    Ok((pin, written))
}

fn read_pin_file(path: &std::path::Path) -> Result<(SecretText, Option<SystemTime>), String> {
    let name = path.display();
    let unreadable =
        |e: std::io::Error| format!("the PIN file {name} cannot be read ({e}); let the gateway's user read it");
    let file = File::open(path).map_err(unreadable)?;
    // Of the file that is open, not of one that had its name before.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("the PIN file {name} is no regular file; name a file that holds the PIN and nothing else"));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(format!("the PIN file {name} is open to others (mode {mode:04o}); chmod 600 {name}"));
    }
    // As large as it may become, so that it does not grow and leave a copy behind.
    let mut text = zeroize::Zeroizing::new(String::with_capacity(MAX_PIN + 3));
    let length = MAX_PIN as u64 + 2;
    file.take(length)
        .read_to_string(&mut text)
        .map_err(|_| format!("the PIN file {name} is not UTF-8; write the PIN alone"))?;
    let end = text.trim_end_matches('\n').trim_end_matches('\r').len();
    text.truncate(end);
    Ok((SecretText::new(std::mem::take(&mut *text)), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn none(_: &str) -> Option<SecretText> {
        None
    }

    #[test]
    fn a_pin_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, "geheim-1234\n").unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let problem = read_pin(&PinSource::File(path.clone()), &none).unwrap_err();
            assert!(problem.contains("chmod 600") && !problem.contains("geheim"), "{problem}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_pin(&PinSource::File(path), &none).unwrap().0.expose(), "geheim-1234");
    }

    #[test]
    fn a_pin_that_is_missing_empty_or_long_is_refused() {
        assert!(read_pin(&PinSource::File("/nowhere/pin".into()), &none).is_err());
        assert!(read_pin(&PinSource::Environment("KG_PIN".into()), &none).unwrap_err().contains("KG_PIN"));
        for bad in [String::new(), "1".repeat(MAX_PIN + 1)] {
            let from = bad.clone();
            let environment = move |_: &str| Some(SecretText::new(from.clone()));
            assert!(read_pin(&PinSource::Environment("KG_PIN".into()), &environment).is_err());
        }
    }

    #[test]
    fn settings_out_of_their_bounds_are_named() {
        let good = TokenConfig::new("t", "/m.so", Find::Label("l".into()), PinSource::Environment("P".into()));
        good.check().unwrap();
        let mut bad = good.clone();
        bad.sessions = 0;
        assert!(bad.check().unwrap_err().to_string().contains("`sessions` must be 1 to 256"));
        let mut bad = good.clone();
        bad.module = "m.so".into();
        assert!(bad.check().unwrap_err().to_string().contains("absolute"));
        let mut bad = good.clone();
        bad.hang_generating = Duration::from_secs(3_601);
        assert!(bad.check().unwrap_err().to_string().contains("1h"));
        let mut bad = good.clone();
        bad.breaker.open_at_most = Duration::MAX;
        assert!(bad.check().unwrap_err().to_string().contains("1h"));
        let mut bad = good;
        bad.hang = Duration::from_secs(600);
        assert!(bad.check().is_err());
    }
}
