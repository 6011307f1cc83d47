//! Import keys of the built-in software backend: that they can be made and used within the limits that plugins have. What
//! an import must be like is tested where there is something to encrypt with: in the plugin, and in the backend suite.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use keygate_core::backend::{BackendError, Call, ImportEnvelope, ImportRejection};
use keygate_core::error::FaultKind;
use serde_json::json;
use support::{CALL, ROOT, aes_gcm, backend, identity, key, load, runtime, secret};

fn deadline<T: std::fmt::Debug>(outcome: Result<T, BackendError>, function: &str) {
    let Err(BackendError::Fault(fault)) = outcome else { panic!("it was not stopped: {outcome:?}") };
    assert_eq!((fault.call, fault.kind), (function, FaultKind::Deadline), "{fault:?}");
}

#[tokio::test]
async fn a_key_pair_takes_longer_than_any_other_call_may_and_no_more_memory() {
    let runtime = runtime();
    let mut entry = aes_gcm();
    // A deadline that no key pair was ever made in.
    entry["limits"] = json!({ "deadline": "200ms", "memory": "4MiB" });
    load(&runtime, &[entry]).await;
    let backend = backend(&runtime, "aes-gcm");
    assert_eq!(backend.description().features, ["import-token"]);
    let pair = backend.create_import_key(CALL, identity(1), "RSA-4096").await.unwrap();
    assert_eq!(pair.public.len(), 550, "SubjectPublicKeyInfo of RSA-4096");
    assert!((512..1_024).contains(&pair.private.len()), "{} bytes", pair.private.len());

    let envelope = ImportEnvelope {
        algorithm: "RSAES_OAEP_SHA_256".to_owned(),
        encrypted_key: vec![1; 512],
        encrypted_nonce: vec![0; 28],
        iv: vec![0; 12],
        expected_nonce: vec![0; 12].into(),
    };
    let import_key = key(identity(1), &pair.private);
    let nothing = backend.open_import(CALL, import_key, identity(2), ROOT, &envelope).await;
    assert_eq!(nothing, Err(BackendError::ImportRejected(ImportRejection::Material)));
    let long = ImportEnvelope { encrypted_key: vec![1; 513], ..envelope.clone() };
    let refused = backend.open_import(CALL, import_key, identity(2), ROOT, &long).await;
    assert_eq!(refused, Err(BackendError::ImportRejected(ImportRejection::Material)));
    let wrapped = backend.wrap(CALL, import_key, &secret(b"x"), b"").await;
    assert_eq!(wrapped, Err(BackendError::InvalidKeyRef { backend: "aes-gcm".to_owned() }));
}

#[tokio::test]
async fn the_slow_deadline_and_the_callers_own_are_kept() {
    let runtime = runtime();
    let mut entry = aes_gcm();
    entry["limits"] = json!({ "deadline": "30ms", "slow_deadline": "50ms" });
    load(&runtime, &[entry]).await;
    let slow = backend(&runtime, "aes-gcm").create_import_key(CALL, identity(1), "RSA-4096").await;
    deadline(slow, "create-import-key");

    load(&runtime, &[aes_gcm()]).await;
    let hurried = Call { timeout: Some(Duration::from_millis(50)), ..CALL };
    let slow = backend(&runtime, "aes-gcm").create_import_key(hurried, identity(1), "RSA-4096").await;
    deadline(slow, "create-import-key");
    let refused = backend(&runtime, "aes-gcm").create_import_key(CALL, identity(1), "RSA-2048").await;
    assert!(matches!(refused, Err(BackendError::Unsupported(_))), "{refused:?}");
}
