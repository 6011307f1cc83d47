//! What an instance has one of: its policies, its import token.

use std::sync::Arc;

use keygate_core::policy::InstancePolicies;
use keygate_core::store::{Change, KeyStore, StoreError};

use super::samples::{import_token, insert, instance, policies};
use super::{Verdict, same};

/// None at first, then those that were written last, whole; each write builds on the one before.
pub async fn policies_are_written_whole_and_compared(store: Arc<dyn KeyStore>) -> Verdict {
    let put =
        |policies: &InstancePolicies| vec![Change::PutPolicies { instance: instance(1), policies: policies.clone() }];
    same!(*store.policies(instance(1)).await?, InstancePolicies::default(), "before any were written");
    let (first, mut second) = (policies(1), policies(2));
    second.policies.truncate(2);
    same!(store.commit(put(&second)).await, Err(StoreError::Conflict), "the second before the first");
    store.commit(put(&first)).await?;
    same!(*store.policies(instance(1)).await?, first, "the first");
    for stale in [&first, &policies(0), &policies(3), &policies(u64::MAX)] {
        let outcome = store.commit(put(stale)).await;
        same!(outcome, Err(StoreError::Conflict), "revision {} over revision 1", stale.revision);
    }
    store.commit(put(&second)).await?;
    same!(*store.policies(instance(1)).await?, second, "the second");
    same!(*store.policies(instance(2)).await?, InstancePolicies::default(), "those of another instance");

    let none = InstancePolicies { policies: vec![], revision: 3 };
    store.commit([put(&none), put(&policies(4))].concat()).await?;
    same!(*store.policies(instance(1)).await?, policies(4), "after two writes in a batch");
    Ok(())
}

/// As a part of a batch that is refused they are not written.
pub async fn settings_of_a_refused_batch_are_not_written(store: Arc<dyn KeyStore>) -> Verdict {
    let (_, key) = insert(instance(1), 1, &[])?;
    store.commit(key.clone()).await?;
    let mut batch = vec![
        Change::PutPolicies { instance: instance(1), policies: policies(1) },
        Change::PutImportToken { token: import_token(instance(1), 1) },
    ];
    batch.extend(key);
    same!(store.commit(batch).await, Err(StoreError::Conflict), "the batch");
    same!(*store.policies(instance(1)).await?, InstancePolicies::default(), "the policies");
    same!(store.import_token(instance(1)).await?, None, "the import token");
    Ok(())
}

/// An import token is there when one was written, and each write builds on the one before.
pub async fn an_import_token_is_compared(store: Arc<dyn KeyStore>) -> Verdict {
    let put = |revision| vec![Change::PutImportToken { token: import_token(instance(1), revision) }];
    same!(store.import_token(instance(1)).await?, None, "before one was written");
    for early in [0, 2] {
        same!(store.commit(put(early)).await, Err(StoreError::Conflict), "revision {early} as the first");
    }
    store.commit(put(1)).await?;
    same!(store.import_token(instance(1)).await?, Some(import_token(instance(1), 1)), "the first");
    for stale in [0, 1, 3] {
        same!(store.commit(put(stale)).await, Err(StoreError::Conflict), "revision {stale} over revision 1");
    }
    store.commit(put(2)).await?;
    same!(store.import_token(instance(1)).await?, Some(import_token(instance(1), 2)), "the second");
    same!(store.import_token(instance(2)).await?, None, "that of another instance");
    Ok(())
}
