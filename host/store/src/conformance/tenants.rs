//! Instances themselves, those that were provisioned, and which may use which crypto instance.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::ids::InstanceId;
use keygate_core::instance::{Authorization, Binding, ProvisionedInstance, Records};
use keygate_core::key::Stamp;
use keygate_core::store::{Change, KeyStore, StoreError};

use super::samples::{import_token, insert, instance, policies};
use super::{Verdict, same};

fn stamp(at: u64) -> Stamp {
    Stamp { at: Timestamp::from_unix_ms(at), by: format!("IBMid-{at}") }
}

/// A provisioned instance; odd ones are bound to a backend, even ones to a crypto instance.
fn provisioned(number: u8, revision: u64) -> ProvisionedInstance {
    let binding = if number % 2 == 1 { Binding::Backend("software".to_owned()) } else { Binding::Crypto(instance(99)) };
    ProvisionedInstance {
        id: instance(number),
        name: format!("instance {number}, {revision}"),
        region: "us-south".to_owned(),
        account: "acme".to_owned(),
        binding,
        created: stamp(1),
        updated: stamp(revision),
        revision,
    }
}

fn put(number: u8, revision: u64) -> Vec<Change> {
    vec![Change::PutInstance { instance: provisioned(number, revision) }]
}

fn authorization(source: u8, target: u8) -> Authorization {
    Authorization { source: instance(source), target: instance(target), created: stamp(5) }
}

fn given(source: u8, target: u8) -> Vec<Change> {
    vec![Change::InsertAuthorization { authorization: authorization(source, target) }]
}

fn remove(id: InstanceId, revision: u64) -> Vec<Change> {
    vec![Change::RemoveInstance { instance: id, revision }]
}

/// Instances come back whole and by id, and each write builds on the one before.
pub async fn instances_are_compared(store: Arc<dyn KeyStore>) -> Verdict {
    same!(store.instances().await?, Records::default(), "before any were made");
    same!(store.commit(put(1, 2)).await, Err(StoreError::Conflict), "the second before the first");
    for number in [2, 1] {
        store.commit(put(number, 1)).await?;
    }
    let all = |first, second| Records { instances: vec![first, second], authorizations: Vec::new() };
    same!(store.instances().await?, all(provisioned(1, 1), provisioned(2, 1)), "two");
    for stale in [0, 1, 3] {
        same!(store.commit(put(1, stale)).await, Err(StoreError::Conflict), "revision {stale} over revision 1");
    }
    store.commit(put(1, 2)).await?;
    same!(store.instances().await?, all(provisioned(1, 2), provisioned(2, 1)), "one of them changed");
    same!(store.commit([put(2, 2), put(1, 2)].concat()).await, Err(StoreError::Conflict), "a batch that is refused");
    same!(store.instances().await?, all(provisioned(1, 2), provisioned(2, 1)), "after that");
    Ok(())
}

/// One with a key stays; one that goes takes all with it that it had, and nothing of another's.
pub async fn an_instance_goes_only_without_keys(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, inserted) = insert(instance(1), 1, &[])?;
    let require = |number| Change::RequireInstance { instance: instance(number) };
    let with_key = [vec![require(1)], inserted].concat();
    same!(store.commit(with_key.clone()).await, Err(StoreError::Conflict), "a key before its instance");
    for number in [1, 3] {
        let settings = vec![
            Change::PutPolicies { instance: instance(number), policies: policies(1) },
            Change::PutImportToken { token: import_token(instance(number), 1) },
        ];
        store.commit([put(number, 1), settings, given(number, 98), given(number, 99)].concat()).await?;
    }
    store.commit(with_key.clone()).await?;
    same!(store.commit(remove(instance(1), 1)).await, Err(StoreError::InstanceInUse(1)), "with a key");
    store.commit(vec![Change::RemoveKey { instance: instance(1), key: key.id, revision: 1 }]).await?;
    for wrong in [0, 2] {
        same!(store.commit(remove(instance(1), wrong)).await, Err(StoreError::Conflict), "revision {wrong}");
    }
    store.commit(remove(instance(1), 1)).await?;
    let authorizations = vec![authorization(3, 98), authorization(3, 99)];
    same!(store.instances().await?, Records { instances: vec![provisioned(3, 1)], authorizations }, "what is left");
    same!(store.policies(instance(1)).await?.policies.len(), 0, "its policies");
    same!(store.import_token(instance(1)).await?, None, "its import token");
    same!(*store.policies(instance(3)).await?, policies(1), "another's policies");
    same!(store.commit(remove(instance(1), 1)).await, Err(StoreError::Conflict), "once more");
    same!(store.commit(with_key).await, Err(StoreError::Conflict), "a key after its instance");
    Ok(())
}

/// An authorization is given once and taken once.
pub async fn authorizations_come_and_go(store: Arc<dyn KeyStore>) -> Verdict {
    let take =
        |source, target| vec![Change::RemoveAuthorization { source: instance(source), target: instance(target) }];
    same!(store.commit(take(1, 9)).await, Err(StoreError::Conflict), "one that is not there");
    store.commit([given(2, 9), given(1, 9), given(1, 8)].concat()).await?;
    same!(store.commit(given(1, 9)).await, Err(StoreError::Conflict), "the same again");
    let all = vec![authorization(1, 8), authorization(1, 9), authorization(2, 9)];
    same!(store.instances().await?.authorizations, all, "by source and target");
    store.commit(take(1, 9)).await?;
    same!(store.instances().await?.authorizations, vec![authorization(1, 8), authorization(2, 9)], "without one");
    Ok(())
}
