//! Instances are tenants: nothing of one is to be had through another.

use std::sync::Arc;

use keygate_core::key::KeyState;
use keygate_core::store::{Change, KeyFilter, KeyStore};

use super::samples::{EVERYTHING, alias, all_keys, insert, instance, next, version, version_id};
use super::{Verdict, same};

/// The same key id, version ids and alias in two instances are two keys, whatever happens to one of them.
pub async fn instances_do_not_see_each_other(store: Arc<dyn KeyStore>) -> Verdict {
    let (one, batch) = insert(instance(1), 1, &["same"])?;
    store.commit(batch).await?;
    let two_before = store.key(instance(2), one.id).await?;
    same!(two_before, None, "a key of another instance");
    same!(store.key_by_alias(instance(2), &alias("same")?).await?, None, "an alias of another instance");
    same!(store.version(instance(2), one.id, version_id(1, 1)).await?, None, "a version of another instance");
    same!(store.versions(instance(2), one.id, EVERYTHING).await?.total, 0, "versions of another instance");
    same!(store.count(instance(2), &KeyFilter::default()).await?, 0, "the count of another instance");

    let (two, batch) = insert(instance(2), 1, &["same"])?;
    store.commit(batch).await?;
    let two = next(&two, |key| {
        key.name = "the other".to_owned();
        key.state = KeyState::Suspended;
    });
    let second = version(1, 2);
    let change = Change::InsertVersion { instance: two.instance, key: two.id, version: second.clone() };
    store.commit(vec![Change::UpdateKey { key: two.clone() }, change]).await?;

    for (key, versions) in [(&one, 1), (&two, 2)] {
        let at = key.instance;
        same!(store.key(at, key.id).await?, Some(key.clone()), "the key in {at}");
        same!(store.key_by_alias(at, &alias("same")?).await?, Some(key.clone()), "the alias in {at}");
        same!(store.versions(at, key.id, EVERYTHING).await?.total, versions, "the versions in {at}");
        same!(all_keys(&store, at).await?, vec![key.clone()], "the list of {at}");
        same!(store.count(at, &KeyFilter::default()).await?, 1, "the count of {at}");
    }
    same!(store.version(one.instance, one.id, second.id).await?, None, "the other's second version");
    let suspended = KeyFilter { states: vec![KeyState::Suspended], ..KeyFilter::default() };
    same!(store.count(one.instance, &suspended).await?, 0, "the other's state");
    Ok(())
}

/// Removing a key leaves its namesake in another instance whole; also where ids are the highest there are.
pub async fn a_removal_stays_in_its_instance(store: Arc<dyn KeyStore>) -> Verdict {
    for (low, high) in [(1, 2), (0xfe, 0xff)] {
        for number in [low, high] {
            store.commit(insert(instance(number), u32::MAX, &["same"])?.1).await?;
        }
        let (gone, _) = insert(instance(low), u32::MAX, &["same"])?;
        store.commit(vec![Change::RemoveKey { instance: gone.instance, key: gone.id, revision: 1 }]).await?;
        same!(store.key(gone.instance, gone.id).await?, None, "the key removed");
        same!(store.versions(gone.instance, gone.id, EVERYTHING).await?.total, 0, "its versions");

        let (kept, _) = insert(instance(high), u32::MAX, &["same"])?;
        same!(store.key_by_alias(kept.instance, &alias("same")?).await?, Some(kept.clone()), "its namesake");
        same!(store.versions(kept.instance, kept.id, EVERYTHING).await?.total, 1, "its namesake's versions");
        same!(store.count(kept.instance, &KeyFilter::default()).await?, 1, "its namesake's instance");
    }
    Ok(())
}
