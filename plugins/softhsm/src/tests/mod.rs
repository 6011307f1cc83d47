//! The whole backend, against the token of the SDK's tests: in memory, with real cryptography.

use keygate_plugin_sdk::backend::{Backend, Call, Error, Key, KeyIdentity, KeyKind, KeySpec};
use keygate_plugin_sdk::testing;
use keygate_plugin_sdk::testing::token::{Control, Object, grant};

use crate::SoftHsm;

mod foreign;
mod fuzz;
mod golden;
mod imports;
mod keys;
mod losses;
mod probing;
mod transports;

const INSTANCE: &str = "11111111-1111-4111-8111-111111111111";
const KEY: &str = "22222222-2222-4222-8222-222222222222";
const VERSION: &str = "33333333-3333-4333-8333-333333333333";
const OTHER: &str = "44444444-4444-4444-8444-444444444444";

/// Both ways of keeping root keys.
const KEEPS: [&str; 2] = ["token", "wrapped"];

/// A backend with an empty token, and the token's far side. `settings` stands behind `"token":"hsm"`.
fn rig(settings: &str) -> (SoftHsm, Control) {
    testing::reset(42);
    let token = grant("hsm");
    (configured(settings), token)
}

fn configured(settings: &str) -> SoftHsm {
    let comma = if settings.is_empty() { "" } else { "," };
    SoftHsm::configure(&format!(r#"{{"token":"hsm"{comma}{settings}}}"#)).unwrap()
}

/// One that keeps keys so.
fn keeping(keep: &str) -> (SoftHsm, Control) {
    rig(&format!(r#""keep":"{keep}""#))
}

/// What stays in the token, but for the keys of the plugin's own.
fn kept(token: &Control) -> Vec<Object> {
    let own = |object: &Object| object.id.as_deref().is_some_and(|id| id.starts_with(b"keygate/"));
    token.persistent().into_iter().filter(|object| !own(object)).collect()
}

/// The plugin's sealing key is there already.
fn mark(backend: &SoftHsm) {
    backend.hsm().unwrap().mark().unwrap();
}

fn call() -> Call {
    Call { request_id: "r".into(), deadline_ms: 1_000 }
}

fn identity() -> KeyIdentity {
    KeyIdentity { instance_id: INSTANCE.into(), key_id: KEY.into(), version_id: VERSION.into() }
}

fn others() -> [KeyIdentity; 3] {
    [
        KeyIdentity { instance_id: OTHER.into(), ..identity() },
        KeyIdentity { key_id: OTHER.into(), ..identity() },
        KeyIdentity { version_id: OTHER.into(), ..identity() },
    ]
}

fn spec(algorithm: &str, bytes: usize, kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: algorithm.into(), bits: bytes as u32 * 8, kind }
}

fn key(reference: Vec<u8>) -> Key {
    Key { identity: identity(), reference }
}

fn root(backend: &SoftHsm, bytes: usize) -> Key {
    key(backend.generate_key(&call(), &identity(), &spec("AES", bytes, KeyKind::Root)).unwrap())
}

/// A root key of another identity.
fn other_root(backend: &SoftHsm) -> Key {
    let [_, identity, _] = others();
    let reference = backend.generate_key(&call(), &identity, &spec("AES", 32, KeyKind::Root)).unwrap();
    Key { identity, reference }
}

fn secret(backend: &SoftHsm, material: &[u8]) -> Key {
    let spec = spec("SECRET", material.len(), KeyKind::Standard);
    key(backend.import_key(&call(), &identity(), &spec, material).unwrap())
}

fn is_unsupported<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unsupported(_)))
}

fn is_invalid<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::InvalidInput(_)))
}

/// The text for the operator.
fn unavailable<T>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Unavailable(text)) => text,
        Err(other) => panic!("not unavailable: {other:?}"),
        Ok(_) => panic!("it works"),
    }
}
