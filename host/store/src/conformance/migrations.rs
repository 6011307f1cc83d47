//! Migrations of instances.

use std::sync::Arc;

use keygate_core::ids::KeyId;
use keygate_core::key::Key;
use keygate_core::key::KeyState;
use keygate_core::store::{Change, KeyStore, PageRequest, StoreError};

use super::samples::{EVERYTHING, insert, instance, key_id, migration, next, stay};
use super::{Verdict, same};

/// Those of the instance, deleted ones too, each once, in the order of their ids.
pub async fn ids_come_in_order_after_one(store: Arc<dyn KeyStore>) -> Verdict {
    let mut wanted: Vec<KeyId> = Vec::new();
    for number in [300, 2, 1, 7] {
        let (key, batch) = insert(instance(1), number, &[])?;
        store.commit(batch).await?;
        if number == 2 {
            let deleted = next(&key, |key: &mut Key| key.state = KeyState::Destroyed);
            store.commit(vec![Change::UpdateKey { key: deleted }]).await?;
        }
        wanted.push(key.id);
    }
    store.commit(insert(instance(2), 5, &[])?.1).await?;
    wanted.sort();
    same!(store.key_ids(instance(1), None, usize::MAX).await?, wanted, "all of them");
    same!(store.key_ids(instance(1), None, 3).await?, wanted[..3].to_vec(), "three of them");
    same!(store.key_ids(instance(1), Some(wanted[1]), 1).await?, vec![wanted[2]], "the one after the second");
    same!(store.key_ids(instance(1), wanted.last().copied(), 9).await?, Vec::new(), "those after the last");
    same!(store.key_ids(instance(3), None, 9).await?, Vec::new(), "those of an instance without keys");
    Ok(())
}

/// The last one is there, and each write builds on the one before. One of another id clears what had stayed behind.
pub async fn a_migration_is_compared(store: Arc<dyn KeyStore>) -> Verdict {
    let put = |id, revision| vec![Change::PutMigration { migration: migration(instance(1), id, revision) }];
    same!(store.migration(instance(1)).await?, None, "before there was one");
    for early in [0, 2] {
        same!(store.commit(put(1, early)).await, Err(StoreError::Conflict), "revision {early} as the first");
    }
    store.commit(put(1, 1)).await?;
    same!(store.migration(instance(1)).await?, Some(migration(instance(1), 1, 1)), "the first");
    for stale in [0, 1, 3] {
        same!(store.commit(put(1, stale)).await, Err(StoreError::Conflict), "revision {stale} over revision 1");
    }
    store.commit(vec![Change::PutStay { instance: instance(1), stay: stay(1) }]).await?;
    store.commit(vec![Change::PutStay { instance: instance(2), stay: stay(1) }]).await?;
    store.commit(put(1, 2)).await?;
    same!(store.stays(instance(1), EVERYTHING).await?.items, vec![stay(1)], "what stayed, after a write");
    let again = Change::PutStay { instance: instance(1), stay: stay(2) };
    store.commit([put(2, 3), vec![again]].concat()).await?;
    same!(store.migration(instance(1)).await?, Some(migration(instance(1), 2, 3)), "another one");
    same!(store.stays(instance(1), EVERYTHING).await?.items, vec![stay(2)], "what stayed in that");
    same!(store.migration(instance(2)).await?, None, "that of another instance");
    same!(store.stays(instance(2), EVERYTHING).await?.items, vec![stay(1)], "what stayed in another instance");
    Ok(())
}

/// What stayed is found by its key, the last word on it, and by key in pages.
pub async fn what_stayed_is_found_by_key_and_in_pages(store: Arc<dyn KeyStore>) -> Verdict {
    let put = |stay| Change::PutStay { instance: instance(1), stay };
    store.commit([5, 300, 1].map(stay).map(put).into()).await?;
    let mut other = stay(5);
    other.versions = 9;
    store.commit(vec![put(other.clone())]).await?;
    same!(store.stay(instance(1), key_id(5)).await?, Some(other.clone()), "the last word on it");
    same!(store.stay(instance(1), key_id(6)).await?, None, "of a key of which nothing stayed");
    same!(store.stay(instance(2), key_id(5)).await?, None, "in another instance");
    let mut wanted = vec![stay(1), other, stay(300)];
    wanted.sort_by_key(|stay| stay.key);
    let all = store.stays(instance(1), EVERYTHING).await?;
    same!((all.items, all.total), (wanted.clone(), 3), "all");
    let page = store.stays(instance(1), PageRequest { offset: 1, limit: 1 }).await?;
    same!((page.items, page.total), (vec![wanted.remove(1)], 3), "the second");
    Ok(())
}
