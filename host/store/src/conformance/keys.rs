//! Keys: in, out, and from one revision to the next.

use std::sync::Arc;

use keygate_core::store::{Change, KeyFilter, KeyStore, StoreError};

use super::samples::{
    EVERYTHING, alias, all_keys, full_key, given, insert, insert_rings, instance, key_id, next, version_id,
};
use super::{Verdict, same};

/// Every field of a key and of its version survives.
pub async fn an_inserted_key_is_read_back_field_by_field(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, version) = full_key(instance(1), 1)?;
    store.commit(insert_rings(instance(1), &["other-ring"])?).await?;
    store.commit(vec![Change::InsertKey { key: key.clone(), version: version.clone() }]).await?;
    same!(store.key(key.instance, key.id).await?, Some(key.clone()), "by id");
    for name in key.alias_names() {
        same!(store.key_by_alias(key.instance, name).await?, Some(key.clone()), "by alias {name}");
    }
    same!(store.version(key.instance, key.id, version.id).await?, Some(version), "its version");

    let bare = next(&key, |key| {
        key.description = None;
        key.aliases.clear();
        key.tags.clear();
        (key.rotated_at, key.expires_at, key.deletion) = (None, None, None);
        (key.rotation, key.dual_auth, key.authorization) = (None, None, None);
        (key.disabled_at, key.told_at, key.purging) = (None, None, false);
    });
    store.commit(vec![Change::UpdateKey { key: bare.clone() }]).await?;
    same!(store.key(key.instance, key.id).await?, Some(bare), "with nothing that it need not have");
    Ok(())
}

/// An empty store has nothing, and says so without failing.
pub async fn what_is_not_there_is_none(store: Arc<dyn KeyStore>) -> Verdict {
    let (instance, key) = (instance(1), key_id(1));
    same!(store.key(instance, key).await?, None, "a key");
    same!(store.key_by_alias(instance, &alias("nobody")?).await?, None, "an alias");
    same!(store.version(instance, key, version_id(1, 1)).await?, None, "a version");
    let versions = store.versions(instance, key, EVERYTHING).await?;
    same!((versions.items.len(), versions.total), (0, 0), "versions");
    same!(all_keys(&store, instance).await?, vec![], "keys");
    same!(store.count(instance, &KeyFilter::default()).await?, 0, "the count");
    Ok(())
}

/// Inserting an id again is a conflict, and changes nothing.
pub async fn an_id_is_inserted_once(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &["mine"])?;
    store.commit(batch.clone()).await?;
    same!(store.commit(batch).await, Err(StoreError::Conflict), "the same again");
    let (_, other) = insert(instance(1), 1, &["other"])?;
    same!(store.commit(other).await, Err(StoreError::Conflict), "another with the same id");
    same!(store.key(key.instance, key.id).await?, Some(key.clone()), "the key");
    same!(store.key_by_alias(key.instance, &alias("other")?).await?, None, "the alias of the one refused");
    Ok(())
}

/// A key cannot begin at another revision.
pub async fn a_first_revision_is_1(store: Arc<dyn KeyStore>) -> Verdict {
    for revision in [0, 2, u64::MAX] {
        let (mut key, version) = full_key(instance(1), 1)?;
        key.revision = revision;
        let outcome = store.commit(vec![Change::InsertKey { key, version }]).await;
        same!(outcome, Err(StoreError::Conflict), "revision {revision}");
    }
    Ok(())
}

/// Compare and set: an update builds on the newest revision or is a conflict.
pub async fn an_update_needs_the_revision_before(store: Arc<dyn KeyStore>) -> Verdict {
    let (first, batch) = insert(instance(1), 1, &[])?;
    let second = next(&first, |key| key.name = "second".to_owned());
    let update = |key: &keygate_core::key::Key| vec![Change::UpdateKey { key: key.clone() }];
    same!(store.commit(update(&second)).await, Err(StoreError::Conflict), "a key that is not there");
    store.commit(batch).await?;
    store.commit(update(&second)).await?;
    same!(store.key(first.instance, first.id).await?, Some(second.clone()), "the key after an update");

    for stale in [&first, &second, &next(&second, |key| key.revision += 1), &next(&second, |key| key.revision = 0)] {
        let outcome = store.commit(update(stale)).await;
        same!(outcome, Err(StoreError::Conflict), "revision {} over revision 2", stale.revision);
    }
    same!(store.key(first.instance, first.id).await?, Some(second), "the key after refused updates");
    Ok(())
}

/// Nothing of a removed key is left, and its id and aliases can be used again.
pub async fn a_removed_key_is_gone_with_all_it_had(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &["mine", "too"])?;
    store.commit(batch.clone()).await?;
    for sequence in 2..=5 {
        let version = super::samples::version(1, sequence);
        store.commit(vec![Change::InsertVersion { instance: key.instance, key: key.id, version }]).await?;
    }
    let (neighbour, others) = insert(instance(1), 2, &["hers"])?;
    store.commit(others).await?;

    let remove = vec![Change::RemoveKey { instance: key.instance, key: key.id, revision: 1 }];
    store.commit(remove.clone()).await?;
    same!(store.key(key.instance, key.id).await?, None, "the key");
    for name in key.alias_names() {
        same!(store.key_by_alias(key.instance, name).await?, None, "alias {name}");
    }
    same!(store.versions(key.instance, key.id, EVERYTHING).await?.total, 0, "its versions");
    for sequence in 1..=5 {
        let version = store.version(key.instance, key.id, version_id(1, sequence)).await?;
        same!(version, None, "version {sequence}");
    }
    same!(store.count(key.instance, &KeyFilter::default()).await?, 1, "the count");
    same!(store.commit(remove).await, Err(StoreError::Conflict), "to remove it again");
    same!(store.key(key.instance, neighbour.id).await?, Some(neighbour), "its neighbour");

    store.commit(batch).await?;
    same!(store.key(key.instance, key.id).await?, Some(key.clone()), "the key, made again");
    same!(store.versions(key.instance, key.id, EVERYTHING).await?.total, 1, "its versions, made again");
    Ok(())
}

/// A removal is compared like an update.
pub async fn a_removal_needs_the_revision(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &["mine"])?;
    store.commit(batch).await?;
    for revision in [0, 2] {
        let remove = vec![Change::RemoveKey { instance: key.instance, key: key.id, revision }];
        same!(store.commit(remove).await, Err(StoreError::Conflict), "revision {revision}");
    }
    same!(store.key_by_alias(key.instance, &alias("mine")?).await?, Some(key.clone()), "the key");
    Ok(())
}

/// The largest key there can be, and key-refs of the largest size (16,384 bytes), a few hundred in one batch.
pub async fn large_values_come_back_whole(store: Arc<dyn KeyStore>) -> Verdict {
    let mut batch = insert_rings(instance(1), &["other-ring"])?;
    let mut keys = Vec::new();
    for number in 0..200 {
        let (mut key, mut version) = full_key(instance(1), number)?;
        key.name = "n".repeat(240);
        key.description = Some("鍵".repeat(240));
        key.aliases =
            (0..5).map(|i| given(&format!("{number:05}-{i}-{}", "a".repeat(82)))).collect::<Result<_, _>>()?;
        key.tags = (0..30).map(|i| format!("{i:030}")).collect();
        version.key_ref.reference = (0..16_384_u32).map(|i| (i.wrapping_mul(number + 1) >> 3) as u8).collect();
        batch.push(Change::InsertKey { key: key.clone(), version: version.clone() });
        keys.push((key, version));
    }
    store.commit(batch).await?;
    for (key, version) in keys {
        same!(store.key(key.instance, key.id).await?, Some(key.clone()), "a large key");
        same!(store.version(key.instance, key.id, version.id).await?, Some(version), "a large version");
    }
    Ok(())
}

/// A check passes, on an empty store and on another.
pub async fn a_check_of_a_working_store_passes(store: Arc<dyn KeyStore>) -> Verdict {
    store.check().await?;
    let (key, batch) = insert(instance(1), 1, &[])?;
    store.commit(batch).await?;
    store.check().await?;
    same!(store.key(key.instance, key.id).await?, Some(key), "the key");
    Ok(())
}
