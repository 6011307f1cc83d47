//! Keys that move, against known answers and against the host of the SDK's tests.

use std::collections::BTreeMap;

use keygate_plugin_rsa::PRIMES;
use keygate_plugin_sdk::backend::{Backend, Call, Key, KeyIdentity, KeyKind, KeySpec};
use keygate_plugin_sdk::testing;

use super::*;
use crate::AesGcm;
use crate::spec::Spec;
use crate::xaes::tests::unhex;

const INSTANCE: &str = "11111111-1111-4111-8111-111111111111";
const TRANSPORT: &str = "44444444-4444-4444-8444-444444444444";

/// What the other implementation made, by name.
pub(crate) fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let files = [include_str!("../vectors/import.txt"), include_str!("../vectors/transport.txt")];
    let lines = files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(" = ").unwrap()).map(|(name, hex)| (name, unhex(hex))).collect()
}

fn call() -> Call {
    Call { request_id: "r".into(), deadline_ms: 1_000 }
}

fn identity(n: &str) -> KeyIdentity {
    KeyIdentity { instance_id: INSTANCE.into(), key_id: n.into(), version_id: n.into() }
}

fn spec(bytes: usize, kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: "AES".into(), bits: bytes as u32 * 8, kind }
}

fn configured(settings: &str) -> AesGcm {
    AesGcm::configure(settings).unwrap()
}

/// A backend, and a transport key of its with the pair of the vectors.
fn rig(settings: &str) -> (AesGcm, Key, Vec<u8>) {
    testing::reset(42);
    testing::grant_secret("kek", 7, &[0x4b; 32]);
    testing::grant_secret("other", 7, &[0x4c; 32]);
    let backend = configured(settings);
    let vectors = vectors();
    let primes = [vectors["p"].as_slice(), &vectors["q"]].concat();
    let kept = Spec { algorithm: Algorithm::Rsa, purpose: Purpose::Transport, bytes: PRIMES as u32 };
    let reference = backend.seal(&identity(TRANSPORT), kept, &primes).unwrap();
    (backend, Key { identity: identity(TRANSPORT), reference }, vectors["public"].clone())
}

#[test]
fn what_another_implementation_sealed_is_opened() {
    let vectors = vectors();
    for settings in [r#"{"transport":"sha1"}"#, r#"{"transport":"sha256"}"#] {
        let (backend, transport_key, _) = rig(settings);
        for bytes in [16, 24, 32] {
            for hash in ["sha1", "sha256"] {
                for kind in [KeyKind::Root, KeyKind::Standard] {
                    let sealed = &vectors[format!("{hash}.{bytes}").as_str()];
                    let reference =
                        backend.open_transport(&call(), &transport_key, &identity("k"), &spec(bytes, kind), sealed);
                    let key = Key { identity: identity("k"), reference: reference.unwrap() };
                    let opened = backend.open(&key).unwrap();
                    assert_eq!((opened.purpose, opened.algorithm), (kind.into(), Algorithm::Aes));
                    assert_eq!(*opened.material, vectors[format!("material.{bytes}").as_str()]);
                    assert_eq!(backend.export_key(&call(), &key).is_ok(), kind == KeyKind::Standard);
                }
            }
        }
    }
}

#[test]
fn a_key_goes_to_a_backend_with_another_kek_and_opens_there_what_it_wrapped() {
    let (sender, _, _) = rig(r#"{"transport":"sha256"}"#);
    let (receiver, transport_key, public) = rig(r#"{"kek":"other","transport":"sha1"}"#);
    for bytes in [16, 24, 32] {
        let made = sender.generate_key(&call(), &identity("k"), &spec(bytes, KeyKind::Root)).unwrap();
        let key = Key { identity: identity("k"), reference: made };
        let wrapped = sender.wrap(&call(), &key, b"text", b"aad").unwrap();
        let sealed = sender.seal_for_transport(&call(), &key, &public).unwrap();
        assert_eq!((sealed[..2].to_vec(), sealed.len()), (vec![1, 2], 2 + 512 + bytes + 8));
        let again = sender.seal_for_transport(&call(), &key, &public).unwrap();
        assert_ne!(sealed[2..34], again[2..34], "a fresh key each time");
        let root = spec(bytes, KeyKind::Root);
        let arrived = receiver.open_transport(&call(), &transport_key, &identity("k"), &root, &sealed).unwrap();
        let arrived = Key { identity: identity("k"), reference: arrived };
        assert_eq!(*receiver.unwrap(&call(), &arrived, &wrapped, b"aad").unwrap(), b"text");
        assert!(matches!(receiver.export_key(&call(), &arrived), Err(Error::Unsupported(_))));
        assert_eq!(sender.wrap(&call(), &arrived, b"", b""), Err(Error::InvalidKeyRef), "it is sealed anew");
    }
}

#[test]
fn what_is_sealed_is_format_1_to_the_letter() {
    let (backend, _, public) = rig(r#"{"transport":"sha1"}"#);
    let vectors = vectors();
    let pair = RsaPair::from_primes(&[vectors["p"].as_slice(), &vectors["q"]].concat()).unwrap();
    let material = [7; 32];
    let root = spec(32, KeyKind::Root);
    let reference = backend.import_key(&call(), &identity("k"), &root, &material).unwrap();
    let key = Key { identity: identity("k"), reference };
    let sealed = backend.seal_for_transport(&call(), &key, &public).unwrap();
    assert_eq!(sealed[..2], [1, 1]);
    let between = pair.decrypt(&mut host_random(), Hash::Sha1, &sealed[2..514]).unwrap().unwrap();
    assert_eq!(between.len(), 32);
    assert_eq!(pair.decrypt(&mut host_random(), Hash::Sha256, &sealed[2..514]).unwrap(), None);
    assert_eq!(*unwrap(&between, &sealed[514..]).unwrap(), material);
}

/// RFC 5649 has examples with keys of 192 bits only: this one was made with OpenSSL's `id-aes256-wrap-pad`.
#[test]
fn wraps_as_rfc_5649_does() {
    let between: Vec<u8> = (0..32).collect();
    let material = unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let wrapped = unhex("4a8029243027353b0694cf1bd8fc745bb0ce8a739b19b1960b12426d4c39cfeda926d103ab34e9f6");
    assert_eq!(wrap(&between, &material).unwrap(), wrapped);
    assert_eq!(*unwrap(&between, &wrapped).unwrap(), material);
    for bit in 0..wrapped.len() * 8 {
        let mut bad = wrapped.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(unwrap(&between, &bad), None, "bit {bit}");
    }
    for len in 0..wrapped.len() {
        assert_eq!(unwrap(&between, &wrapped[..len]), None, "{len} bytes");
    }
}

#[test]
fn what_is_not_a_sealed_key_is_refused() {
    let (backend, transport_key, _) = rig(r#"{"transport":"sha256"}"#);
    let vectors = vectors();
    let good = vectors["sha256.32"].clone();
    let root = spec(32, KeyKind::Root);
    let open = |sealed: &[u8]| backend.open_transport(&call(), &transport_key, &identity("k"), &root, sealed);
    assert!(open(&good).is_ok());
    for at in [2, 100, 513, 514, 521, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(open(&bad), Err(Error::AuthenticationFailed), "at {at}");
    }
    for len in [0, 1, 2, 513, 514, 522, 530, good.len() - 8, good.len() - 1] {
        assert_eq!(open(&good[..len]), Err(Error::AuthenticationFailed), "{len} bytes");
    }
    assert_eq!(open(&[good.as_slice(), &[0; 8]].concat()), Err(Error::AuthenticationFailed));
    assert_eq!(open(&[good.as_slice(), &[0; 1_024]].concat()), Err(Error::AuthenticationFailed));
    let [format, hash] = [[2, 2], [1, 3]].map(|head| open(&[&head, &good[2..]].concat()));
    assert!(matches!((format, hash), (Err(Error::Unsupported(_)), Err(Error::Unsupported(_)))));
    // The other hash is another message.
    assert_eq!(open(&[&[1, 1], &good[2..]].concat()), Err(Error::AuthenticationFailed));
    assert_eq!(open(&vectors["flat.32"]), Err(Error::AuthenticationFailed));
    assert_eq!(open(&vectors["small.32"]), Err(Error::AuthenticationFailed));
    for name in ["short.15", "long.64", "sha256.16", "sha256.24"] {
        assert!(matches!(open(&vectors[name]), Err(Error::InvalidInput(_))), "{name}");
    }
    let secret = KeySpec { algorithm: "SECRET".into(), ..spec(32, KeyKind::Standard) };
    let answer = backend.open_transport(&call(), &transport_key, &identity("k"), &secret, &good);
    assert!(matches!(answer, Err(Error::Unsupported(_))));
}

#[test]
fn a_transport_key_is_nothing_else_and_nothing_else_is_one() {
    let (backend, transport_key, public) = rig(r#"{"transport":"sha256"}"#);
    let vectors = vectors();
    let primes = [vectors["p"].as_slice(), &vectors["q"]].concat();
    let kept = Spec { algorithm: Algorithm::Rsa, purpose: Purpose::Import, bytes: PRIMES as u32 };
    let import = backend.seal(&identity(TRANSPORT), kept, &primes).unwrap();
    let import = Key { identity: identity(TRANSPORT), reference: import };
    let root = spec(32, KeyKind::Root);
    let made = backend.generate_key(&call(), &identity(TRANSPORT), &root).unwrap();
    let made = Key { identity: identity(TRANSPORT), reference: made };
    let mut forged = import.clone();
    forged.reference[5] = 4;
    let moved = Key { identity: identity("other"), ..transport_key.clone() };
    for wrong in [&import, &made, &forged, &moved] {
        let answer = backend.open_transport(&call(), wrong, &identity("k"), &root, &vectors["sha256.32"]);
        assert_eq!(answer, Err(Error::InvalidKeyRef));
    }
    assert_eq!(backend.wrap(&call(), &transport_key, b"", b""), Err(Error::InvalidKeyRef));
    assert_eq!(backend.export_key(&call(), &transport_key), Err(Error::InvalidKeyRef));
    for pair in [&transport_key, &import] {
        assert_eq!(backend.seal_for_transport(&call(), pair, &public), Err(Error::InvalidKeyRef));
    }
}

#[test]
fn a_key_is_sealed_to_a_whole_rsa_key_and_nothing_else() {
    let (backend, _, public) = rig(r#"{"transport":"sha256"}"#);
    let root = backend.generate_key(&call(), &identity("k"), &spec(32, KeyKind::Root)).unwrap();
    let root = Key { identity: identity("k"), reference: root };
    let seal = |recipient: &[u8]| backend.seal_for_transport(&call(), &root, recipient);
    let even = {
        let mut even = public.clone();
        even[33 + 511] &= 0xFE;
        even
    };
    let exponent = [&public[..549], &[3]].concat();
    let small = [&public[..33], &[0; 8], &public[41..]].concat();
    let long = [public.as_slice(), b"x"].concat();
    for bad in [b"".as_slice(), &public[1..], &public[..549], &even, &exponent, &small, &long] {
        assert!(matches!(seal(bad), Err(Error::InvalidInput(_))), "{} bytes", bad.len());
    }
    let moved = Key { identity: identity("other"), ..root.clone() };
    assert_eq!(backend.seal_for_transport(&call(), &moved, &public), Err(Error::InvalidKeyRef));
    let secret = KeySpec { algorithm: "SECRET".into(), ..spec(8, KeyKind::Standard) };
    let secret = backend.import_key(&call(), &identity("s"), &secret, b"a secret").unwrap();
    let secret = Key { identity: identity("s"), reference: secret };
    assert!(matches!(backend.seal_for_transport(&call(), &secret, &public), Err(Error::Unsupported(_))));
    assert!(seal(&public).is_ok());
}

#[test]
fn nothing_goes_or_comes_unless_it_is_set() {
    let (on, transport_key, public) = rig(r#"{"transport":"sha256"}"#);
    assert_eq!(on.describe().features, ["import-token", "transport"]);
    let off = configured("{}");
    assert_eq!(off.describe().features, ["import-token"]);
    let root = spec(32, KeyKind::Root);
    let made = off.generate_key(&call(), &identity("k"), &root).unwrap();
    let made = Key { identity: identity("k"), reference: made };
    let unsupported = |answer: Option<Error>| assert!(matches!(answer, Some(Error::Unsupported(_))), "{answer:?}");
    unsupported(off.create_transport_key(&call(), &identity(TRANSPORT)).err());
    unsupported(off.seal_for_transport(&call(), &made, &public).err());
    let sealed = &vectors()["sha256.32"];
    unsupported(off.open_transport(&call(), &transport_key, &identity("k"), &root, sealed).err());
}
