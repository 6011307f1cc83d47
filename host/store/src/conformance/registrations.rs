//! Registrations: by key, by resource, by ring.

use std::sync::Arc;

use keygate_core::crn::CrnQuery;
use keygate_core::registration::{Registration, RegistrationState};
use keygate_core::store::{Change, KeyStore, PageRequest, RegistrationFilter, StoreError};

use super::samples::{
    EVERYTHING, at, crn, insert, insert_rings, instance, key_id, next, registration, ring, stamp, version_id,
};
use super::{Failure, Verdict, same};

/// Every field survives, and each write builds on the one before.
pub async fn a_registration_is_compared(store: Arc<dyn KeyStore>) -> Verdict {
    let first = registration(instance(1), 1, crn("storage", "bucket")?);
    same!(store.commit(put(&first)).await, Err(StoreError::Conflict), "of no key");
    store.commit(insert(instance(2), 1, &[])?.1).await?;
    same!(store.commit(put(&first)).await, Err(StoreError::Conflict), "of another instance's key");
    store.commit([insert(instance(1), 1, &[])?.1, put(&first)].concat()).await?;
    same!(store.registration(instance(1), key_id(1), &first.crn).await?, Some(first.clone()), "the first");

    let second = Registration {
        created: stamp(21, 1),
        updated: stamp(22, 2),
        description: Some("Sch\u{fc}ssel".to_owned()),
        prevent_key_deletion: true,
        note: Some("for the service".to_owned()),
        version: version_id(1, 2),
        version_created_at: at(23),
        state: RegistrationState::Deactivated,
        revision: 2,
        ..first.clone()
    };
    for revision in [0, 1, 3, u64::MAX] {
        let stale = Registration { revision, ..second.clone() };
        same!(store.commit(put(&stale)).await, Err(StoreError::Conflict), "revision {revision} over revision 1");
    }
    store.commit(put(&second)).await?;
    same!(store.registration(instance(1), key_id(1), &first.crn).await?, Some(second.clone()), "the second");
    for revision in [0, 1, 3] {
        same!(
            store.commit(remove(&second, revision)).await,
            Err(StoreError::Conflict),
            "to remove revision {revision}"
        );
    }
    store.commit(remove(&second, 2)).await?;
    same!(store.registration(instance(1), key_id(1), &first.crn).await?, None, "what was removed");
    listed_as(&store, &[], &RegistrationFilter::default()).await?;
    same!(store.commit(remove(&second, 2)).await, Err(StoreError::Conflict), "to remove it again");
    store.commit(put(&first)).await.map_err(Failure::from)
}

/// By key and resource, whatever is asked; every mixture of what can be asked gives what it should.
pub async fn registrations_are_found_by_all_that_can_be_asked(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let prefix = "crn:v1:bluemix:public";
    let queries = [
        format!("{prefix}:storage:us-south:a/1:2::bucket-1"),
        format!("{prefix}:storage:us-south:a/1:2::bucket-*"),
        format!("{prefix}:storage:us-south:a/1:2:*"),
        format!("{prefix}:stor:us-south:a/1:2:*"),
        format!("{prefix}:*:us-south:a/1:2::bucket-2"),
        "crn:*:*:*:*:*:*:*:*:*".to_owned(),
    ];
    let mut resources = vec![None];
    for query in queries {
        resources.push(Some(CrnQuery::parse(&query).map_err(|rule| Failure { detail: format!("{query}: {rule}") })?));
    }
    for key in [None, Some(key_id(1)), Some(key_id(2)), Some(key_id(9))] {
        for ring in [None, Some(ring("default")?), Some(ring("red")?), Some(ring("blue")?)] {
            for resources in &resources {
                for prevent_key_deletion in [None, Some(true), Some(false)] {
                    let (ring, resources) = (ring.clone(), resources.clone());
                    let filter = RegistrationFilter { key, ring, resources, prevent_key_deletion };
                    listed_as(&store, &all, &filter).await?;
                }
            }
        }
    }
    Ok(())
}

/// A list by ring follows the key.
pub async fn registrations_move_with_their_key(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    let key = store.key(instance(1), key_id(1)).await?.ok_or_else(|| Failure { detail: "key 1 is lost".to_owned() })?;
    let red = ring("red")?;
    let before: usize = all.iter().filter(|registration| registration.key == key_id(2)).count();
    let in_red = RegistrationFilter { ring: Some(red.clone()), ..RegistrationFilter::default() };
    same!(store.registrations(instance(1), &in_red, EVERYTHING).await?.total, before, "in the ring before");
    let of_key = all.iter().filter(|registration| registration.key == key.id).count();
    store.commit(vec![Change::UpdateKey { key: next(&key, |key| key.ring = red) }]).await?;
    same!(store.registrations(instance(1), &in_red, EVERYTHING).await?.total, before + of_key, "in the ring after");
    Ok(())
}

/// With a key go its registrations, and nobody else's.
pub async fn a_removed_key_takes_its_registrations_with_it(store: Arc<dyn KeyStore>) -> Verdict {
    let all = varied(&store).await?;
    // In the batch that removes the key, one registration comes and one goes first.
    let late = registration(instance(1), 2, crn("late", "x")?);
    let mine: Vec<&Registration> = all.iter().filter(|registration| registration.key == key_id(2)).collect();
    let gone = Change::RemoveKey { instance: instance(1), key: key_id(2), revision: 1 };
    store.commit([put(&late), remove(mine[0], 1), vec![gone]].concat()).await?;
    let left: Vec<Registration> = all.iter().filter(|registration| registration.key != key_id(2)).cloned().collect();
    listed_as(&store, &left, &RegistrationFilter::default()).await?;
    let everywhere = CrnQuery::parse("crn:v1:*:*:*:*:*:*:*:*").map_err(|rule| Failure { detail: rule.to_owned() })?;
    let by_resource = RegistrationFilter { resources: Some(everywhere), ..RegistrationFilter::default() };
    listed_as(&store, &left, &by_resource).await?;
    for registration in mine.into_iter().chain([&late]) {
        let found = store.registration(instance(1), key_id(2), &registration.crn).await?;
        same!(found, None, "a registration of the key that is gone");
    }
    let neighbour = store.registrations(instance(2), &RegistrationFilter::default(), EVERYTHING).await?;
    same!(neighbour.total, 1, "the registrations of another instance");

    store.commit(insert(instance(1), 2, &[])?.1).await?;
    let of_new = RegistrationFilter { key: Some(key_id(2)), ..RegistrationFilter::default() };
    same!(store.registrations(instance(1), &of_new, EVERYTHING).await?.total, 0, "those of the key made again");
    Ok(())
}

fn put(registration: &Registration) -> Vec<Change> {
    vec![Change::PutRegistration { registration: registration.clone() }]
}

fn remove(registration: &Registration, revision: u64) -> Vec<Change> {
    let Registration { instance, key, crn, .. } = registration.clone();
    vec![Change::RemoveRegistration { instance, key, crn, revision }]
}

/// Registrations of three keys in two rings, by key and resource. Another instance has one, too, for the same resource.
async fn varied(store: &Arc<dyn KeyStore>) -> Result<Vec<Registration>, Failure> {
    store.commit(insert_rings(instance(1), &["red", "blue"])?).await?;
    let mut all = Vec::new();
    for number in [1, 2, 3] {
        let (mut key, version) = super::samples::key(instance(1), number, keygate_core::key::KeyKind::Root);
        if number == 2 {
            key.ring = ring("red")?;
        }
        store.commit(vec![Change::InsertKey { key, version }]).await?;
        // Neither made in order, nor all of one length: as long as there are.
        let long = "r".repeat(1900);
        for (place, resource) in ["bucket-2", "bucket-1", "Bucket", long.as_str()].into_iter().enumerate() {
            for service in ["storage", "stor", "db"] {
                let mut registration = registration(instance(1), number, crn(service, resource)?);
                registration.prevent_key_deletion = (place + number as usize).is_multiple_of(3);
                registration.description = Some(format!("{service} {place}"));
                store.commit(put(&registration)).await?;
                all.push(registration);
            }
        }
    }
    store.commit(insert(instance(2), 2, &[])?.1).await?;
    store.commit(put(&registration(instance(2), 2, crn("storage", "bucket-1")?))).await?;
    all.sort_by(|a, b| (a.key, &a.crn).cmp(&(b.key, &b.crn)));
    Ok(all)
}

async fn listed_as(store: &Arc<dyn KeyStore>, all: &[Registration], filter: &RegistrationFilter) -> Verdict {
    let RegistrationFilter { key, ring, resources, prevent_key_deletion } = filter;
    let mut wanted = Vec::new();
    for registration in all {
        let ring_of = store.key(instance(1), registration.key).await?.map(|key| key.ring);
        if key.is_none_or(|key| key == registration.key)
            && (ring.is_none() || *ring == ring_of)
            && resources.as_ref().is_none_or(|query| query.matches(&registration.crn))
            && prevent_key_deletion.is_none_or(|wanted| wanted == registration.prevent_key_deletion)
        {
            wanted.push(registration.clone());
        }
    }
    for (offset, limit) in [(0, usize::MAX), (0, 2), (1, 3), (wanted.len(), 1), (0, 0)] {
        let page = store.registrations(instance(1), filter, PageRequest { offset, limit }).await?;
        let part: Vec<Registration> = wanted.iter().skip(offset).take(limit).cloned().collect();
        same!(page.items, part, "those of {filter:?} from {offset}, {limit} at most");
        same!(page.total, wanted.len(), "the total of {filter:?} from {offset}, {limit} at most");
    }
    Ok(())
}
