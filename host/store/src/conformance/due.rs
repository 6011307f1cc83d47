//! What comes to keys by itself.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::key::{DueKind, Key, KeyKind, KeyState};
use keygate_core::store::{Change, Due, KeyStore};

use super::samples::{at, full_key, insert, insert_rings, instance, key, next, stamp};
use super::{Verdict, same};

const LATE: Timestamp = Timestamp::from_unix_ms(u64::MAX);

/// Each kind for itself, in the order of time, instance and key; up to an instant, after another, and no more than asked.
pub async fn what_is_due_comes_in_the_order_of_time(store: Arc<dyn KeyStore>) -> Verdict {
    let mut wanted = Vec::new();
    for (place, number, ms) in [(2, 1, 20), (1, 2, 30), (1, 1, 20), (1, 3, 10), (2, 3, 10)] {
        let (mut key, version) = key(instance(place), number, KeyKind::Root);
        key.expires_at = Some(at(ms));
        wanted.push(Due { kind: DueKind::Expiry, at: at(ms), instance: key.instance, key: key.id });
        store.commit(vec![Change::InsertKey { key, version }]).await?;
    }
    let (mut deleted, version) = key(instance(1), 9, KeyKind::Root);
    (deleted.state, deleted.deletion) = (KeyState::Destroyed, Some(stamp(15, 1)));
    let purge = Due { kind: DueKind::Purge, at: at(15), instance: deleted.instance, key: deleted.id };
    store.commit(vec![Change::InsertKey { key: deleted, version }]).await?;

    wanted.sort();
    for (until, count) in [(at(0), 0), (at(9), 0), (at(10), 2), (at(19), 2), (at(20), 4), (at(30), 5), (LATE, 5)] {
        let due = store.due(DueKind::Expiry, until, None, usize::MAX).await?;
        same!(due, wanted[..count].to_vec(), "what is due by {until}");
    }
    for (position, after) in wanted.iter().enumerate() {
        for limit in [0, 1, 2, usize::MAX] {
            let due = store.due(DueKind::Expiry, LATE, Some(*after), limit).await?;
            let rest: Vec<Due> = wanted[position + 1..].iter().copied().take(limit).collect();
            same!(due, rest, "{limit} at most after {after:?}");
        }
    }
    same!(
        store.due(DueKind::Expiry, at(5), Some(wanted[4]), 9).await?,
        vec![],
        "what is due before what it comes after"
    );
    same!(store.due(DueKind::Purge, at(14), None, 9).await?, vec![], "a purge too early");
    same!(store.due(DueKind::Purge, at(15), None, 9).await?, vec![purge], "a purge");
    same!(store.due(DueKind::Lapse, LATE, None, 9).await?, vec![], "what no key waits for");
    Ok(())
}

/// What is due is what [`Key::due`] says of the keys as they are now, after every change.
pub async fn what_is_due_follows_the_keys(store: Arc<dyn KeyStore>) -> Verdict {
    store.commit(insert_rings(instance(1), &["other-ring"])?).await?;
    let (mut now, version) = full_key(instance(1), 1)?;
    store.commit(vec![Change::InsertKey { key: now.clone(), version }]).await?;
    due_as(&store, Some(&now)).await?;
    let changes: [fn(&mut Key); 7] = [
        |key| key.purging = false,
        |key| (key.state, key.deletion) = (KeyState::Active, None),
        |key| key.expires_at = Some(at(77)),
        |key| key.authorization = None,
        |key| key.state = KeyState::Suspended,
        |key| (key.state, key.expires_at, key.rotation) = (KeyState::Active, None, None),
        |key| (key.state, key.deletion) = (KeyState::Destroyed, Some(stamp(99, 1))),
    ];
    for change in changes {
        now = next(&now, change);
        store.commit(vec![Change::UpdateKey { key: now.clone() }]).await?;
        due_as(&store, Some(&now)).await?;
    }
    let remove = Change::RemoveKey { instance: now.instance, key: now.id, revision: now.revision };
    let refused = [vec![remove.clone()], insert(instance(1), 2, &[])?.1, insert(instance(1), 2, &[])?.1].concat();
    same!(store.commit(refused).await.is_err(), true, "a batch that removes the key and is refused");
    due_as(&store, Some(&now)).await?;
    store.commit(vec![remove]).await?;
    due_as(&store, None).await
}

async fn due_as(store: &Arc<dyn KeyStore>, key: Option<&Key>) -> Verdict {
    for kind in DueKind::ALL {
        let mut wanted = Vec::new();
        if let Some(key) = key {
            let of_kind = key.due().into_iter().filter(|(of, _)| *of == kind);
            wanted.extend(of_kind.map(|(kind, at)| Due { kind, at, instance: key.instance, key: key.id }));
        }
        same!(store.due(kind, LATE, None, 9).await?, wanted, "{kind:?} of {key:?}");
    }
    Ok(())
}
