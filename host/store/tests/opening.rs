//! Opening, closing and opening again, from outside.

#![allow(clippy::expect_used)]

use std::fs;
use std::path::Path;

use keygate_core::store::{Change, KeyFilter, KeyStore, Sort};
use keygate_store::conformance::samples::{EVERYTHING, alias, insert, instance, next, version};
use keygate_store::{Holder, OpenError, RedbOptions, RedbStore};

fn open(path: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(path, RedbOptions::default())
}

fn refusal(path: &Path) -> OpenError {
    open(path).err().expect("the store should have been refused")
}

#[tokio::test]
async fn a_store_opened_again_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = open(&path).unwrap();
    let mut keys = Vec::new();
    for number in 0..20 {
        let (key, batch) = insert(instance(1), number, &[&format!("alias-{number}")]).unwrap();
        store.commit(batch).await.unwrap();
        let key = next(&key, |key| key.name.push('!'));
        let second = version(number, 2);
        store
            .commit(vec![
                Change::UpdateKey { key: key.clone() },
                Change::InsertVersion { instance: key.instance, key: key.id, version: second },
            ])
            .await
            .unwrap();
        keys.push(key);
    }
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.keys(instance(1), &KeyFilter::default(), &Sort::default(), EVERYTHING).await.unwrap(), keys);
    let found = store.key_by_alias(instance(1), &alias("alias-7").unwrap()).await.unwrap();
    assert_eq!(found.as_ref(), Some(&keys[7]));
    let versions = store.versions(instance(1), keys[7].id, EVERYTHING).await.unwrap();
    assert_eq!(versions.items, [version(7, 2), version(7, 1)]);
}

#[test]
fn a_store_in_use_says_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = open(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::InUse { holder: Holder::ThisProcess, .. }), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");

    // The same lock, with the note of another process that runs: its parent.
    let note = dir.path().join("keys.redb.owner");
    let parent = std::os::unix::process::parent_id();
    fs::write(&note, format!("pid={parent}\nprogram=keygate 0.0.9\n")).unwrap();
    let text = refusal(&path).to_string();
    assert!(text.contains(&format!("process {parent} (keygate 0.0.9 since ")), "{text}");
    assert!(text.contains("which is running; stop it"), "{text}");

    // A note of a process that is gone does not hide that the lock is held.
    fs::write(&note, "pid=2147483646\nprogram=keygate 0.0.9\n").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::InUse { holder: Holder::NotSeen { pid: 2_147_483_646, .. }, .. }), "{error}");
    fs::remove_file(&note).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::InUse { holder: Holder::Unknown, .. }), "{error}");

    drop(store);
    open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    for content in ["x", "these are my notes, and I would like to keep them\n"] {
        fs::write(&path, content).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_damaged_store_is_refused_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    drop(open(&path).unwrap());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..64]).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Io { .. }), "{error}");
    let mut zeroes = whole.clone();
    zeroes[9..].fill(0);
    fs::write(&path, &zeroes).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Io { .. }), "{error}");
}

#[test]
fn what_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = refusal(&file.join("below/keys.redb"));
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    fs::write(&path, "").unwrap();
    drop(open(&path).unwrap());
    drop(open(&path).unwrap());
}
