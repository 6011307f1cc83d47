//! What a backend is put through by `keygate plugin test`: each case makes keys of one kind and sees that they do what such
//! keys are for, and nothing else.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use keygate_core::backend::{Algorithm, BackendError, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::ports::Entropy as _;
use keygate_core::secret::SecretBytes;
use keygate_runtime::Runtime;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cases;
use super::subject::MadeUp;
use super::test::Outcome;
use crate::system::OsEntropy;

const CALL: Call<'static> = Call { request_id: "plugin-test", timeout: None };

/// The cases of a backend. Where a project has none, they are those that a new one has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendCases {
    /// The backend's settings for these cases.
    #[serde(default)]
    pub(super) settings: Option<Map<String, Value>>,
    #[serde(default, rename = "case")]
    cases: Vec<BackendCase>,
}

impl Default for BackendCases {
    fn default() -> Self {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/backend/cases.toml"));
        // The unit tests see to it that they can be read.
        cases::parse(text).unwrap_or(Self { settings: None, cases: Vec::new() })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendCase {
    name: String,
    key: KeyOf,
    #[serde(default)]
    plaintext_bytes: usize,
    #[serde(default)]
    aad_bytes: usize,
    #[serde(default)]
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyOf {
    kind: Kind,
    algorithm: Alg,
    bits: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Root,
    Standard,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Alg {
    Aes,
    Secret,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expect {
    /// The keys do what such keys are for.
    #[default]
    RoundTrip,
    /// There are no such keys.
    Unsupported,
}

impl KeyOf {
    fn spec(&self) -> KeySpec {
        let kind = match self.kind {
            Kind::Root => KeyKind::Root,
            Kind::Standard => KeyKind::Standard,
        };
        let algorithm = match self.algorithm {
            Alg::Aes => Algorithm::Aes,
            Alg::Secret => Algorithm::Secret,
        };
        KeySpec { algorithm, bits: self.bits, kind }
    }
}

/// Runs the cases, and last a change of the KEK.
pub(super) async fn run(
    runtime: &Runtime,
    name: &str,
    cases: &BackendCases,
    secrets: &Arc<MadeUp>,
    loading: Instant,
) -> anyhow::Result<Vec<Outcome>> {
    let backend = runtime.backends().backend(name).context("the backend was not loaded")?;
    // Loading a backend includes its own probe and the proof that the gateway wants of it, and it was loaded.
    let mut outcomes = vec![outcome("it loads, with its own probe and the gateway's", "passed", loading, Ok(()))];
    for case in &cases.cases {
        let started = Instant::now();
        let done = try_case(&*backend, case).await;
        let got = if case.expect == Expect::RoundTrip { "round trip" } else { "unsupported" };
        outcomes.push(outcome(&case.name, got, started, done));
    }
    let started = Instant::now();
    let done = new_kek(&*backend, secrets).await;
    outcomes.push(outcome("keys outlive a change of the KEK", "round trip", started, done));
    Ok(outcomes)
}

fn outcome(name: &str, got: &str, started: Instant, done: anyhow::Result<()>) -> Outcome {
    let problem = done.err().map(|error| format!("{error:#}"));
    let detail = json!({"outcome": if problem.is_none() { got } else { "failed" }});
    Outcome { name: name.to_owned(), got: got.to_owned(), detail, problem, took: started.elapsed() }
}

async fn try_case(backend: &dyn CryptoBackend, case: &BackendCase) -> anyhow::Result<()> {
    let spec = case.key.spec();
    let identity = identity()?;
    if case.expect == Expect::Unsupported {
        return match backend.generate_key(CALL, identity, spec).await {
            Err(BackendError::Unsupported(_)) => Ok(()),
            Err(other) => anyhow::bail!("expected `unsupported`, got: {other}"),
            Ok(_) => anyhow::bail!("expected `unsupported`, got a key"),
        };
    }
    match case.key.kind {
        Kind::Root => root(backend, case, identity, spec).await,
        Kind::Standard => standard(backend, identity, spec).await,
    }
}

/// A root key wraps, unwraps, and refuses what was changed or is another key's.
async fn root(
    backend: &dyn CryptoBackend,
    case: &BackendCase,
    identity: KeyIdentity,
    spec: KeySpec,
) -> anyhow::Result<()> {
    let reference = backend.generate_key(CALL, identity, spec).await.context("generate-key")?;
    let key = BackendKey { identity, reference: &reference };
    let (plaintext, aad) = (secret(case.plaintext_bytes)?, bytes(case.aad_bytes)?);
    let wrapped = backend.wrap(CALL, key, &plaintext, &aad).await.context("wrap")?;
    let opened = backend.unwrap(CALL, key, &wrapped, &aad).await.context("unwrap")?;
    ensure!(opened.expose() == plaintext.expose(), "unwrap gives something else than what was wrapped");

    let other_aad = [&aad[..], b"x"].concat();
    refuses(backend.unwrap(CALL, key, &wrapped, &other_aad).await, "it unwraps under another AAD")?;
    for place in [0, wrapped.len() / 2, wrapped.len().saturating_sub(1)] {
        let mut damaged = wrapped.clone();
        if let Some(byte) = damaged.get_mut(place) {
            *byte ^= 0x80;
        }
        let wrong = format!("it unwraps a ciphertext of which byte {place} was changed");
        refuses(backend.unwrap(CALL, key, &damaged, &aad).await, &wrong)?;
    }
    let short = wrapped.get(..wrapped.len().saturating_sub(1)).unwrap_or_default();
    refuses(backend.unwrap(CALL, key, short, &aad).await, "it unwraps a ciphertext that lacks its end")?;
    let stranger = self::identity()?;
    let other = backend.generate_key(CALL, stranger, spec).await.context("generate-key")?;
    let other = BackendKey { identity: stranger, reference: &other };
    refuses(backend.unwrap(CALL, other, &wrapped, &aad).await, "it unwraps with another key")?;
    let moved = BackendKey { identity: stranger, reference: &reference };
    refuses(backend.unwrap(CALL, moved, &wrapped, &aad).await, "it takes a key-ref for another key's")?;
    refuses(backend.export_key(CALL, key).await, "it gives away the material of a root key")?;
    backend.destroy_key(CALL, key).await.context("destroy-key")?;
    Ok(())
}

/// A standard key is taken in and given back, and does nothing else.
async fn standard(backend: &dyn CryptoBackend, identity: KeyIdentity, spec: KeySpec) -> anyhow::Result<()> {
    let size = usize::try_from(spec.bits / 8)?;
    let material = secret(size)?;
    let reference = backend.import_key(CALL, identity, spec, &material).await.context("import-key")?;
    let key = BackendKey { identity, reference: &reference };
    let given = backend.export_key(CALL, key).await.context("export-key")?;
    ensure!(given.expose() == material.expose(), "export-key gives something else than what was imported");
    let moved = BackendKey { identity: self::identity()?, reference: &reference };
    refuses(backend.export_key(CALL, moved).await, "it takes a key-ref for another key's")?;
    backend.destroy_key(CALL, key).await.context("destroy-key")?;
    let made = backend.generate_key(CALL, identity, spec).await.context("generate-key")?;
    let made = backend.export_key(CALL, BackendKey { identity, reference: &made }).await.context("export-key")?;
    ensure!(made.len() == size, "generate-key made a key of another size");
    Ok(())
}

/// When the KEK has a new version, old key-refs still open, and what they wrap can be moved to keys under the new one.
async fn new_kek(backend: &dyn CryptoBackend, secrets: &MadeUp) -> anyhow::Result<()> {
    let identity = identity()?;
    let spec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
    let old = backend.generate_key(CALL, identity, spec).await.context("generate-key")?;
    let old = BackendKey { identity, reference: &old };
    let plaintext = secret(32)?;
    let wrapped = backend.wrap(CALL, old, &plaintext, b"").await.context("wrap")?;
    secrets.rotate()?;
    let opened = backend.unwrap(CALL, old, &wrapped, b"").await.context("unwrap, after the KEK was changed")?;
    ensure!(opened.expose() == plaintext.expose(), "unwrap gives something else after the KEK was changed");
    let new = self::identity()?;
    let reference = backend.generate_key(CALL, new, spec).await.context("generate-key, after the KEK was changed")?;
    let new = BackendKey { identity: new, reference: &reference };
    let moved =
        backend.rewrap(CALL, old, new, &wrapped, b"", b"aad").await.context("rewrap, to a key under the new KEK")?;
    let opened = backend.unwrap(CALL, new, &moved, b"aad").await.context("unwrap, under the new KEK")?;
    ensure!(opened.expose() == plaintext.expose(), "unwrap gives something else than what was rewrapped");
    Ok(())
}

fn refuses<T>(outcome: Result<T, BackendError>, wrong: &str) -> anyhow::Result<()> {
    match outcome {
        Ok(_) => anyhow::bail!("{wrong}"),
        Err(BackendError::AuthenticationFailed | BackendError::InvalidKeyRef { .. } | BackendError::Unsupported(_)) => {
            Ok(())
        }
        Err(error) => Err(error).context("a refusal was expected"),
    }
}

fn identity() -> anyhow::Result<KeyIdentity> {
    let id = || -> anyhow::Result<[u8; 16]> {
        let mut id = [0; 16];
        OsEntropy.fill(&mut id)?;
        Ok(id)
    };
    Ok(KeyIdentity {
        instance: InstanceId::from_bytes(id()?),
        key: KeyId::from_bytes(id()?),
        version: VersionId::from_bytes(id()?),
    })
}

fn bytes(len: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    OsEntropy.fill(&mut bytes)?;
    Ok(bytes)
}

fn secret(len: usize) -> anyhow::Result<SecretBytes> {
    bytes(len).map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_a_new_project_can_be_read() {
        let cases = BackendCases::default();
        assert!(cases.cases.len() >= 5 && cases.cases.iter().any(|case| case.expect == Expect::Unsupported));
    }
}
