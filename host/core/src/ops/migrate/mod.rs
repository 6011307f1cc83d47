//! Moving the keys of an instance from one backend to another, while it is in use: asked for, looked at and stopped by
//! requests in here, done by the [`Runner`] in the background.
//!
//! A key version is moved in three steps, each of which can be done again when the one after it fails. First its material
//! comes to the other backend, sealed so that only the two can open it, and that backend shows that it has the right one: it
//! opens a sample that the first one has just wrapped. Then the version's record names the other backend, and where the
//! material was before. Much later, when no call can need it there any more, it is destroyed there, and the record
//! forgets the place. So at every moment the record names a place where the material is, and a gateway that dies in
//! between leaves at worst material in two places and a record that names them both, or one that the next try finds or makes
//! anew.

mod run;
mod tend;
mod transfer;

pub use run::{Runner, Step};

use crate::access::Action;
use crate::backend::{BackendDescription, BackendKey, Call, KeyIdentity};
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{InstanceId, MigrationId};
use crate::key::Stamp;
use crate::migration::{Counts, Migration, MigrationState, Stay, Transport};
use crate::pipeline::{Administered, Gateway, RequestContext};
use crate::store::{Change, Page, PageRequest, StoreError};

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The backend that the keys leave.
    pub from: String,
    /// The backend that they go to. The instance makes new keys there already.
    pub to: String,
}

/// The backends of this gateway, by name, with what each says it is.
///
/// # Errors
/// What chain and audit log fail with.
pub async fn backends(gateway: &Gateway, cx: &RequestContext) -> Result<Vec<(String, BackendDescription)>, Error> {
    gateway
        .administer(cx, Action::ListBackends, async || {
            let named = gateway.backends.names().into_iter().filter_map(|name| {
                let description = gateway.backends.backend(&name)?.description().clone();
                Some((name, description))
            });
            Administered { outcome: Ok(named.collect()), facts: Vec::new() }
        })
        .await
}

/// Begins a migration, or goes on with one of the same route that was stopped. One that runs already is left alone and
/// told of.
///
/// # Errors
/// `INSTANCE_NOT_FOUND_ERR`, `BACKEND_NOT_FOUND_ERR`, `INVALID_FIELD_ERR` where both are the same, `INSTANCE_NOT_BOUND_ERR`
/// while the instance makes new keys elsewhere, `MIGRATION_UNDER_WAY_ERR` while another one runs, and what chain, store and
/// audit log fail with.
pub async fn start(
    gateway: &Gateway,
    cx: &RequestContext,
    instance: Result<InstanceId, Error>,
    route: Result<Route, Error>,
) -> Result<Migration, Error> {
    gateway
        .administer(cx, Action::Migrate, async || {
            let (instance, route) = match (instance, route) {
                (Ok(instance), Ok(route)) => (instance, route),
                (Err(error), _) | (_, Err(error)) => return Administered { outcome: Err(error), facts: Vec::new() },
            };
            let facts =
                vec![("instanceId", instance.to_string()), ("from", route.from.clone()), ("to", route.to.clone())];
            Administered { outcome: begin(gateway, cx, instance, route).await, facts }
        })
        .await
}

async fn begin(gateway: &Gateway, cx: &RequestContext, instance: InstanceId, route: Route) -> Result<Migration, Error> {
    check(gateway, instance, &route)?;
    let now = gateway.clock.now();
    let before = gateway.store.migration(instance).await?;
    let is_same = |before: &Migration| (&before.from, &before.to) == (&route.from, &route.to);
    let revision = before.as_ref().map_or(0, |before| before.revision) + 1;
    let replaced = before.clone();
    let migration = match before {
        Some(before) if before.state == MigrationState::Running && is_same(&before) => return Ok(before),
        Some(before) if before.state == MigrationState::Running => {
            return Err(Error::refused(
                ReasonCode::MigrationUnderWay,
                format!(
                    "Migration {} from `{}` to `{}` is under way; stop it, or wait for its end",
                    before.id, before.from, before.to
                ),
            ));
        }
        Some(before) if before.state == MigrationState::Stopped && is_same(&before) => Migration {
            state: MigrationState::Running,
            ended_at: None,
            waiting: None,
            // Asked for anew: the token may have been replaced, which is a reason to stop and begin again.
            transport: Transport::Unasked,
            updated_at: now,
            revision,
            ..before
        },
        _ => Migration {
            id: MigrationId::generate(gateway.entropy.as_ref())?,
            instance,
            from: route.from,
            to: route.to,
            state: MigrationState::Running,
            started: Stamp { at: now, by: cx.principal.id.clone() },
            ended_at: None,
            transport: Transport::Unasked,
            pass: 1,
            pass_at: now,
            cursor: None,
            counts: Counts { keys: run::count_keys(gateway, instance).await?, ..Counts::default() },
            waiting: None,
            updated_at: now,
            revision,
        },
    };
    put(gateway, &migration).await?;
    if let Some(replaced) = replaced {
        discard_transport(gateway, &replaced).await;
    }
    Ok(migration)
}

/// Destroys the transport key of a migration that needs it no more. One that cannot be destroyed is waste, not danger: it opens
/// what was sealed to it, and nobody kept that.
async fn discard_transport(gateway: &Gateway, migration: &Migration) {
    if let (Transport::Key { key, reference, .. }, Ok(to)) = (&migration.transport, gateway.backend(&migration.to)) {
        let request_id = migration.id.to_string();
        let call = Call { request_id: &request_id, timeout: None };
        let identity = KeyIdentity { instance: migration.instance, key: *key, version: key.first_version() };
        let _ = to.destroy_key(call, BackendKey { identity, reference }).await;
    }
}

/// Whether these are two backends, and new keys go to the second one already: or there would be no end.
fn check(gateway: &Gateway, instance: InstanceId, Route { from, to }: &Route) -> Result<(), Error> {
    let Some(instance) = gateway.instances.get(instance) else {
        return Err(Reason::new(ReasonCode::InstanceNotFound, "There is no instance with this id").path("id").into());
    };
    if from == to {
        return Err(Reason::new(ReasonCode::InvalidField, "`from` and `to` are the same backend").field("to").into());
    }
    let names = gateway.backends.names();
    for (field, name) in [("from", from), ("to", to)] {
        if !names.contains(name) {
            let text = format!("There is no backend `{name}`; there are {}", names.join(", "));
            return Err(Reason::new(ReasonCode::BackendNotFound, text).field(field).into());
        }
    }
    if instance.backend != *to {
        return Err(Error::refused(
            ReasonCode::InstanceNotBound,
            format!(
                "The instance makes new keys on `{}`; bind it to `{to}` first: `keygate instance bind`, or \
                 backend = \"{to}\" in its [[instances]] entry and a reload",
                instance.backend
            ),
        ));
    }
    gateway.may_use_backend(&instance)
}

async fn put(gateway: &Gateway, migration: &Migration) -> Result<(), StoreError> {
    gateway.store.commit(vec![Change::PutMigration { migration: migration.clone() }]).await
}

/// A migration, and a part of what stayed behind in it: the last one of the instance, or the one of this id if that is the
/// last.
///
/// # Errors
/// `INSTANCE_NOT_FOUND_ERR`, `MIGRATION_NOT_FOUND_ERR`, and what chain, store and audit log fail with.
pub async fn read(
    gateway: &Gateway,
    cx: &RequestContext,
    instance: Result<InstanceId, Error>,
    id: Option<Result<MigrationId, Error>>,
    page: Result<PageRequest, Error>,
) -> Result<(Migration, Page<Stay>), Error> {
    gateway
        .administer(cx, Action::ReadMigration, async || {
            let look = async {
                let (instance, page) = (instance?, page?);
                let found = find(gateway, instance, id.transpose()?).await?;
                let stays = gateway.store.stays(instance, page).await?;
                Ok((found, stays))
            };
            Administered { outcome: look.await, facts: Vec::new() }
        })
        .await
}

/// Stops a migration. What was moved stays moved; the key that is at work is finished.
///
/// # Errors
/// `INSTANCE_NOT_FOUND_ERR`, `MIGRATION_NOT_FOUND_ERR`, `CONFLICT_ERR` while the runner keeps getting in first, and what chain,
/// store and audit log fail with.
pub async fn stop(
    gateway: &Gateway,
    cx: &RequestContext,
    instance: Result<InstanceId, Error>,
    id: Result<MigrationId, Error>,
) -> Result<Migration, Error> {
    gateway
        .administer(cx, Action::StopMigration, async || {
            let halt = async { halt(gateway, instance?, id?).await };
            Administered { outcome: halt.await, facts: Vec::new() }
        })
        .await
}

/// How often the runner may get in first.
const ATTEMPTS: usize = 16;

async fn halt(gateway: &Gateway, instance: InstanceId, id: MigrationId) -> Result<Migration, Error> {
    for _ in 0..ATTEMPTS {
        let found = find(gateway, instance, Some(id)).await?;
        if found.state != MigrationState::Running {
            return Ok(found);
        }
        let now = gateway.clock.now();
        let stopped = Migration {
            state: MigrationState::Stopped,
            ended_at: Some(now),
            waiting: None,
            updated_at: now,
            revision: found.revision + 1,
            ..found
        };
        match put(gateway, &stopped).await {
            Err(StoreError::Conflict) => {}
            outcome => return Ok(outcome.map(|()| stopped)?),
        }
    }
    Err(StoreError::Conflict.into())
}

async fn find(gateway: &Gateway, instance: InstanceId, id: Option<MigrationId>) -> Result<Migration, Error> {
    if gateway.instances.get(instance).is_none() {
        return Err(Reason::new(ReasonCode::InstanceNotFound, "There is no instance with this id").path("id").into());
    }
    let found = gateway.store.migration(instance).await?.filter(|found| id.is_none_or(|id| id == found.id));
    found.ok_or_else(|| {
        let text = match id {
            Some(_) => "There is no such migration of this instance; only its last one is kept",
            None => "No key of this instance was ever moved to another backend",
        };
        Error::refused(ReasonCode::MigrationNotFound, text)
    })
}
