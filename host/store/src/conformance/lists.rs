//! Lists: filters, order, pages and counts.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::key::{Key, KeyKind, KeyState};
use keygate_core::store::{Change, KeyFilter, KeyStore, PageRequest};

use super::samples::{EVERYTHING, insert, instance, key, next, ring};
use super::{Failure, Verdict, same};

/// By id, whatever the order in which they came.
pub async fn keys_come_by_id(store: Arc<dyn KeyStore>) -> Verdict {
    for number in [5, 300, 1, 70_000, 2] {
        store.commit(insert(instance(1), number, &[])?.1).await?;
    }
    let page = store.keys(instance(1), &KeyFilter::default(), EVERYTHING).await?;
    let names: Vec<&str> = page.items.iter().map(|key| key.name.as_str()).collect();
    same!(names, vec!["key 1", "key 2", "key 5", "key 300", "key 70000"], "the list");
    Ok(())
}

/// Offset and limit cut out a part; the total stays.
pub async fn a_list_comes_in_pages(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let filter = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let root = KeyFilter { kind: Some(KeyKind::Root), ..filter.clone() };
    for filter in [&filter, &root] {
        let wanted: Vec<&Key> = all.iter().filter(|key| filter.matches(key)).collect();
        let count = wanted.len();
        for (offset, limit) in
            [(0, usize::MAX), (0, 1), (1, 7), (count - 1, 7), (count, 7), (count + 9, 7), (0, 0), (5, 0)]
        {
            let page = store.keys(instance(1), filter, PageRequest { offset, limit }).await?;
            let part: Vec<&Key> = wanted.iter().copied().skip(offset).take(limit).collect();
            same!(page.items.iter().collect::<Vec<_>>(), part, "from {offset}, {limit} at most");
            same!(page.total, count, "the total, from {offset}, {limit} at most");
        }
    }
    Ok(())
}

/// Every mixture of states, kind, ring and instant gives what [`KeyFilter::matches`] says, in lists and in counts.
pub async fn a_filter_takes_states_kind_and_ring_together(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let states =
        [vec![], vec![KeyState::Active], vec![KeyState::Suspended, KeyState::Destroyed], KeyState::ALL.to_vec()];
    let kinds = [None, Some(KeyKind::Root), Some(KeyKind::Standard)];
    let rings = [None, Some(ring("default")?), Some(ring("other")?), Some(ring("oth")?), Some(ring("nobody")?)];
    for states in states {
        for kind in kinds {
            for ring in &rings {
                for at in [Timestamp::default(), before(END), END, after(END)] {
                    let filter = KeyFilter { states: states.clone(), kind, ring: ring.clone(), at };
                    let wanted: Vec<&Key> = all.iter().filter(|key| filter.matches(key)).collect();
                    let page = store.keys(instance(1), &filter, EVERYTHING).await?;
                    same!(page.items.iter().collect::<Vec<_>>(), wanted, "the list of {filter:?}");
                    same!(page.total, wanted.len(), "the total of {filter:?}");
                    same!(store.count(instance(1), &filter).await?, wanted.len(), "the count of {filter:?}");
                }
            }
        }
    }
    Ok(())
}

/// An Active key whose time has come is found among the Deactivated ones from that instant on, and among the Active
/// ones before. It comes as it was stored: to store its new state is the caller's business.
pub async fn an_expired_key_counts_as_deactivated(store: Arc<dyn KeyStore>) -> Verdict {
    let (mut key, version) = key(instance(1), 1, KeyKind::Root);
    key.expires_at = Some(END);
    store.commit(vec![Change::InsertKey { key: key.clone(), version }]).await?;
    let (never, batch) = insert(instance(1), 2, &[])?;
    store.commit(batch).await?;
    let (active, deactivated) = (KeyState::Active, KeyState::Deactivated);
    for (at, state, wanted) in [
        (before(END), active, vec![&key, &never]),
        (before(END), deactivated, vec![]),
        (END, active, vec![&never]),
        (END, deactivated, vec![&key]),
        (after(END), active, vec![&never]),
        (after(END), deactivated, vec![&key]),
    ] {
        found_in(&store, state, at, &wanted).await?;
    }
    Ok(())
}

/// Time ends nothing but what is Active.
pub async fn a_key_that_is_not_active_does_not_expire(store: Arc<dyn KeyStore>) -> Verdict {
    for (number, state) in (0..).zip(KeyState::ALL).filter(|(_, state)| *state != KeyState::Active) {
        let (mut key, version) = key(instance(1), number, KeyKind::Root);
        (key.state, key.expires_at) = (state, Some(END));
        store.commit(vec![Change::InsertKey { key: key.clone(), version }]).await?;
        for at in [before(END), END, after(END)] {
            found_in(&store, state, at, &[&key]).await?;
            found_in(&store, KeyState::Active, at, &[]).await?;
        }
    }
    Ok(())
}

/// Lists follow updates of when a key expires, and of the state that this ends.
pub async fn an_update_moves_the_instant_at_which_a_key_expires(store: Arc<dyn KeyStore>) -> Verdict {
    let (active, deactivated) = (KeyState::Active, KeyState::Deactivated);
    let (mut now, batch) = insert(instance(1), 1, &[])?;
    store.commit(batch).await?;
    found_in(&store, active, after(END), &[&now]).await?;
    for (state, expires_at, found) in [
        (active, Some(END), deactivated),
        (active, Some(after(after(END))), active),
        (active, None, active),
        (active, Some(before(END)), deactivated),
        (KeyState::Suspended, Some(before(END)), KeyState::Suspended),
        (deactivated, Some(before(END)), deactivated),
    ] {
        now = next(&now, |key| (key.state, key.expires_at) = (state, expires_at));
        store.commit(vec![Change::UpdateKey { key: now.clone() }]).await?;
        for state in KeyState::ALL {
            let wanted = if state == found { vec![&now] } else { vec![] };
            found_in(&store, state, after(END), &wanted).await?;
        }
    }
    Ok(())
}

/// When the keys of this suite expire that do.
const END: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn before(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms() - 1)
}

fn after(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms() + 1)
}

/// Checks which keys are in a state at an instant, in the list and in the count.
async fn found_in(store: &Arc<dyn KeyStore>, state: KeyState, at: Timestamp, wanted: &[&Key]) -> Verdict {
    let filter = KeyFilter { states: vec![state], at, ..KeyFilter::default() };
    let page = store.keys(instance(1), &filter, EVERYTHING).await?;
    same!(page.items.iter().collect::<Vec<_>>(), wanted, "what is {state:?} at {at}");
    same!(page.total, wanted.len(), "the total of what is {state:?} at {at}");
    same!(store.count(instance(1), &filter).await?, wanted.len(), "the count of what is {state:?} at {at}");
    Ok(())
}

/// Lists follow updates of what they filter by.
pub async fn an_update_moves_a_key_from_one_filter_to_another(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &[])?;
    store.commit(batch).await?;
    let active = KeyFilter { states: vec![KeyState::Active], ..KeyFilter::default() };
    let suspended = KeyFilter { states: vec![KeyState::Suspended], ..KeyFilter::default() };
    let in_other = KeyFilter { ring: Some(ring("other")?), ..KeyFilter::default() };
    for (filter, wanted) in [(&active, 1), (&suspended, 0), (&in_other, 0)] {
        same!(store.count(instance(1), filter).await?, wanted, "{filter:?} before");
    }
    let other = ring("other")?;
    let key = next(&key, |key| (key.state, key.ring) = (KeyState::Suspended, other));
    store.commit(vec![Change::UpdateKey { key: key.clone() }]).await?;
    for (filter, wanted) in [(&active, 0), (&suspended, 1), (&in_other, 1)] {
        same!(store.count(instance(1), filter).await?, wanted, "{filter:?} after");
    }
    let page = store.keys(instance(1), &in_other, EVERYTHING).await?;
    same!(page.items, vec![key], "the list after");
    Ok(())
}

/// All but Destroyed.
pub async fn the_default_filter_leaves_out_deleted_keys(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let page = store.keys(instance(1), &KeyFilter::default(), EVERYTHING).await?;
    let wanted: Vec<&Key> = all.iter().filter(|key| key.state != KeyState::Destroyed).collect();
    same!(page.items.iter().collect::<Vec<_>>(), wanted, "the list");
    Ok(())
}

/// Keys of every state, kind and of three rings, half of which expire, by id. Other instances have some, too.
async fn varied(store: &Arc<dyn KeyStore>) -> Result<Vec<Key>, Failure> {
    let mut all = Vec::new();
    let mut batch = Vec::new();
    let rings = [ring("default")?, ring("other")?, ring("other-2")?];
    for number in 0..60_u32 {
        let kind = if number % 2 == 0 { KeyKind::Root } else { KeyKind::Standard };
        let (mut key, version) = key(instance(1), number, kind);
        key.state = KeyState::ALL[(number / 2 % 5) as usize];
        key.ring = rings[(number / 10 % 3) as usize].clone();
        key.expires_at = (number >= 30).then_some(END);
        all.push(key.clone());
        batch.push(Change::InsertKey { key, version });
    }
    for neighbour in [0, 2] {
        batch.extend(insert(instance(neighbour), 7, &[])?.1);
    }
    store.commit(batch).await?;
    Ok(all)
}
