//! Lists: filters, order, pages and counts.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::key::{Key, KeyKind, KeyState};
use keygate_core::query::{Property, Search, Sort, parse_filter};
use keygate_core::store::{Change, KeyFilter, KeyStore, PageRequest};

use super::samples::{
    EVERYTHING, all_keys, at, given, in_order, insert, insert_rings, instance, key, next, ring, stamp,
};
use super::{Failure, Verdict, same};

/// By id, whatever the order in which they came.
pub async fn keys_come_by_id(store: Arc<dyn KeyStore>) -> Verdict {
    for number in [5, 300, 1, 70_000, 2] {
        store.commit(insert(instance(1), number, &[])?.1).await?;
    }
    let keys = all_keys(&store, instance(1)).await?;
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    same!(names, vec!["key 1", "key 2", "key 5", "key 300", "key 70000"], "the list");
    Ok(())
}

/// Offset and limit cut out a part, in every order.
pub async fn a_list_comes_in_pages(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let filter = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let root = KeyFilter { kind: Some(KeyKind::Root), ..filter.clone() };
    for filter in [&filter, &root] {
        for sort in ["id", "-id", "-state,lastRotateDate"].map(sort) {
            let sort = sort?;
            let wanted = in_order(&all, filter, &sort);
            let count = wanted.len();
            for (offset, limit) in [
                (0, usize::MAX),
                (0, 1),
                (1, 7),
                (13, 11),
                (count - 1, 7),
                (count, 7),
                (count + 9, 7),
                (usize::MAX, usize::MAX),
                (0, 0),
                (5, 0),
            ] {
                let page = store.keys(instance(1), filter, &sort, PageRequest { offset, limit }).await?;
                let part: Vec<&Key> = wanted.iter().copied().skip(offset).take(limit).collect();
                same!(page.iter().collect::<Vec<_>>(), part, "by {sort:?} from {offset}, {limit} at most");
            }
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
                    let (states, ring) = (states.clone(), ring.clone());
                    let filter = KeyFilter { states, kind, ring, at, ..KeyFilter::default() };
                    listed_as(&store, &all, &filter, &Sort::default()).await?;
                }
            }
        }
    }
    Ok(())
}

/// Every order there is, with keys that lack the dates it goes by.
pub async fn a_list_comes_in_the_order_that_is_asked(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let mut orders: Vec<String> = Property::ALL.map(|property| property.as_str().to_owned()).into();
    orders.extend(orders.clone().iter().map(|property| format!("-{property}")));
    orders.push("extractable,-state,imported,-expirationDate,lastRotateDate,id".to_owned());
    for at in [before(END), END] {
        let filter = KeyFilter { states: KeyState::ALL.to_vec(), at, ..KeyFilter::default() };
        for order in &orders {
            listed_as(&store, &all, &filter, &sort(order)?).await?;
        }
    }
    Ok(())
}

/// Names and aliases are searched as they are now, and one key can be left out.
pub async fn a_search_finds_names_and_aliases(store: Arc<dyn KeyStore>) -> Verdict {
    let mut all = varied(&store).await?;
    let gone = all.remove(0);
    store.commit(vec![Change::RemoveKey { instance: gone.instance, key: gone.id, revision: 1 }]).await?;
    let changed = next(&all[0], |key| key.name = "\u{c4}NDERUNG".to_owned());
    store.commit(vec![Change::UpdateKey { key: changed.clone() }]).await?;
    all[0] = changed;
    for text in
        ["key 1", "KEY", "exact:key 1", "not:key", "\u{e4}nderung", "alias:name-2", "name:name-2", "key 0", "nothing"]
    {
        let search = Some(Search::parse(text).map_err(|detail| Failure { detail })?);
        for except in [None, Some(all[3].id)] {
            let states = KeyState::ALL.to_vec();
            let filter = KeyFilter { states, search: search.clone(), except, ..KeyFilter::default() };
            listed_as(&store, &all, &filter, &Sort::default()).await?;
            listed_as(&store, &all, &filter, &sort("-creationDate")?).await?;
        }
    }
    Ok(())
}

/// Dates pick keys out, together with everything else.
pub async fn dates_pick_keys_out(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    for text in [
        "lastRotateDate=none",
        "expirationDate=none creationDate=gt:\"1970-01-01T00:00:00.030Z\"",
        "lastUpdateDate=lte:\"1970-01-01T00:00:02Z\"",
        "creationDate=gte:\"1970-01-01T00:00:00.007Z\" creationDate=lt:\"1970-01-01T00:00:00.019Z\" extractable=true",
        "deletionDate=\"2001-01-01T00:00:00Z\"",
    ] {
        let asked = parse_filter(text).map_err(|detail| Failure { detail })?;
        let filter = KeyFilter {
            states: asked.states.unwrap_or_else(|| KeyState::ALL.to_vec()),
            kind: asked.kind,
            conditions: asked.conditions,
            ..KeyFilter::default()
        };
        listed_as(&store, &all, &filter, &sort("-lastUpdateDate")?).await?;
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
    let keys = store.keys(instance(1), &filter, &Sort::default(), EVERYTHING).await?;
    same!(keys.iter().collect::<Vec<_>>(), wanted, "what is {state:?} at {at}");
    same!(store.count(instance(1), &filter).await?, wanted.len(), "the count of what is {state:?} at {at}");
    Ok(())
}

/// Checks that a list and its count are what a look at all the keys says, one by one.
async fn listed_as(store: &Arc<dyn KeyStore>, all: &[Key], filter: &KeyFilter, sort: &Sort) -> Verdict {
    let wanted = in_order(all, filter, sort);
    let keys = store.keys(instance(1), filter, sort, EVERYTHING).await?;
    same!(keys.iter().collect::<Vec<_>>(), wanted, "the list of {filter:?} by {sort:?}");
    same!(store.count(instance(1), filter).await?, wanted.len(), "the count of {filter:?}");
    Ok(())
}

fn sort(text: &str) -> Result<Sort, Failure> {
    Sort::parse(text).map_err(|detail| Failure { detail: format!("{text}: {detail}") })
}

/// Lists follow updates of what they filter by.
pub async fn an_update_moves_a_key_from_one_filter_to_another(store: Arc<dyn KeyStore>) -> Verdict {
    store.commit(insert_rings(instance(1), &["other"])?).await?;
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
    let keys = store.keys(instance(1), &in_other, &Sort::default(), EVERYTHING).await?;
    same!(keys, vec![key], "the list after");
    Ok(())
}

/// All but Destroyed.
pub async fn the_default_filter_leaves_out_deleted_keys(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let wanted: Vec<Key> = all.into_iter().filter(|key| key.state != KeyState::Destroyed).collect();
    same!(all_keys(&store, instance(1)).await?, wanted, "the list");
    Ok(())
}

/// Keys of every state, kind and of three rings, with dates of all sorts or without, half of which expire, by id. Other
/// instances have some, too.
async fn varied(store: &Arc<dyn KeyStore>) -> Result<Vec<Key>, Failure> {
    let mut all = Vec::new();
    let mut batch = insert_rings(instance(1), &["other", "other-2"])?;
    let rings = [ring("default")?, ring("other")?, ring("other-2")?];
    for number in 0..60_u32 {
        let kind = if number % 2 == 0 { KeyKind::Root } else { KeyKind::Standard };
        let (mut key, version) = key(instance(1), number, kind);
        key.state = KeyState::ALL[(number / 2 % 5) as usize];
        key.ring = rings[(number / 10 % 3) as usize].clone();
        key.imported = number % 3 == 0;
        key.created_at = at(u64::from(number * 7 % 60));
        key.updated_at = at(u64::from(number % 4) * 1000);
        key.rotated_at = (number % 5 < 3).then(|| at(u64::from(number % 7)));
        key.expires_at = (number >= 30).then_some(END);
        key.deletion = (key.state == KeyState::Destroyed).then(|| stamp(978_307_200_000 + u64::from(number / 20), 1));
        if number % 6 == 1 {
            key.aliases = vec![given(&format!("Name-{number}"))?, given(&format!("other-{number}"))?];
        }
        all.push(key.clone());
        batch.push(Change::InsertKey { key, version });
    }
    for neighbour in [0, 2] {
        batch.extend(insert(instance(neighbour), 7, &[])?.1);
    }
    store.commit(batch).await?;
    Ok(all)
}
