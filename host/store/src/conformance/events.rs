//! Events that adopters have not acknowledged yet.

use std::sync::Arc;

use keygate_core::registration::{LifecycleEvent, LifecycleKind};
use keygate_core::store::{Change, KeyStore, PageRequest, StoreError};

use super::samples::{EVERYTHING, crn, event, event_id, insert, instance, key_id};
use super::{Verdict, same};

/// An event is there from its insertion to its acknowledgement, once.
pub async fn an_event_is_there_until_it_is_acknowledged(store: Arc<dyn KeyStore>) -> Verdict {
    let event = event(instance(1), 5, 1, 100, crn("storage", "bucket")?);
    let (insertion, removal) = (inserted(&event), removed(5));
    same!(store.commit(insertion.clone()).await, Err(StoreError::Conflict), "an event of no key");
    store.commit(insert(instance(1), 1, &[])?.1).await?;
    same!(store.commit(removal.clone()).await, Err(StoreError::Conflict), "to remove what is not there");
    store.commit(insertion.clone()).await?;
    same!(store.event(instance(1), event_id(5)).await?, Some(event.clone()), "the event");
    same!(store.event(instance(2), event_id(5)).await?, None, "in another instance");
    let mut other = event;
    other.key = key_id(2);
    store.commit(insert(instance(1), 2, &[])?.1).await?;
    for again in [insertion.clone(), inserted(&other)] {
        same!(store.commit(again).await, Err(StoreError::Conflict), "an id again");
    }
    store.commit(removal.clone()).await?;
    same!(store.event(instance(1), event_id(5)).await?, None, "the event, acknowledged");
    for key in [None, Some(key_id(1))] {
        same!(store.events(instance(1), key, EVERYTHING).await?.total, 0, "the events of {key:?}");
    }
    same!(store.commit(removal.clone()).await, Err(StoreError::Conflict), "acknowledged again");
    store.commit([insertion, removal].concat()).await?;
    same!(store.events(instance(1), None, EVERYTHING).await?.total, 0, "what comes and goes in a batch");
    Ok(())
}

/// Oldest first, of one key or of all, in pages; every kind comes back.
pub async fn events_come_oldest_first(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    for key in [None, Some(key_id(1)), Some(key_id(2)), Some(key_id(9))] {
        let wanted: Vec<&LifecycleEvent> = all.iter().filter(|event| key.is_none_or(|key| key == event.key)).collect();
        for (offset, limit) in [(0, usize::MAX), (0, 1), (2, 3), (wanted.len(), 4), (0, 0)] {
            let page = store.events(instance(1), key, PageRequest { offset, limit }).await?;
            let part: Vec<&LifecycleEvent> = wanted.iter().copied().skip(offset).take(limit).collect();
            same!(page.items.iter().collect::<Vec<_>>(), part, "those of {key:?} from {offset}, {limit} at most");
            same!(page.total, wanted.len(), "the total of {key:?} from {offset}, {limit} at most");
        }
    }
    Ok(())
}

/// With a key go its events, and nobody else's.
pub async fn a_removed_key_takes_its_events_with_it(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let late = event(instance(1), 99, 2, 1, crn("storage", "bucket")?);
    let mine: Vec<&LifecycleEvent> = all.iter().filter(|event| event.key == key_id(2)).collect();
    let acknowledged = Change::RemoveEvent { instance: instance(1), event: mine[0].id };
    let gone = Change::RemoveKey { instance: instance(1), key: key_id(2), revision: 1 };
    store.commit([inserted(&late), vec![acknowledged, gone]].concat()).await?;
    let left: Vec<LifecycleEvent> = all.iter().filter(|event| event.key != key_id(2)).cloned().collect();
    same!(store.events(instance(1), None, EVERYTHING).await?.items, left, "the events");
    same!(store.events(instance(1), Some(key_id(2)), EVERYTHING).await?.total, 0, "those of the key");
    for event in mine.into_iter().chain([&late]) {
        same!(store.event(instance(1), event.id).await?, None, "an event of the key that is gone");
    }
    same!(store.events(instance(2), None, EVERYTHING).await?.total, 1, "those of another instance");
    Ok(())
}

fn inserted(event: &LifecycleEvent) -> Vec<Change> {
    vec![Change::InsertEvent { event: event.clone() }]
}

fn removed(number: u32) -> Vec<Change> {
    vec![Change::RemoveEvent { instance: instance(1), event: event_id(number) }]
}

/// Events of two keys, some at the same time, oldest first. Another instance has one, too.
async fn varied(store: &Arc<dyn KeyStore>) -> Result<Vec<LifecycleEvent>, super::Failure> {
    let mut all = Vec::new();
    for number in [1, 2] {
        store.commit(insert(instance(1), number, &[])?.1).await?;
    }
    for (number, kind) in (0..).zip(LifecycleKind::ALL.into_iter().cycle()).take(24) {
        let (key, ms) = (1 + number % 2, u64::from(number * 5 % 7) * 1000);
        let event =
            LifecycleEvent { kind, ..event(instance(1), number, key, ms, crn("storage", &format!("b-{number}"))?) };
        store.commit(inserted(&event)).await?;
        all.push(event);
    }
    store.commit(insert(instance(2), 2, &[])?.1).await?;
    store.commit(inserted(&event(instance(2), 3, 2, 0, crn("storage", "bucket")?))).await?;
    all.sort_by_key(|event| (event.at, event.id));
    Ok(all)
}
