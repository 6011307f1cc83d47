//! What `plugins.toml` says of plugins, backends and the policy chain.
//!
//! Reading is strict: an unknown key or grant is an error that names the nearest known one, and one reading finds
//! everything that is wrong with an entry.

mod parse;
pub(crate) mod scope;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::scope::{ActionPattern, ChainEntry, NoSuchAction, Scope};
use units::{parse_duration, parse_size};

/// Everything that a generation is made from.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The plugins.
    pub plugins: Vec<PluginManifest>,
    /// Which of them are backends under which name.
    pub backends: Vec<BackendManifest>,
    /// Which of them decide, in which order.
    pub policy: PolicyManifest,
    /// Whether every plugin's entry must say its SHA-256. Off in development mode only.
    pub require_digest: bool,
    /// Whether every plugin's entry must say who signed it.
    pub require_signatures: bool,
    /// The keys that [`PluginManifest::signed_by`] can name.
    pub trusted_keys: Vec<TrustedKey>,
}

/// A key that components can be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub source: KeySource,
}

/// Where a public key is: SPKI in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Here.
    Pem(String),
    /// In a file, read whenever plugins are loaded.
    File(PathBuf),
}

/// A backend: a plugin under a name that the store remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendManifest {
    /// The backend's name. Keys refer to it for ever.
    pub name: String,
    /// The plugin's name.
    pub plugin: String,
}

/// The policy chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyManifest {
    /// The rules and where each is asked, the first to be asked first. Empty: everything is refused.
    pub chain: Vec<ChainEntry>,
}

/// A plugin's entry.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginManifest {
    /// Its name: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The component.
    pub file: PathBuf,
    /// What the component's SHA-256 must be.
    pub digest: DigestSource,
    /// Names of trusted keys, of which one must have signed the component. Empty: nobody need have.
    pub signed_by: Vec<String>,
    /// Where the signature is; `FILE.sig` if not said.
    pub signature_file: Option<PathBuf>,
    /// What the plugin must say that it is called (`describe`: `name`). A signature covers the component and not the entry
    /// that names it.
    pub described_as: Option<String>,
    /// What kind of plugin it is.
    pub world: World,
    /// What it may use.
    pub grants: Grants,
    /// What it may consume.
    pub limits: PluginLimits,
    /// Whether its answers count. Rules only.
    pub mode: Mode,
    /// Its own settings, a JSON object. The plugin checks them.
    pub settings: serde_json::Value,
    /// Settings whose values are files' texts.
    pub settings_files: SettingsFiles,
}

/// Settings that are read from files when the plugin is loaded: under each key, the plugin gets a list of
/// `{ "file": NAME, "text": TEXT }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsFiles {
    /// The directory that names are relative to.
    pub base: PathBuf,
    /// By key: names of files, with `*` in their last part for all that fit.
    pub lists: BTreeMap<String, Vec<String>>,
}

/// Where the expected SHA-256 of a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestSource {
    /// From the entry itself: 64 hexadecimal digits, in lower case.
    Sha256(String),
    /// From a file as `sha256sum` writes it, by the component's file name.
    File(PathBuf),
    /// From nowhere; accepted only where [`Manifest::require_digest`] is off, or a signature takes its place.
    Absent,
}

/// What kind of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// A backend that keeps keys in software.
    SoftwareBackend,
    /// A backend that keeps keys in a PKCS#11 token.
    HsmBackend,
    /// A rule of the policy chain.
    PolicyRule,
}

impl World {
    /// The name in `plugins.toml`, which is the world's in `wit/`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoftwareBackend => "software-backend",
            Self::HsmBackend => "hsm-backend",
            Self::PolicyRule => "policy-rule",
        }
    }

    /// Whether it is a backend.
    pub const fn is_backend(self) -> bool {
        !matches!(self, Self::PolicyRule)
    }

    /// The longest settings it takes, in bytes of JSON (`wit/`: `configure`).
    pub(crate) const fn max_settings(self) -> usize {
        if self.is_backend() { 65_536 } else { 1_048_576 }
    }

    /// The grants that a plugin of this world can have.
    pub(crate) const fn grantable(self) -> &'static [&'static str] {
        match self {
            Self::SoftwareBackend => &["log", "random", "secrets", "clock", "wasi-minimal"],
            Self::HsmBackend => &["log", "pkcs11", "pkcs11-transport", "clock", "wasi-minimal"],
            Self::PolicyRule => &["log", "wasi-minimal"],
        }
    }
}

/// What a plugin may use. Nothing, unless it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// `keygate:host/log`.
    pub log: bool,
    /// `keygate:host/random`.
    pub random: bool,
    /// `keygate:host/clock`.
    pub clock: bool,
    /// As much of WASI 0.2 as the toolchains of some languages put into every component.
    pub wasi_minimal: bool,
    /// `keygate:host/secrets`, for these names.
    pub secrets: Vec<String>,
    /// `keygate:host/pkcs11`, for tokens of these names.
    pub pkcs11: Vec<String>,
    /// Of that, `wrap-to`: keys may leave a token, sealed to whoever the plugin names.
    pub pkcs11_transport: bool,
}

impl Grants {
    /// Whether the capability of this name is granted.
    pub(crate) fn has(&self, capability: &str) -> bool {
        match capability {
            "log" => self.log,
            "random" => self.random,
            "clock" => self.clock,
            "wasi-minimal" => self.wasi_minimal,
            "secrets" => !self.secrets.is_empty(),
            "pkcs11" => !self.pkcs11.is_empty(),
            "pkcs11-transport" => self.pkcs11_transport,
            _ => false,
        }
    }
}

/// What a plugin may consume: in one call, and in calls at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// Wall-clock time. 1 second.
    pub deadline: Duration,
    /// The same for the functions that make RSA keys, `create-import-key` and `create-transport-key`, where it is the
    /// longer of the two. They are called in the background. 60 seconds.
    pub slow_deadline: Duration,
    /// Linear memory, in bytes. 16 MiB.
    pub memory: usize,
    /// Bytes that it may hand over in one answer, or in one call to the host. 1 MiB.
    pub output: usize,
    /// Sandboxes at a time. Half of all there can be, and at least one; more than there are is all of them.
    pub concurrency: Option<u32>,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            slow_deadline: Duration::from_secs(60),
            memory: 16 << 20,
            output: 1 << 20,
            concurrency: None,
        }
    }
}

/// The functions of the contracts that may take their time.
const SLOW: [&str; 2] = ["create-import-key", "create-transport-key"];

impl PluginLimits {
    /// How long a call of this function may take.
    pub(crate) fn deadline_of(&self, function: &str) -> Duration {
        if SLOW.contains(&function) { self.deadline.max(self.slow_deadline) } else { self.deadline }
    }

    /// Which of the two that is, by its name in `plugins.toml`.
    pub(crate) fn deadline_name(&self, function: &str) -> &'static str {
        if SLOW.contains(&function) && self.slow_deadline > self.deadline { "slow_deadline" } else { "deadline" }
    }
}

/// Whether a rule's answers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are noted and change nothing.
    Monitor,
}
