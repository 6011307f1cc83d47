//! Aliases: one key each, in its instance.

use std::sync::Arc;

use keygate_core::key::KeyAlias;
use keygate_core::store::{Change, KeyStore, StoreError};

use super::samples::{alias, insert, instance, next, stamp};
use super::{Verdict, same};

/// An alias finds its key as it is now.
pub async fn an_alias_leads_to_its_key(store: Arc<dyn KeyStore>) -> Verdict {
    let (key, batch) = insert(instance(1), 1, &["mine", "too"])?;
    store.commit(batch).await?;
    let key = next(&key, |key| key.name = "renamed".to_owned());
    store.commit(vec![Change::UpdateKey { key: key.clone() }]).await?;
    for name in ["mine", "too"] {
        same!(store.key_by_alias(key.instance, &alias(name)?).await?, Some(key.clone()), "{name}");
    }
    same!(store.key_by_alias(key.instance, &alias("min")?).await?, None, "the beginning of an alias");
    same!(store.key_by_alias(key.instance, &alias("mine2")?).await?, None, "more than an alias");
    Ok(())
}

/// Neither an insertion nor an update gets an alias that another key has.
pub async fn an_alias_has_one_key(store: Arc<dyn KeyStore>) -> Verdict {
    let (owner, batch) = insert(instance(1), 1, &["mine"])?;
    store.commit(batch).await?;
    let taken = Err(StoreError::AliasTaken(alias("mine")?));

    let (refused, batch) = insert(instance(1), 2, &["free", "mine"])?;
    same!(store.commit(batch).await, taken, "an insertion");
    same!(store.key(refused.instance, refused.id).await?, None, "the key that was refused");
    same!(store.key_by_alias(refused.instance, &alias("free")?).await?, None, "its free alias");

    let (other, batch) = insert(instance(1), 3, &["hers"])?;
    store.commit(batch).await?;
    let wants = next(&other, |key| key.aliases.clone_from(&owner.aliases));
    same!(store.commit(vec![Change::UpdateKey { key: wants }]).await, taken, "an update");
    same!(store.key_by_alias(other.instance, &alias("hers")?).await?, Some(other.clone()), "the alias it had");
    same!(store.key_by_alias(owner.instance, &alias("mine")?).await?, Some(owner.clone()), "the owner");
    Ok(())
}

/// What an update leaves out is free for another key in a later batch; what it keeps is not.
pub async fn an_update_frees_what_it_leaves_out(store: Arc<dyn KeyStore>) -> Verdict {
    let (first, batch) = insert(instance(1), 1, &["kept", "freed"])?;
    store.commit(batch).await?;
    let first = next(&first, |key| key.aliases.truncate(1));
    store.commit(vec![Change::UpdateKey { key: first.clone() }]).await?;
    same!(store.key_by_alias(first.instance, &alias("freed")?).await?, None, "the alias left out");

    let (second, batch) = insert(instance(1), 2, &["freed"])?;
    store.commit(batch).await?;
    same!(store.key_by_alias(first.instance, &alias("freed")?).await?, Some(second), "its new owner");
    let (_, batch) = insert(instance(1), 3, &["kept"])?;
    same!(store.commit(batch).await, Err(StoreError::AliasTaken(alias("kept")?)), "the alias kept");

    // Back again, now that somebody else has it.
    let gone = alias("freed")?;
    let wants = next(&first, |key| key.aliases.push(KeyAlias { alias: gone.clone(), given: stamp(1, 1) }));
    let outcome = store.commit(vec![Change::UpdateKey { key: wants }]).await;
    same!(outcome, Err(StoreError::AliasTaken(gone)), "the alias left out, wanted back");
    same!(store.key_by_alias(first.instance, &alias("kept")?).await?, Some(first), "the first key");
    Ok(())
}

/// In one batch an alias goes from one key to another when the first gives it up before the second takes it, and not
/// the other way round: changes are done in their order.
pub async fn an_alias_moves_within_a_batch_when_it_is_freed_first(store: Arc<dyn KeyStore>) -> Verdict {
    let (from, batch) = insert(instance(1), 1, &["moving"])?;
    store.commit(batch).await?;
    let (to, batch) = insert(instance(1), 2, &[])?;
    store.commit(batch).await?;
    let from_after = next(&from, |key| key.aliases.clear());
    let to_after = next(&to, |key| key.aliases.clone_from(&from.aliases));
    let frees = Change::UpdateKey { key: from_after.clone() };
    let takes = Change::UpdateKey { key: to_after.clone() };

    let outcome = store.commit(vec![takes.clone(), frees.clone()]).await;
    same!(outcome, Err(StoreError::AliasTaken(alias("moving")?)), "taken before it is free");
    same!(store.key_by_alias(from.instance, &alias("moving")?).await?, Some(from.clone()), "where it was");
    same!(store.key(to.instance, to.id).await?, Some(to), "the one that was to have it");

    store.commit(vec![frees, takes]).await?;
    same!(store.key_by_alias(from.instance, &alias("moving")?).await?, Some(to_after), "where it went");
    same!(store.key(from.instance, from.id).await?, Some(from_after), "the one that had it");
    Ok(())
}

/// `Mine` and `mine` are two aliases.
pub async fn aliases_differ_in_case(store: Arc<dyn KeyStore>) -> Verdict {
    let (lower, batch) = insert(instance(1), 1, &["mine"])?;
    store.commit(batch).await?;
    let (upper, batch) = insert(instance(1), 2, &["Mine"])?;
    store.commit(batch).await?;
    same!(store.key_by_alias(lower.instance, &alias("mine")?).await?, Some(lower), "mine");
    same!(store.key_by_alias(upper.instance, &alias("Mine")?).await?, Some(upper), "Mine");
    Ok(())
}
