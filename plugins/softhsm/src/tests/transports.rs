//! Keys that go from one backend to another.

use keygate_plugin_sdk::host::pkcs11::Digest;

use super::*;

const SETTINGS: [&str; 3] = [
    r#""keep":"wrapped","wrap":"aes-key-wrap-kwp","transport":"sha256""#,
    r#""keep":"wrapped","wrap":"aes-key-wrap-pad","transport":"sha1","import_keys":"wrapped""#,
    r#""keep":"token","wrap":"aes-key-wrap-kwp","transport":"sha1","import_keys":"sandbox""#,
];

fn transport_identity() -> KeyIdentity {
    KeyIdentity { instance_id: INSTANCE.into(), key_id: OTHER.into(), version_id: OTHER.into() }
}

#[test]
fn a_root_key_arrives_and_opens_what_was_wrapped_before() {
    for from in &SETTINGS[..2] {
        for to in SETTINGS {
            let (sender, token) = rig(from);
            token.grant_transport(true);
            token.set_primes(&super::imports::primes());
            for bytes in [16, 24, 32] {
                let key = root(&sender, bytes);
                let wrapped = sender.wrap(&call(), &key, b"text", b"").unwrap();
                let receiver = configured(&format!(r#"{to},"wrapping_key":"other""#));
                let pair = receiver.create_transport_key(&call(), &transport_identity()).unwrap();
                let sealed = sender.seal_for_transport(&call(), &key, &pair.public).unwrap();
                assert_eq!((sealed[0], sealed[1]), (1, if from.contains("sha256") { 2 } else { 1 }));
                let pair = Key { identity: transport_identity(), reference: pair.private };
                let root = spec("AES", bytes, KeyKind::Root);
                let open = |sealed: &[u8]| receiver.open_transport(&call(), &pair, &identity(), &root, sealed);
                let arrived = self::key(open(&sealed).unwrap());
                assert_eq!(*receiver.unwrap(&call(), &arrived, &wrapped, b"").unwrap(), b"text");
                assert_eq!(
                    open(&sealed).map(|again| receiver.unwrap(&call(), &self::key(again), &wrapped, b"").is_ok()),
                    Ok(true)
                );
                // What is damaged is nobody's key.
                for at in [2, 100, 513, 514, sealed.len() - 1] {
                    let mut bad = sealed.clone();
                    bad[at] ^= 1;
                    assert_eq!(open(&bad), Err(Error::AuthenticationFailed), "at {at}");
                }
                assert_eq!(open(&sealed[..513]), Err(Error::AuthenticationFailed));
                assert_eq!(open(&[]), Err(Error::AuthenticationFailed));
                assert!(is_unsupported(&open(&[&[2], &sealed[1..]].concat())));
                let size = spec("AES", if bytes == 16 { 32 } else { 16 }, KeyKind::Root);
                assert!(is_invalid(&receiver.open_transport(&call(), &pair, &identity(), &size, &sealed)));
                for wrong in [self::key(pair.reference.clone()), arrived.clone()] {
                    let answer = receiver.open_transport(&call(), &wrong, &identity(), &root, &sealed);
                    assert_eq!(answer, Err(Error::InvalidKeyRef));
                }
            }
            assert!(token.persistent().iter().all(|object| !object.exportable));
            assert_eq!(token.objects(), token.persistent());
        }
    }
}

#[test]
fn nothing_leaves_that_must_not() {
    let (backend, token) = rig(SETTINGS[0]);
    token.set_primes(&super::imports::primes());
    let pair = backend.create_transport_key(&call(), &transport_identity()).unwrap();
    let key = root(&backend, 32);
    let seal = |key: &Key, to: &[u8]| backend.seal_for_transport(&call(), key, to);
    assert!(unavailable(seal(&key, &pair.public)).contains("pkcs11-transport"));
    token.grant_transport(true);
    assert!(is_invalid(&seal(&key, &pair.public[1..])));
    assert_eq!(seal(&Key { identity: others()[0].clone(), ..key.clone() }, &pair.public), Err(Error::InvalidKeyRef));
    let private = Key { identity: transport_identity(), reference: pair.private.clone() };
    assert_eq!(seal(&private, &pair.public), Err(Error::InvalidKeyRef));
    assert!(is_unsupported(&seal(&secret(&backend, b"a secret"), &pair.public)));
    let standard = backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Standard)).unwrap();
    assert!(seal(&self::key(standard), &pair.public).is_ok());
    // A transport key is nothing else.
    assert_eq!(backend.wrap(&call(), &private, b"", b""), Err(Error::InvalidKeyRef));
    assert_eq!(backend.export_key(&call(), &private), Err(Error::InvalidKeyRef));
    // A key that is an object stays where it is.
    let in_token = configured(SETTINGS[2]);
    assert!(is_unsupported(&in_token.seal_for_transport(&call(), &root(&in_token, 32), &pair.public)));
    // And without the setting, nothing goes or comes.
    let off = configured("");
    assert!(is_unsupported(&off.seal_for_transport(&call(), &key, &pair.public)));
    assert!(is_unsupported(&off.create_transport_key(&call(), &transport_identity())));
    let root = spec("AES", 32, KeyKind::Root);
    assert!(is_unsupported(&off.open_transport(&call(), &private, &identity(), &root, &[])));
}

#[test]
fn a_token_without_the_hash_makes_no_transport_key() {
    let (backend, token) = rig(SETTINGS[0]);
    token.set_primes(&super::imports::primes());
    token.set_oaep(&[Digest::Sha1]);
    assert!(unavailable(backend.create_transport_key(&call(), &transport_identity())).contains("`transport`"));
    assert!(kept(&token).is_empty());
}
