//! Key rings: there or not, empty or not.

use std::sync::Arc;

use keygate_core::store::{Batch, Change, KeyStore, StoreError};

use super::samples::{insert, insert_rings, instance, key_id, key_ring, next, ring};
use super::{Failure, Verdict, same};

/// Rings come by id, each as it was made, and `default` is none of them.
pub async fn rings_come_by_id(store: Arc<dyn KeyStore>) -> Verdict {
    same!(store.rings(instance(1)).await?, vec![], "the rings of an empty instance");
    store.commit(insert_rings(instance(1), &["red", "blue", "Red", "re"])?).await?;
    store.commit(insert_rings(instance(2), &["red"])?).await?;
    let wanted = ["Red", "blue", "re", "red"].map(|name| key_ring(instance(1), name));
    same!(store.rings(instance(1)).await?, wanted.into_iter().collect::<Result<Vec<_>, _>>()?, "the rings");
    same!(store.rings(instance(2)).await?.len(), 1, "the rings of another instance");
    let red = key_ring(instance(1), "red")?;
    same!(store.ring(instance(1), &red.id).await?, Some(red), "a ring");
    for name in ["r", "green", "default"].into_iter().filter_map(|name| ring(name).ok()) {
        same!(store.ring(instance(1), &name).await?, None, "{name}");
    }
    Ok(())
}

/// One of an id, and never `default`, which every instance has.
pub async fn a_ring_is_made_once(store: Arc<dyn KeyStore>) -> Verdict {
    store.commit(insert_rings(instance(1), &["red"])?).await?;
    for name in ["red", "default"] {
        let outcome = store.commit(insert_rings(instance(1), &[name])?).await;
        same!(outcome, Err(StoreError::Conflict), "{name} again");
    }
    let outcome = store.commit(insert_rings(instance(1), &["blue", "blue"])?).await;
    same!(outcome, Err(StoreError::Conflict), "twice in one batch");
    same!(store.rings(instance(1)).await?.len(), 1, "the rings");
    Ok(())
}

/// As many as there may be, counted in the batch that makes them and in the instance they are for.
pub async fn there_are_so_many_rings_and_no_more(store: Arc<dyn KeyStore>) -> Verdict {
    let insert = |name, at_most| -> Result<Batch, Failure> {
        Ok(vec![Change::InsertRing { ring: key_ring(instance(1), name)?, at_most }])
    };
    same!(store.commit(insert("red", 0)?).await, Err(StoreError::RingQuota(0)), "none at most");
    store.commit(insert_rings(instance(2), &["one", "two", "three"])?).await?;
    let both = [insert("red", 2)?, insert("blue", 2)?].concat();
    let three = [both.clone(), insert("green", 2)?].concat();
    same!(store.commit(three).await, Err(StoreError::RingQuota(2)), "three where two may be");
    same!(store.rings(instance(1)).await?, vec![], "the rings of a refused batch");
    store.commit(both).await?;
    same!(store.commit(insert("green", 2)?).await, Err(StoreError::RingQuota(2)), "a third");
    same!(store.commit(insert("green", 1)?).await, Err(StoreError::RingQuota(1)), "where fewer may be by now");
    same!(store.commit(insert("red", 2)?).await, Err(StoreError::Conflict), "one that is there, where no more may be");
    let instead = [remove("red")?, insert("green", 2)?].concat();
    store.commit(instead).await?;
    same!(store.rings(instance(1)).await?.len(), 2, "the rings, one for another");
    Ok(())
}

/// A key is in a ring that is there: when it is made, and whenever it changes.
pub async fn keys_need_their_ring(store: Arc<dyn KeyStore>) -> Verdict {
    let missing = || Ok::<_, Failure>(Err(StoreError::RingMissing(ring("red")?)));
    let insertion = in_ring(1, "red")?;
    same!(store.commit(insertion.clone()).await, missing()?, "a key in no ring");
    store.commit(insert_rings(instance(2), &["red"])?).await?;
    same!(store.commit(insertion.clone()).await, missing()?, "a ring of another instance");
    same!(store.key(instance(1), key_id(1)).await?, None, "the key");

    let (key, batch) = insert(instance(1), 2, &[])?;
    store.commit(batch).await?;
    let red = ring("red")?;
    let moves = vec![Change::UpdateKey { key: next(&key, |key| key.ring = red.clone()) }];
    same!(store.commit(moves.clone()).await, missing()?, "a move into no ring");
    let late = [moves.clone(), insert_rings(instance(1), &["red"])?].concat();
    same!(store.commit(late).await, missing()?, "a move into a ring that is made after it");
    let together = [insert_rings(instance(1), &["red"])?, moves, insertion].concat();
    store.commit(together).await?;
    same!(store.key(instance(1), key.id).await?.map(|key| key.ring), Some(red), "the ring of the key that moved");
    Ok(())
}

/// Whatever is in a ring keeps it: until it is moved or removed, deleted keys too, and in the same batch.
pub async fn a_ring_with_keys_stays(store: Arc<dyn KeyStore>) -> Verdict {
    let in_use = || Ok::<_, Failure>(Err(StoreError::RingInUse(ring("red")?)));
    for absent in ["red", "default"] {
        same!(store.commit(remove(absent)?).await, Err(StoreError::Conflict), "{absent}, which nobody made");
    }
    store.commit(insert_rings(instance(1), &["red", "blue"])?).await?;
    store.commit([in_ring(1, "red")?, in_ring(2, "red")?].concat()).await?;
    same!(store.commit(remove("red")?).await, in_use()?, "a ring with two keys");

    let first = store.key(instance(1), key_id(1)).await?.ok_or_else(|| lost("the first key"))?;
    let blue = ring("blue")?;
    let first = next(&first, |key| key.ring = blue);
    store.commit(vec![Change::UpdateKey { key: first.clone() }]).await?;
    let first = next(&first, |key| key.name = "renamed".to_owned());
    store.commit(vec![Change::UpdateKey { key: first.clone() }]).await?;
    same!(store.commit(remove("red")?).await, in_use()?, "a ring with one key left");
    let last = Change::RemoveKey { instance: instance(1), key: key_id(2), revision: 1 };
    let wrong_way = [remove("red")?, vec![last.clone()]].concat();
    same!(store.commit(wrong_way).await, in_use()?, "the ring before its key");
    store.commit([vec![last], remove("red")?].concat()).await?;
    same!(store.ring(instance(1), &ring("red")?).await?, None, "the ring");

    let (blue, home) = (ring("blue")?, ring("default")?);
    same!(store.commit(remove("blue")?).await, Err(StoreError::RingInUse(blue.clone())), "where the first went");
    let leaves = Change::UpdateKey { key: next(&first, |key| key.ring = home) };
    let and_another_comes = [vec![leaves.clone()], in_ring(3, "blue")?, remove("blue")?].concat();
    same!(store.commit(and_another_comes).await, Err(StoreError::RingInUse(blue)), "one leaves and one comes");
    store.commit([vec![leaves], remove("blue")?].concat()).await?;
    same!(store.rings(instance(1)).await?, vec![], "the rings");

    // Made again, it is as empty as it looks.
    store.commit(insert_rings(instance(1), &["red"])?).await?;
    store.commit(remove("red")?).await?;
    Ok(())
}

/// Of a key that comes into a ring and the removal of the ring at the same time, one is done and the other refused.
pub async fn a_ring_never_goes_from_under_a_key(store: Arc<dyn KeyStore>) -> Verdict {
    for number in 0..20 {
        store.commit(insert_rings(instance(1), &["red"])?).await?;
        let commit = |batch: Batch| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(batch).await })
        };
        let (comes, goes) = (commit(in_ring(number, "red")?), commit(remove("red")?));
        let outcomes = (joined(comes.await)?, joined(goes.await)?);
        if outcomes == (Ok(()), Err(StoreError::RingInUse(ring("red")?))) {
            let gone = Change::RemoveKey { instance: instance(1), key: key_id(number), revision: 1 };
            store.commit([vec![gone], remove("red")?].concat()).await?;
        } else {
            let wanted = (Err(StoreError::RingMissing(ring("red")?)), Ok(()));
            same!(outcomes, wanted, "a key that comes and its ring that goes, round {number}");
        }
    }
    Ok(())
}

fn joined<T>(outcome: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    outcome.map_err(|error| Failure { detail: format!("a caller did not end: {error}") })
}

fn lost(what: &str) -> Failure {
    Failure { detail: format!("{what} is not there") }
}

fn in_ring(number: u32, name: &str) -> Result<Batch, Failure> {
    let (mut key, version) = super::samples::key(instance(1), number, keygate_core::key::KeyKind::Root);
    key.ring = ring(name)?;
    Ok(vec![Change::InsertKey { key, version }])
}

fn remove(name: &str) -> Result<Batch, Failure> {
    Ok(vec![Change::RemoveRing { instance: instance(1), ring: ring(name)? }])
}
