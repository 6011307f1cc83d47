use keygate_plugin_sdk::testing;

use super::*;

const CALL: &Call = &Call { request_id: String::new(), deadline_ms: 1_000 };

fn identity(key: &str) -> KeyIdentity {
    KeyIdentity { instance_id: "instance".to_owned(), key_id: key.to_owned(), version_id: "version".to_owned() }
}

fn spec(kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: "AES".to_owned(), bits: 256, kind }
}

fn backend() -> Software {
    testing::reset(1);
    testing::grant_secret("kek", 1, &[7; 32]);
    Software::configure("{}").unwrap()
}

fn key(backend: &Software, name: &str, kind: KeyKind) -> Key {
    Key { identity: identity(name), reference: backend.generate_key(CALL, &identity(name), &spec(kind)).unwrap() }
}

#[test]
fn the_probe_knows_the_answer_and_wants_a_kek() {
    let backend = backend();
    backend.probe(CALL).unwrap();
    testing::grant_secret("kek", 2, b"short");
    assert!(matches!(backend.probe(CALL), Err(Error::Unavailable(why)) if why.contains("5 bytes")));
}

#[test]
fn what_is_wrapped_unwraps_with_the_same_key_and_aad_only() {
    let backend = backend();
    let (one, other) = (key(&backend, "one", KeyKind::Root), key(&backend, "other", KeyKind::Root));
    let wrapped = backend.wrap(CALL, &one, b"secret", b"aad").unwrap();
    assert_eq!(backend.unwrap(CALL, &one, &wrapped, b"aad").unwrap().as_slice(), b"secret");
    assert_eq!(backend.unwrap(CALL, &one, &wrapped, b"").unwrap_err(), Error::AuthenticationFailed);
    assert_eq!(backend.unwrap(CALL, &other, &wrapped, b"aad").unwrap_err(), Error::AuthenticationFailed);
    let moved = Key { identity: identity("other"), reference: one.reference };
    assert_eq!(backend.unwrap(CALL, &moved, &wrapped, b"aad").unwrap_err(), Error::InvalidKeyRef);
}

#[test]
fn root_keys_stay_and_standard_keys_come_back() {
    let backend = backend();
    let root = key(&backend, "root", KeyKind::Root);
    assert!(matches!(backend.export_key(CALL, &root), Err(Error::Unsupported(_))));
    let reference = backend.import_key(CALL, &identity("mine"), &spec(KeyKind::Standard), &[9; 32]).unwrap();
    let mine = Key { identity: identity("mine"), reference };
    assert_eq!(backend.export_key(CALL, &mine).unwrap().as_slice(), [9; 32]);
}

#[test]
fn a_new_kek_takes_over_and_the_old_one_still_opens() {
    let backend = backend();
    let old = key(&backend, "key", KeyKind::Root);
    assert_eq!(backend.reseal_key(CALL, &old).unwrap(), None);
    let wrapped = backend.wrap(CALL, &old, b"secret", b"").unwrap();
    testing::grant_secret("kek", 2, &[8; 32]);
    let new = Key { reference: backend.reseal_key(CALL, &old).unwrap().unwrap(), ..old };
    assert_eq!(backend.unwrap(CALL, &new, &wrapped, b"").unwrap().as_slice(), b"secret");
}
