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
        let answer = backend.wrap(CALL, key(home, &forged), &secret(b"x"), b"").await;
        // Four of the bytes name the KEK's version: of a version that is not there, the backend says so.
        let answer = answer.unwrap_err();
        assert!(answer == refused || matches!(answer, BackendError::Unavailable { .. }), "byte {at}: {answer}");
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

    let most = backend.description().max_plaintext;
    let too_long = backend.wrap(CALL, key(old, &from), &secret(&vec![0; most + 1]), b"").await;
    assert!(matches!(too_long, Err(BackendError::InvalidInput(_))), "{too_long:?}");
    backend.destroy_key(CALL, key(old, &from)).await.unwrap();
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
    for entry in std::fs::read_dir(dir.path().join("code")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "code") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let third = runtime_with(config());
    load(&third, &[aes_gcm()]).await;
    assert!(third.probe().await.iter().all(|(_, outcome)| outcome.is_ok()));
    let anew = files();
    assert!(anew.keys().eq(kept.keys()) && anew != kept, "{anew:?}");
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
