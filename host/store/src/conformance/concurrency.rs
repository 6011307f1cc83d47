//! Many callers at a time. These need tokio, and find more with several threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keygate_core::key::Key;
use keygate_core::store::{Change, KeyFilter, KeyStore, Sort, StoreError, StoreResult};
use tokio::task::{JoinHandle, yield_now};

use super::samples::{EVERYTHING, alias, all_keys, insert, insert_rings, instance, key_id, next, ring};
use super::{Failure, Verdict, same};

/// Of many updates of one revision one is done, and the others are conflicts; round after round.
pub async fn one_of_many_updates_of_a_revision_wins(store: Arc<dyn KeyStore>) -> Verdict {
    let (mut key, batch) = insert(instance(1), 1, &[])?;
    store.commit(batch).await?;
    for round in 0..5 {
        let updates = (0..24).map(|caller| {
            let key = next(&key, |key| key.name = format!("round {round}, caller {caller}"));
            commit(&store, vec![Change::UpdateKey { key }])
        });
        let outcomes = all(updates.collect()).await?;
        let winners: Vec<usize> = (0..outcomes.len()).filter(|caller| outcomes[*caller].is_ok()).collect();
        same!(winners.len(), 1, "how many won round {round}");
        for (caller, outcome) in outcomes.iter().enumerate().filter(|(caller, _)| *caller != winners[0]) {
            same!(*outcome, Err(StoreError::Conflict), "what caller {caller} heard in round {round}");
        }
        key = next(&key, |key| key.name = format!("round {round}, caller {}", winners[0]));
        same!(store.key(key.instance, key.id).await?, Some(key.clone()), "the key after round {round}");
    }
    Ok(())
}

/// Of many keys that want an alias one gets it, and the others are not made.
pub async fn one_of_many_keys_gets_an_alias(store: Arc<dyn KeyStore>) -> Verdict {
    let mut calls = Vec::new();
    for number in 0..24 {
        calls.push(commit(&store, insert(instance(1), number, &["wanted"])?.1));
    }
    let outcomes = all(calls).await?;
    let winners: Vec<usize> = (0..outcomes.len()).filter(|number| outcomes[*number].is_ok()).collect();
    same!(winners.len(), 1, "how many got it");
    let wanted = alias("wanted")?;
    for (number, outcome) in outcomes.iter().enumerate().filter(|(number, _)| *number != winners[0]) {
        same!(*outcome, Err(StoreError::AliasTaken(wanted.clone())), "what key {number} heard");
    }
    let owner = store.key_by_alias(instance(1), &wanted).await?.map(|key| key.id);
    same!(owner, Some(key_id(winners[0] as u32)), "whose it is");
    same!(store.count(instance(1), &KeyFilter::default()).await?, 1, "how many keys there are");
    Ok(())
}

/// Nothing that was acknowledged is missing, and each is there as soon as it was acknowledged.
pub async fn many_commits_all_land(store: Arc<dyn KeyStore>) -> Verdict {
    const CALLERS: u32 = 16;
    const EACH: u32 = 20;
    let callers = (0..CALLERS).map(|caller| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in caller * EACH..(caller + 1) * EACH {
                let (key, batch) = insert(instance(1), number, &[&format!("key-{number}")])?;
                store.commit(batch).await?;
                same!(store.key(key.instance, key.id).await?, Some(key), "key {number}, when it was acknowledged");
            }
            Ok::<_, Failure>(())
        })
    });
    for verdict in all(callers.collect()).await? {
        verdict?;
    }
    let keys = all_keys(&store, instance(1)).await?;
    let wanted: Vec<String> = (0..CALLERS * EACH).map(|number| format!("key {number}")).collect();
    same!(keys.into_iter().map(|key| key.name).collect::<Vec<_>>(), wanted, "the list");
    Ok(())
}

/// While batches rename two keys together, no list shows two names.
pub async fn a_reader_never_sees_half_a_batch(store: Arc<dyn KeyStore>) -> Verdict {
    let (mut one, mut batch) = insert(instance(1), 1, &[])?;
    let (mut two, second) = insert(instance(1), 2, &[])?;
    batch.extend(second);
    store.commit(batch).await?;

    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Acquire) {
                let keys = all_keys(&store, instance(1)).await?;
                let revisions: Vec<u64> = keys.iter().map(|key| key.revision).collect();
                let first = revisions.first().copied().unwrap_or_default();
                same!(revisions, vec![first; 2], "the revisions of two keys that change together");
                yield_now().await;
            }
            Ok::<_, Failure>(())
        })
    };
    let mut outcome = Ok(());
    for _ in 0..50 {
        (one, two) = (next(&one, |_| {}), next(&two, |_| {}));
        outcome =
            store.commit(vec![Change::UpdateKey { key: one.clone() }, Change::UpdateKey { key: two.clone() }]).await;
        if outcome.is_err() {
            break;
        }
    }
    done.store(true, Ordering::Release);
    for verdict in all(vec![reader]).await? {
        verdict?;
    }
    Ok(outcome?)
}

/// While batches exchange the rings of two keys, each ring always has one of them: in every list and in every count.
pub async fn a_list_never_shows_half_a_batch(store: Arc<dyn KeyStore>) -> Verdict {
    store.commit(insert_rings(instance(1), &["red", "blue"])?).await?;
    let (mut one, batch) = insert(instance(1), 1, &[])?;
    store.commit(batch).await?;
    let (mut two, batch) = insert(instance(1), 2, &[])?;
    store.commit(batch).await?;
    let (red, blue) = (ring("red")?, ring("blue")?);
    (one, two) = (next(&one, |key| key.ring = red.clone()), next(&two, |key| key.ring = blue.clone()));
    let both =
        |one: &Key, two: &Key| vec![Change::UpdateKey { key: one.clone() }, Change::UpdateKey { key: two.clone() }];
    store.commit(both(&one, &two)).await?;

    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        let filter = KeyFilter { ring: Some(red), ..KeyFilter::default() };
        let sorts = [Sort::default(), Sort::parse("-state").map_err(|detail| Failure { detail })?];
        tokio::spawn(async move {
            while !done.load(Ordering::Acquire) {
                for sort in &sorts {
                    let keys = store.keys(instance(1), &filter, sort, EVERYTHING).await?;
                    same!(keys.len(), 1, "how many keys are in a ring that always has one");
                    same!(Some(&keys[0].ring), filter.ring.as_ref(), "the ring of a key in the list of a ring");
                }
                same!(store.count(instance(1), &filter).await?, 1, "the count of a ring that always has one key");
                yield_now().await;
            }
            Ok::<_, Failure>(())
        })
    };
    let mut outcome = Ok(());
    for _ in 0..100 {
        let rings = (one.ring.clone(), two.ring.clone());
        (one, two) = (next(&one, |key| key.ring = rings.1), next(&two, |key| key.ring = rings.0));
        outcome = store.commit(both(&one, &two)).await;
        if outcome.is_err() {
            break;
        }
    }
    done.store(true, Ordering::Release);
    for verdict in all(vec![reader]).await? {
        verdict?;
    }
    Ok(outcome?)
}

fn commit(store: &Arc<dyn KeyStore>, batch: Vec<Change>) -> JoinHandle<StoreResult<()>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.commit(batch).await })
}

async fn all<T>(calls: Vec<impl Future<Output = Result<T, tokio::task::JoinError>>>) -> Result<Vec<T>, Failure> {
    let mut outcomes = Vec::new();
    for call in calls {
        let outcome = call.await;
        outcomes.push(outcome.map_err(|error| Failure { detail: format!("a caller did not end: {error}") })?);
    }
    Ok(outcomes)
}
