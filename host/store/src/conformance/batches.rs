//! Batches: whole or not at all, and in order.

use std::sync::Arc;

use keygate_core::store::{Change, KeyFilter, KeyStore, StoreError};

use super::samples::{EVERYTHING, alias, insert, instance, key_id, next, version, version_id};
use super::{Verdict, same};

/// Whatever stands before the change that is refused has not happened.
pub async fn a_refused_batch_leaves_no_trace(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    let (old, batch) = insert(at, 1, &["old"])?;
    store.commit(batch).await?;
    let (doomed, batch) = insert(at, 2, &["doomed"])?;
    store.commit(batch).await?;

    let (_, mut batch) = insert(at, 3, &["new"])?;
    batch.push(Change::UpdateKey { key: next(&old, |key| key.aliases.clear()) });
    batch.push(Change::InsertVersion { instance: at, key: old.id, version: version(1, 2) });
    batch.push(Change::RemoveKey { instance: at, key: doomed.id, revision: 1 });
    for last in [
        Change::UpdateKey { key: old.clone() },
        Change::RemoveKey { instance: at, key: key_id(9), revision: 1 },
        Change::InsertVersion { instance: at, key: old.id, version: version(1, 1) },
        Change::InsertVersion { instance: at, key: doomed.id, version: version(2, 2) },
    ] {
        let mut refused = batch.clone();
        refused.push(last.clone());
        same!(store.commit(refused).await, Err(StoreError::Conflict), "a batch that ends with {last:?}");
        same!(store.key(at, key_id(3)).await?, None, "the key of the batch");
        same!(store.key_by_alias(at, &alias("new")?).await?, None, "its alias");
        same!(store.version(at, key_id(3), version_id(3, 1)).await?, None, "its version");
        same!(store.key_by_alias(at, &alias("old")?).await?, Some(old.clone()), "the key the batch changed");
        same!(store.versions(at, old.id, EVERYTHING).await?.total, 1, "the versions of the key the batch changed");
        same!(store.key_by_alias(at, &alias("doomed")?).await?, Some(doomed.clone()), "the key the batch removed");
        same!(store.versions(at, doomed.id, EVERYTHING).await?.total, 1, "the versions of the key the batch removed");
        same!(store.count(at, &KeyFilter::default()).await?, 2, "the count");
    }

    store.commit(batch).await?;
    same!(store.count(at, &KeyFilter::default()).await?, 2, "the count when the batch is not refused");
    same!(store.key(at, doomed.id).await?, None, "the key removed when the batch is not refused");
    Ok(())
}

/// The same when an alias is the reason.
pub async fn a_batch_whose_alias_is_taken_leaves_no_trace(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    store.commit(insert(at, 1, &["taken"])?.1).await?;
    let (_, mut batch) = insert(at, 2, &["new"])?;
    batch.extend(insert(at, 3, &["newer", "taken"])?.1);
    same!(store.commit(batch).await, Err(StoreError::AliasTaken(alias("taken")?)), "the batch");
    same!(store.count(at, &KeyFilter::default()).await?, 1, "the count");
    for name in ["new", "newer"] {
        same!(store.key_by_alias(at, &alias(name)?).await?, None, "{name}");
        // Free for others.
        store.commit(insert(at, 4 + name.len() as u32, &[name])?.1).await?;
    }
    Ok(())
}

/// One batch can take a key through several revisions and give it versions: a rotation does.
pub async fn changes_build_on_those_before_them(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    let (first, mut batch) = insert(at, 1, &["mine"])?;
    let second = next(&first, |key| key.version_count = 2);
    let third = next(&second, |key| key.name = "third".to_owned());
    batch.push(Change::InsertVersion { instance: at, key: first.id, version: version(1, 2) });
    batch.push(Change::UpdateKey { key: second });
    batch.push(Change::UpdateKey { key: third.clone() });
    store.commit(batch).await?;
    same!(store.key_by_alias(at, &alias("mine")?).await?, Some(third), "the key");
    same!(store.versions(at, first.id, EVERYTHING).await?.total, 2, "its versions");

    let (_, mut twice) = insert(at, 2, &[])?;
    twice.extend(twice.clone());
    same!(store.commit(twice).await, Err(StoreError::Conflict), "a key twice in a batch");
    let (_, mut shared) = insert(at, 3, &["shared"])?;
    shared.extend(insert(at, 4, &["shared"])?.1);
    same!(store.commit(shared).await, Err(StoreError::AliasTaken(alias("shared")?)), "an alias twice in a batch");
    Ok(())
}

/// What comes and goes within a batch was never there; what goes and comes is new.
pub async fn a_key_is_made_changed_and_removed_in_one_batch(store: Arc<dyn KeyStore>) -> Verdict {
    let at = instance(1);
    let (key, mut batch) = insert(at, 1, &["mine"])?;
    batch.push(Change::InsertVersion { instance: at, key: key.id, version: version(1, 2) });
    batch.push(Change::RemoveKey { instance: at, key: key.id, revision: 1 });
    store.commit(batch).await?;
    same!(store.key(at, key.id).await?, None, "the key");
    same!(store.key_by_alias(at, &alias("mine")?).await?, None, "its alias");
    same!(store.versions(at, key.id, EVERYTHING).await?.total, 0, "its versions");
    same!(store.count(at, &KeyFilter::default()).await?, 0, "the count");

    let (key, batch) = insert(at, 1, &["mine"])?;
    store.commit(batch.clone()).await?;
    store.commit(vec![Change::InsertVersion { instance: at, key: key.id, version: version(1, 2) }]).await?;
    let mut again = vec![Change::RemoveKey { instance: at, key: key.id, revision: 1 }];
    again.extend(batch);
    store.commit(again).await?;
    same!(store.key_by_alias(at, &alias("mine")?).await?, Some(key.clone()), "the key made again");
    same!(store.versions(at, key.id, EVERYTHING).await?.total, 1, "the versions of the key made again");
    same!(store.version(at, key.id, version_id(1, 2)).await?, None, "the version of the key before");
    Ok(())
}

/// Nothing to do is done.
pub async fn an_empty_batch_is_done(store: Arc<dyn KeyStore>) -> Verdict {
    same!(store.commit(Vec::new()).await, Ok(()), "an empty batch");
    Ok(())
}
