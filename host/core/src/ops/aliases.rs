//! `POST` and `DELETE /keys/{id}/aliases/{alias}`: names for keys.

use crate::access::Action;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{Alias, KeySelector};
use crate::key::{Key, KeyAlias, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::{Change, StoreError};

/// Gives a key one more alias. Returns the key as it is now, its alias, and whether that is new: an alias that the key has
/// already stays as it is.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, `KEY_NOT_FOUND_ERR`, `KEY_DELETED_ERR`, `KEY_ALIAS_QUOTA_ERR`, `KEY_ALIAS_NOT_UNIQUE_ERR`,
/// and what chain, store and audit log fail with.
pub async fn create(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    alias: &str,
) -> Result<(Key, KeyAlias, bool), Error> {
    gateway
        .run(cx, Ask::key(Action::CreateAlias, selector), async |admitted: Admitted| {
            let alias = parse(alias)?;
            let key = admitted.key()?;
            state::check(KeyAction::AddAlias, key)?;
            let done = Done::new(()).about(key).asked("alias", &alias);
            if let Some(given) = key.aliases.iter().find(|given| given.alias == alias) {
                return Ok(done.map(|()| (key.clone(), given.clone(), false)));
            }
            let given = KeyAlias { alias, given: Stamp { at: admitted.now, by: cx.principal.id.clone() } };
            let named = add(gateway, &admitted, key, given.clone()).await?;
            Ok(done.map(|()| (named, given, true)))
        })
        .await
}

async fn add(gateway: &Gateway, admitted: &Admitted, key: &Key, given: KeyAlias) -> Result<Key, Error> {
    let most = gateway.limits.aliases_per_key;
    if key.aliases.len() >= most {
        let text = format!("A key has at most {most} aliases; delete one that is not needed");
        return Err(Reason::new(ReasonCode::AliasQuota, text).path("alias").into());
    }
    let mut aliases = key.aliases.clone();
    aliases.push(given);
    let named = Key { aliases, updated_at: admitted.now, revision: key.revision + 1, ..key.clone() };
    match gateway.store.commit(vec![Change::UpdateKey { key: admitted.as_stored(named.clone()) }]).await {
        Ok(()) => Ok(named),
        Err(StoreError::AliasTaken(alias)) => {
            let text = format!("The alias '{alias}' is already associated with a key in the instance");
            Err(Reason::new(ReasonCode::AliasNotUnique, text).path("alias").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes an alias from a key. A deleted key can lose its aliases too: that frees them for other keys before the purge does.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`; `ALIAS_NOT_FOUND_ERR` when the key does not have it, or is not there itself
/// (`api-v2: DELETE /keys/{id}/aliases/{alias}` knows no other 404 of a key); and what chain, store and audit log fail
/// with.
pub async fn delete(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector, alias: &str) -> Result<(), Error> {
    gateway
        .run(cx, Ask::key(Action::DeleteAlias, selector), async |admitted: Admitted| {
            let alias = parse(alias)?;
            let missing = || {
                let text = format!("The key does not have the alias '{alias}', or there is no such key");
                Error::from(Reason::new(ReasonCode::AliasNotFound, text).path("alias"))
            };
            let key = admitted.key().map_err(|_| missing())?;
            let aliases: Vec<_> = key.aliases.iter().filter(|given| given.alias != alias).cloned().collect();
            if aliases.len() == key.aliases.len() {
                return Err(missing());
            }
            let without = Key { aliases, updated_at: admitted.now, revision: key.revision + 1, ..key.clone() };
            gateway.store.commit(vec![Change::UpdateKey { key: admitted.as_stored(without) }]).await?;
            Ok(Done::new(()).about(key).asked("alias", &alias))
        })
        .await
}

fn parse(alias: &str) -> Result<Alias, Error> {
    Alias::parse(alias).map_err(|rule| {
        Reason::new(ReasonCode::InvalidPathParam, format!("The path_param 'alias' is wrong: {rule}"))
            .path("alias")
            .into()
    })
}
