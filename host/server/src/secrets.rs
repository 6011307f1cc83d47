//! The secrets that plugins can be granted: read at the start and at each reload, and kept in memory that is wiped.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};
use keygate_core::secret::SecretBytes;
use keygate_runtime::{Secret, SecretError, SecretSource};
use zeroize::Zeroizing;

use crate::config::{SecretEnvironment, SecretOrigin, SecretParams};
use crate::files::read_private;
use crate::problem::Problem;

/// Every secret has this many bytes: what AES-256 needs.
const LENGTH: usize = 32;

/// Argon2id as RFC 9106 recommends where memory is not plentiful: 64 MiB, 3 passes, 4 lanes. Never to be changed: the
/// secret would be another one. Stronger parameters need a setting of their own.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 4;

/// A passphrase is at least this long, in bytes: a shorter one is guessed sooner or later.
const SHORTEST_PASSPHRASE: usize = 12;

/// All secrets, by name and version.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, BTreeMap<u32, SecretBytes>>);

impl Secrets {
    /// Gets the values of all secrets, as many as can be got, and says what is wrong with the rest. Takes a good part of
    /// a second for each passphrase.
    pub fn load(params: &[SecretParams], environment: &SecretEnvironment) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut secrets = BTreeMap::<String, BTreeMap<u32, SecretBytes>>::new();
        for secret in params {
            let versions = secrets.entry(secret.name.clone()).or_default();
            for version in &secret.versions {
                match value(&version.origin, environment) {
                    Ok(value) => drop(versions.insert(version.version, value)),
                    Err((problem, mend)) => {
                        let at = format!("secret `{}`, version {}: {problem}", secret.name, version.version);
                        problems.push(Problem::new("secrets", at, mend));
                    }
                }
            }
        }
        (Self(secrets), problems)
    }
}

/// Which bytes each version has, or had: as digests, of secrets that may be gone. `Debug` shows none.
#[derive(Default)]
pub struct Versions(BTreeMap<(String, u32), [u8; 32]>);

impl Versions {
    /// Remembers what is in use now.
    pub fn note(&mut self, secrets: &Secrets) {
        let new = secrets.each().map(|(name, version, value)| ((name.to_owned(), version), print(value)));
        self.0.extend(new);
    }

    /// What is wrong with using these: a version that has other bytes than it ever had before under its number. What was
    /// sealed under it could not be opened any more.
    pub fn changed_in(&self, next: &Secrets) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, version, value) in next.each() {
            if self.0.get(&(name.to_owned(), version)).is_some_and(|before| *before != print(value)) {
                let problem = format!("secret `{name}`, version {version}, has other bytes than before");
                let mend = "bring the old ones back, and give new bytes a number of their own: a version's number is \
                            never used again for other bytes";
                problems.push(Problem::new("secrets", problem, mend));
            }
        }
        problems
    }
}

impl std::fmt::Debug for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What tells a secret's bytes from others, and nothing else of them.
fn print(value: &SecretBytes) -> [u8; 32] {
    blake3::derive_key("keygate 2026-11-22 which bytes a version of a secret has", value.expose())
}

impl Secrets {
    /// Says in the log which versions are not among others.
    pub fn tell_of_gone(&self, next: &Self) {
        for (secret, version, _) in self.each() {
            if !next.0.get(secret).is_some_and(|versions| versions.contains_key(&version)) {
                tracing::warn!(
                    secret,
                    version,
                    "this version is gone; some keys of each instance were tried and open without it, and any others that are \
                     sealed under it do not: see that there are none, or bring it back"
                );
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = (&str, u32, &SecretBytes)> {
        self.0.iter().flat_map(|(name, versions)| versions.iter().map(move |(n, value)| (name.as_str(), *n, value)))
    }
}

impl SecretSource for Secrets {
    fn current(&self, name: &str) -> Result<Secret, SecretError> {
        let versions = self.0.get(name).ok_or(SecretError::NotFound)?;
        let (version, value) = versions.last_key_value().ok_or(SecretError::NotFound)?;
        Ok(Secret { version: *version, value: copy(value) })
    }

    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError> {
        let versions = self.0.get(name).ok_or(SecretError::NotFound)?;
        let value = versions.get(&version).ok_or(SecretError::NoSuchVersion)?;
        Ok(Secret { version, value: copy(value) })
    }

    fn exists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn copy(value: &SecretBytes) -> SecretBytes {
    SecretBytes::new(value.expose().to_vec())
}

/// What is wrong, and the mend.
type Trouble = (String, String);

fn value(origin: &SecretOrigin, environment: &SecretEnvironment) -> Result<SecretBytes, Trouble> {
    match origin {
        SecretOrigin::File(path) => {
            let bytes = read_private(path).map_err(|e| (e.to_string(), e.mend()))?;
            let text = std::str::from_utf8(&bytes).map_err(|_| not_a_secret(&path.display().to_string()))?;
            decode(text).ok_or_else(|| not_a_secret(&path.display().to_string()))
        }
        SecretOrigin::Env(name) => {
            let text = environment.get(name).ok_or_else(|| {
                let problem = format!("the environment variable {name} is not set");
                (problem, format!("set {name} to 32 random bytes in base64: `openssl rand -base64 32`"))
            })?;
            decode(text).ok_or_else(|| not_a_secret(&format!("the environment variable {name}")))
        }
        SecretOrigin::Passphrase { file, salt } => {
            let passphrase = read_private(file).map_err(|e| (e.to_string(), e.mend()))?;
            // An editor ends the line; that end is no part of the passphrase.
            let passphrase = passphrase.trim_ascii_end();
            if passphrase.len() < SHORTEST_PASSPHRASE {
                return Err((
                    format!("the passphrase in {} is shorter than {SHORTEST_PASSPHRASE} bytes", file.display()),
                    "use a longer one; six random words are good".to_owned(),
                ));
            }
            derive(passphrase, salt).map_err(|e| {
                (format!("Argon2id failed: {e}"), "see that 64 MiB of memory are free at the start".to_owned())
            })
        }
    }
}

fn decode(text: &str) -> Option<SecretBytes> {
    keygate_core::encoding::decode_secret(text.trim()).ok().filter(|secret| secret.len() == LENGTH)
}

fn not_a_secret(what: &str) -> Trouble {
    let problem = format!("{what} does not hold {LENGTH} bytes in base64");
    (problem, "make one with `openssl rand -base64 32`, and keep a copy: without it no key can be used".to_owned())
}

fn derive(passphrase: &[u8], salt: &[u8]) -> Result<SecretBytes, argon2::Error> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(LENGTH))?;
    let mut secret = Zeroizing::new(vec![0_u8; LENGTH]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(passphrase, salt, &mut secret)?;
    Ok(SecretBytes::new(std::mem::take(&mut *secret)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Environment, Flags, Source, load};
    use crate::files::write_private_new;

    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    /// Secrets as an operator would write them, through the whole of the configuration.
    fn secrets(
        dir: &std::path::Path,
        versions: &serde_json::Value,
        variables: &[(&str, &str)],
    ) -> (Secrets, Vec<Problem>) {
        let tree = serde_json::json!({"secrets": [{"name": "kek", "versions": versions}]});
        let environment: Environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let source = Source::Made { tree, base: dir.to_owned() };
        let config = load(&source, &environment, &Flags::default()).config.unwrap();
        Secrets::load(&config.secrets, &config.environment)
    }

    #[test]
    fn the_highest_version_is_current_and_older_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        write_private_new(&dir.path().join("two"), format!("{TWO}\n").as_bytes()).unwrap();
        let versions = serde_json::json!([{"version": 2, "file": "two"}, {"version": 1, "env": "KEK"}]);
        let (secrets, problems) = secrets(dir.path(), &versions, &[("KEK", ONE)]);
        assert_eq!(problems, []);
        let current = secrets.current("kek").unwrap();
        assert_eq!((current.version, current.value.expose()), (2, [2_u8; 32].as_slice()));
        assert_eq!(secrets.version("kek", 1).unwrap().value.expose(), [1; 32]);
        assert_eq!(secrets.version("kek", 3).unwrap_err(), SecretError::NoSuchVersion);
        assert_eq!(secrets.current("other").unwrap_err(), SecretError::NotFound);
        assert!(secrets.exists("kek") && !secrets.exists("other"));
    }

    #[test]
    fn whatever_keeps_a_secret_from_being_used_is_told_with_its_mend() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        write_private_new(&open, ONE.as_bytes()).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_private_new(&dir.path().join("hex"), "01".repeat(32).as_bytes()).unwrap();
        write_private_new(&dir.path().join("raw"), &[0xFF; 32]).unwrap();
        write_private_new(&dir.path().join("short"), b"hunter2\n").unwrap();
        let versions = serde_json::json!([
            {"version": 1, "file": "open"},
            {"version": 2, "file": "none"},
            {"version": 3, "file": "hex"},
            {"version": 4, "file": "raw"},
            {"version": 5, "env": "NOT_SET"},
            {"version": 6, "env": "SHORT"},
            {"version": 7, "passphrase_file": "short", "salt": "AAAAAAAAAAAAAAAAAAAAAA=="},
        ]);
        let (secrets, problems) = secrets(dir.path(), &versions, &[("SHORT", "AQEB")]);
        assert_eq!(problems.len(), 7, "{problems:#?}");
        assert_eq!(problems[0].mend, format!("chmod 600 {}", open.display()));
        let text = format!("{problems:?}");
        assert!(!text.contains(ONE) && !text.contains("hunter2") && !text.contains("AQEB"), "a secret is in a problem");
        assert_eq!(secrets.current("kek").unwrap_err(), SecretError::NotFound);
    }

    #[test]
    fn a_version_keeps_its_bytes_for_ever_and_others_may_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let of = |versions: serde_json::Value| {
            let (secrets, problems) = secrets(dir.path(), &versions, &[("A", ONE), ("B", TWO)]);
            assert_eq!(problems, []);
            secrets
        };
        let first = of(serde_json::json!([{"version": 1, "env": "A"}]));
        let grown = of(serde_json::json!([{"version": 1, "env": "A"}, {"version": 2, "env": "B"}]));
        let other = of(serde_json::json!([{"version": 1, "env": "B"}]));
        let two = of(serde_json::json!([{"version": 2, "env": "B"}]));
        let mut versions = Versions::default();
        versions.note(&first);
        assert_eq!(versions.changed_in(&grown), []);
        versions.note(&grown);
        assert_eq!(versions.changed_in(&first), []);
        // Gone for a while, and then another: that it was there is not forgotten.
        versions.note(&two);
        let problems = versions.changed_in(&other);
        assert_eq!(problems.len(), 1);
        assert_eq!(format!("{versions:?}"), "{(\"kek\", 1), (\"kek\", 2)}");
        assert!(problems[0].problem.contains("`kek`, version 1"), "{problems:?}");
        assert!(!format!("{problems:?}").contains(ONE) && !format!("{problems:?}").contains(TWO));
    }

    #[test]
    fn a_passphrase_gives_the_same_secret_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        write_private_new(&dir.path().join("phrase"), b"correct horse battery staple\n").unwrap();
        let derived = derive(b"correct horse battery staple", b"saltsaltsaltsalt").unwrap();
        let versions =
            serde_json::json!([{"version": 1, "passphrase_file": "phrase", "salt": "c2FsdHNhbHRzYWx0c2FsdA=="}]);
        let (secrets, problems) = secrets(dir.path(), &versions, &[]);
        assert_eq!(problems, []);
        assert_eq!(secrets.current("kek").unwrap().value.expose(), derived.expose());
        // From the reference implementation: argon2 saltsaltsaltsalt -id -t 3 -k 65536 -p 4 -l 32 -r
        assert_eq!(hex(derived.expose()), "a292bfd7695ec2bdb3e58a542ae7090945c04a290819837eaa3477bcbd9ef20a");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
