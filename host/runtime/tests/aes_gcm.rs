//! The built-in software backend, through the port and a sandbox a call.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use keygate_core::backend::{BackendError, KeyIdentity};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_runtime::{Runtime, RuntimeConfig};
use support::{CALL, ROOT, STANDARD, aes_gcm, backend, identity, key, load, runtime, runtime_with, secret};

async fn loaded() -> Runtime {
    let runtime = runtime();
    load(&runtime, &[aes_gcm()]).await;
    runtime
}

#[tokio::test]
async fn what_is_wrapped_is_unwrapped_under_the_same_key_and_aad_only() {
    let runtime = loaded().await;
    let backend = backend(&runtime, "aes-gcm");
    let (ours, theirs) = (identity(1), identity(2));
    let reference = backend.generate_key(CALL, ours, ROOT).await.unwrap();
    let other = backend.generate_key(CALL, theirs, ROOT).await.unwrap();
    for plaintext in [&b""[..], b"a data key", &[0x5A; 4096], &[7; 32_768]] {
        let plaintext = secret(plaintext);
        let wrapped = backend.wrap(CALL, key(ours, &reference), &plaintext, b"aad").await.unwrap();
        let again = backend.wrap(CALL, key(ours, &reference), &plaintext, b"aad").await.unwrap();
        assert_ne!(wrapped, again);
        let opened = backend.unwrap(CALL, key(ours, &reference), &wrapped, b"aad").await.unwrap();
        assert_eq!(opened.expose(), plaintext.expose());

        let wrong_aad = backend.unwrap(CALL, key(ours, &reference), &wrapped, b"add").await;
        assert_eq!(wrong_aad.unwrap_err(), BackendError::AuthenticationFailed);
        let wrong_key = backend.unwrap(CALL, key(theirs, &other), &wrapped, b"aad").await;
        assert_eq!(wrong_key.unwrap_err(), BackendError::AuthenticationFailed);
        let mut damaged = wrapped.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let damaged = backend.unwrap(CALL, key(ours, &reference), &damaged, b"aad").await;
        assert_eq!(damaged.unwrap_err(), BackendError::AuthenticationFailed);
    }
}

#[tokio::test]
async fn a_key_ref_is_of_use_to_its_own_key_version_only() {
    let runtime = loaded().await;
    let backend = backend(&runtime, "aes-gcm");
    let home = identity(1);
    let reference = backend.generate_key(CALL, home, ROOT).await.unwrap();
    let elsewhere = [
        KeyIdentity { instance: InstanceId::from_bytes([9; 16]), ..home },
        KeyIdentity { key: KeyId::from_bytes([9; 16]), ..home },
        KeyIdentity { version: VersionId::from_bytes([9; 16]), ..home },
    ];
    let refused = BackendError::InvalidKeyRef { backend: "aes-gcm".to_owned() };
    for identity in elsewhere {
        let moved = backend.wrap(CALL, key(identity, &reference), &secret(b"x"), b"").await;
        assert_eq!(moved.unwrap_err(), refused, "{identity:?}");
    }
    let mut forged = reference.clone();
    for at in 0..reference.len() {
        forged[at] ^= 0x80;
        let answer = backend.wrap(CALL, key(home, &forged), &secret(b"x"), b"").await.unwrap_err();
        // These bytes name the KEK's version: of a version that is not there, the backend says so.
        if (1..5).contains(&at) {
            assert!(matches!(answer, BackendError::Unavailable { .. }), "byte {at}: {answer}");
        } else {
            assert_eq!(answer, refused, "byte {at}");
        }
        forged[at] ^= 0x80;
    }
    for forged in [&[][..], b"x", &[0xA1; 16_384]] {
        assert_eq!(backend.wrap(CALL, key(home, forged), &secret(b"x"), b"").await.unwrap_err(), refused);
    }
}

#[tokio::test]
async fn a_standard_key_is_given_back_and_a_root_key_never() {
    let runtime = loaded().await;
    let backend = backend(&runtime, "aes-gcm");
    let material = secret(&[0x33; 32]);
    let standard = backend.import_key(CALL, identity(1), STANDARD, &material).await.unwrap();
    let root = backend.import_key(CALL, identity(2), ROOT, &material).await.unwrap();
    let exported = backend.export_key(CALL, key(identity(1), &standard)).await.unwrap();
    assert_eq!(exported.expose(), material.expose());
    let refused = backend.export_key(CALL, key(identity(2), &root)).await;
    assert!(matches!(refused, Err(BackendError::Unsupported(_))), "{refused:?}");
    let windows = |reference: &[u8]| reference.windows(8).any(|window| window == [0x33; 8]);
    assert!(!windows(&standard) && !windows(&root), "the material is in the key-ref");
}

#[tokio::test]
async fn data_keys_rewraps_and_random_bytes_hold_their_bounds() {
    let runtime = loaded().await;
    let backend = backend(&runtime, "aes-gcm");
    let (old, new) = (identity(1), identity(2));
    let from = backend.generate_key(CALL, old, ROOT).await.unwrap();
    let to = backend.generate_key(CALL, new, ROOT).await.unwrap();
    let made = backend.generate_data_key(CALL, key(old, &from), 32, b"a").await.unwrap();
    assert_eq!(made.plaintext.len(), 32);
    let moved = backend.rewrap(CALL, key(old, &from), key(new, &to), &made.wrapped, b"a", b"b").await.unwrap();
    let opened = backend.unwrap(CALL, key(new, &to), &moved, b"b").await.unwrap();
    assert_eq!(opened.expose(), made.plaintext.expose());
    assert!(backend.unwrap(CALL, key(new, &to), &moved, b"a").await.is_err());

    assert_eq!(backend.random(CALL, 4096).await.unwrap().len(), 4096);
    assert!(backend.random(CALL, 0).await.unwrap().is_empty());
    assert_ne!(backend.random(CALL, 32).await.unwrap().expose(), backend.random(CALL, 32).await.unwrap().expose());

    backend.destroy_key(CALL, key(old, &from)).await.unwrap();
}

#[tokio::test]
async fn what_is_out_of_the_contracts_bounds_does_not_reach_the_plugin() {
    let runtime = loaded().await;
    let backend = backend(&runtime, "aes-gcm");
    let reference = backend.generate_key(CALL, identity(1), ROOT).await.unwrap();
    let ours = || key(identity(1), &reference);
    let (most, long) = (backend.description().max_plaintext, vec![0; 65_537]);
    let text = secret(b"x");
    let refusals = [
        ("65537", backend.wrap(CALL, ours(), &text, &long).await.err()),
        ("at most", backend.wrap(CALL, ours(), &secret(&vec![0; most + 1]), b"").await.err()),
        ("65537", backend.unwrap(CALL, ours(), b"x", &long).await.err()),
        ("ciphertext", backend.unwrap(CALL, ours(), &vec![0; most + 1_025], b"").await.err()),
        ("65537", backend.rewrap(CALL, ours(), ours(), b"x", &long, b"").await.err()),
        ("65537", backend.rewrap(CALL, ours(), ours(), b"x", b"", &long).await.err()),
        ("ciphertext", backend.rewrap(CALL, ours(), ours(), &vec![0; most + 1_025], b"", b"").await.err()),
        ("16 to 64", backend.generate_data_key(CALL, ours(), 15, b"").await.err()),
        ("16 to 64", backend.generate_data_key(CALL, ours(), 65, b"").await.err()),
        ("65537", backend.generate_data_key(CALL, ours(), 32, &long).await.err()),
        ("4096", backend.random(CALL, 4_097).await.err()),
        ("256 bits has 32", backend.import_key(CALL, identity(1), STANDARD, &secret(&[1; 31])).await.err()),
    ];
    for (at, (expected, refusal)) in refusals.into_iter().enumerate() {
        let Some(BackendError::InvalidInput(told)) = refusal else { panic!("{at}: {expected}: {refusal:?}") };
        assert!(told.contains(expected), "{at}: {told}");
    }
    // At the bounds themselves it does.
    assert!(backend.wrap(CALL, ours(), &secret(&vec![0; most]), &long[1..]).await.is_ok());
    assert!(backend.generate_data_key(CALL, ours(), 64, b"").await.is_ok());
    let refused = BackendError::InvalidKeyRef { backend: "aes-gcm".to_owned() };
    for forged in [&[][..], &[1; 16_385]] {
        let (forged, x) = (key(identity(1), forged), secret(b"x"));
        assert_eq!(backend.wrap(CALL, forged, &x, b"").await, Err(refused.clone()));
        assert_eq!(backend.destroy_key(CALL, forged).await, Err(refused.clone()));
        assert_eq!(backend.rewrap(CALL, ours(), forged, b"x", b"", b"").await, Err(refused.clone()));
    }
}

#[tokio::test]
async fn without_a_snapshot_a_plugin_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let config = || RuntimeConfig { cache_dir: Some(dir.path().join("code")), ..RuntimeConfig::default() };
    let with = runtime_with(config());
    load(&with, &[aes_gcm()]).await;
    assert!(with.describe()[0].snapshot);
    let reference = backend(&with, "aes-gcm").generate_key(CALL, identity(1), ROOT).await.unwrap();
    let wrapped = backend(&with, "aes-gcm").wrap(CALL, key(identity(1), &reference), &secret(b"x"), b"aad").await;
    let wrapped = wrapped.unwrap();
    // Once compiled, once from the cache.
    for _ in 0..2 {
        let without = runtime_with(config()).without_snapshots();
        load(&without, &[aes_gcm()]).await;
        assert!(!without.describe()[0].snapshot);
        let backend = backend(&without, "aes-gcm");
        let opened = backend.unwrap(CALL, key(identity(1), &reference), &wrapped, b"aad").await.unwrap();
        assert_eq!(opened.expose(), b"x");
        let again = backend.wrap(CALL, key(identity(1), &reference), &opened, b"aad").await.unwrap();
        assert_ne!(again, wrapped);
    }
}

#[tokio::test]
async fn the_plugin_starts_from_a_snapshot_and_the_second_start_compiles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        || RuntimeConfig { cache_dir: Some(dir.path().join("code")), max_sandboxes: 4, ..RuntimeConfig::default() };
    // A file that is written again is another file: it is renamed into place.
    let files = || {
        let entries = std::fs::read_dir(dir.path().join("code")).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().ino())).collect::<BTreeMap<_, _>>()
    };
    let first = runtime_with(config());
    load(&first, &[aes_gcm()]).await;
    assert!(first.describe()[0].snapshot, "{:?}", first.describe());
    let reference = backend(&first, "aes-gcm").generate_key(CALL, identity(1), ROOT).await.unwrap();
    let kept = files();
    assert_eq!(kept.len(), 2, "the key and one file of code");

    let second = runtime_with(config());
    load(&second, &[aes_gcm()]).await;
    assert_eq!(files(), kept, "it was compiled again");
    assert!(second.describe()[0].snapshot);
    let wrapped = backend(&second, "aes-gcm").wrap(CALL, key(identity(1), &reference), &secret(b"x"), b"").await;
    assert!(wrapped.is_ok());

    // Code that somebody else wrote into the directory is not run; the start is slower and that is all.
    let entries = std::fs::read_dir(dir.path().join("code")).unwrap().map(|entry| entry.unwrap().path());
    let code = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "code")).unwrap();
    let mut bytes = std::fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&code, &bytes).unwrap();
    let third = runtime_with(config());
    load(&third, &[aes_gcm()]).await;
    assert!(third.probe().await.iter().all(|(_, outcome)| outcome.is_ok()));
    assert!(files().keys().eq(kept.keys()));
    assert_ne!(std::fs::read(&code).unwrap(), bytes, "what was tampered with must not stay");
}

#[tokio::test]
async fn a_new_generation_takes_over_and_the_old_one_serves_whoever_holds_it() {
    let runtime = loaded().await;
    assert_eq!(runtime.generation(), 1);
    let old = backend(&runtime, "aes-gcm");
    let mut manifest = support::manifest(&[aes_gcm()]);
    manifest.backends[0].name = "renamed".to_owned();
    let generation = runtime.load(&manifest).await.unwrap();
    assert_eq!(runtime.generation(), 1, "loading is not making live");
    let backends = runtime.backends();
    runtime.activate(generation);
    assert_eq!(runtime.generation(), 2);
    assert_eq!(backends.names(), ["renamed"]);
    assert!(backends.backend("aes-gcm").is_none());
    let reference = old.generate_key(CALL, identity(1), ROOT).await.unwrap();
    let renamed = backends.backend("renamed").unwrap();
    assert!(renamed.wrap(CALL, key(identity(1), &reference), &secret(b"x"), b"").await.is_ok());
}
