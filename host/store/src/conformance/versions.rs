//! Key versions.

use std::sync::Arc;

use keygate_core::key::KeyVersion;
use keygate_core::store::{Change, KeyStore, PageRequest, StoreError};

use super::samples::{EVERYTHING, insert, instance, key_id, moved, next, version, version_id};
use super::{Failure, Verdict, same};

/// Each version is found by its id, in its own key and in no other.
pub async fn versions_are_found_by_id(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    rotated(&store, 1, 5).await?;
    rotated(&store, 2, 1).await?;
    for sequence in 1..=5 {
        let found = store.version(at, key_id(1), version_id(1, sequence)).await?;
        same!(found, Some(version(1, sequence)), "version {sequence}");
        let elsewhere = store.version(at, key_id(2), version_id(1, sequence)).await?;
        same!(elsewhere, None, "version {sequence} in another key");
    }
    same!(store.version(at, key_id(1), version_id(1, 6)).await?, None, "a version that is not there");
    Ok(())
}

/// Pages go from the newest to the oldest, and the total is of all.
pub async fn versions_come_newest_first_in_pages(store: Arc<dyn KeyStore>) -> Verdict {
    // Past 255, so that the order of the bytes matters.
    rotated(&store, 1, 300).await?;
    rotated(&store, 2, 2).await?;
    let wanted: Vec<u32> = (1..=300).rev().collect();
    for (offset, limit) in [(0, usize::MAX), (0, 1), (0, 300), (3, 50), (299, 5), (300, 5), (1000, 5), (0, 0)] {
        let page = store.versions(instance(1), key_id(1), PageRequest { offset, limit }).await?;
        let sequences: Vec<u32> = page.items.iter().map(|version| version.sequence).collect();
        let part: Vec<u32> = wanted.iter().copied().skip(offset).take(limit).collect();
        same!(sequences, part, "from {offset}, {limit} at most");
        same!(page.total, 300, "the total, from {offset}, {limit} at most");
    }
    let all = store.versions(instance(1), key_id(2), EVERYTHING).await?;
    same!(all.items, vec![version(2, 2), version(2, 1)], "another key's");
    Ok(())
}

/// Neither an id nor a sequence is used twice in a key.
pub async fn versions_are_not_inserted_twice(store: Arc<dyn KeyStore>) -> Verdict {
    rotated(&store, 1, 2).await?;
    let mut same_id = version(1, 3);
    same_id.id = version_id(1, 1);
    let mut same_sequence = version(1, 3);
    same_sequence.sequence = 2;
    for (refused, what) in [(same_id, "an id"), (same_sequence, "a sequence"), (version(1, 2), "a version")] {
        let batch = vec![Change::InsertVersion { instance: instance(1), key: key_id(1), version: refused }];
        same!(store.commit(batch).await, Err(StoreError::Conflict), "{what} again");
    }
    let all = store.versions(instance(1), key_id(1), EVERYTHING).await?;
    same!(all.items, vec![version(1, 2), version(1, 1)], "the versions");
    Ok(())
}

/// A version of no key is a conflict: the key is gone.
pub async fn versions_need_a_key(store: Arc<dyn KeyStore>) -> Verdict {
    let batch = vec![Change::InsertVersion { instance: instance(1), key: key_id(1), version: version(1, 1) }];
    same!(store.commit(batch.clone()).await, Err(StoreError::Conflict), "no key");
    store.commit(insert(instance(2), 1, &[])?.1).await?;
    same!(store.commit(batch).await, Err(StoreError::Conflict), "a key of another instance");
    same!(store.version(instance(1), key_id(1), version_id(1, 1)).await?, None, "the version");
    Ok(())
}

/// A version is changed when it is as it was thought to be, and when it stays the same version.
pub async fn a_version_is_compared_and_moved(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    rotated(&store, 1, 2).await?;
    let change = |before: &KeyVersion, after: &KeyVersion| {
        let (before, after) = (before.clone(), after.clone());
        vec![Change::UpdateVersion { instance: at, key: key_id(1), before, after }]
    };
    let (old, new) = (version(1, 2), moved(&version(1, 2), 5));
    for (before, after, what) in [
        (&new, &old, "one that it is not"),
        (&version(1, 3), &moved(&version(1, 3), 5), "one that is not there"),
        (&old, &moved(&version(1, 1), 5), "another one"),
        (&old, &KeyVersion { sequence: 1, ..new.clone() }, "one of another sequence"),
    ] {
        same!(store.commit(change(before, after)).await, Err(StoreError::Conflict), "{what}");
    }
    let elsewhere = Change::UpdateVersion { instance: at, key: key_id(2), before: old.clone(), after: new.clone() };
    same!(store.commit(vec![elsewhere]).await, Err(StoreError::Conflict), "in a key that is not there");
    store.commit(change(&old, &new)).await?;
    same!(store.commit(change(&old, &new)).await, Err(StoreError::Conflict), "the same again");
    same!(store.version(at, key_id(1), old.id).await?, Some(new.clone()), "the version");
    let all = store.versions(at, key_id(1), EVERYTHING).await?.items;
    same!(all, vec![new.clone(), version(1, 1)], "the versions");
    let settled = KeyVersion { former: None, ..new.clone() };
    store.commit(change(&new, &settled)).await?;
    same!(store.version(at, key_id(1), old.id).await?, Some(settled), "the version without its former place");
    Ok(())
}

/// A move changes nothing of the key, and what is done to the key is not in its way, but for a purge.
pub async fn a_move_leaves_its_key_alone_and_stops_at_a_purge(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &["one"])?;
    store.commit(batch).await?;
    let step = |before: &KeyVersion, after: &KeyVersion| Change::UpdateVersion {
        instance: key.instance,
        key: key.id,
        before: before.clone(),
        after: after.clone(),
    };
    let (old, new) = (version(1, 1), moved(&version(1, 1), 5));
    store.commit(vec![step(&old, &new)]).await?;
    same!(store.key(key.instance, key.id).await?, Some(key.clone()), "the key");
    let renamed = next(&key, |key| key.name = "renamed".to_owned());
    store.commit(vec![Change::UpdateKey { key: renamed.clone() }]).await?;
    store.commit(vec![step(&new, &old)]).await?;
    let purging = next(&renamed, |key| key.purging = true);
    store.commit(vec![Change::UpdateKey { key: purging }]).await?;
    same!(store.commit(vec![step(&old, &new)]).await, Err(StoreError::Conflict), "while it is purged");
    same!(store.version(key.instance, key.id, old.id).await?, Some(old), "the version");
    Ok(())
}

/// A key with so many versions.
async fn rotated(store: &Arc<dyn KeyStore>, number: u32, count: u32) -> Result<(), Failure> {
    let (key, mut batch) = insert(instance(1), number, &[])?;
    for sequence in 2..=count {
        let version = version(number, sequence);
        batch.push(Change::InsertVersion { instance: key.instance, key: key.id, version });
    }
    Ok(store.commit(batch).await?)
}
