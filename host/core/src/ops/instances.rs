//! Instances themselves, and which may use which crypto instance: for those who look after the gateway.
//!
//! What the configuration has is not changed here. What was provisioned is in the store; a change is committed there first,
//! and shown to requests right after.

use std::sync::Arc;

use super::import_tokens;
use super::input::Problems;
use crate::access::Action;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::InstanceId;
use crate::instance::{Authorization, Binding, CryptoInstance, Instance, ProvisionedInstance};
use crate::key::Stamp;
use crate::pipeline::{Administered, Gateway, RequestContext};
use crate::store::{Change, StoreError};

/// How many instances can be provisioned.
const MOST: usize = 10_000;
/// The longest name, in bytes.
const MAX_NAME: usize = 240;
/// The longest region or account, in bytes.
const MAX_PART: usize = 64;

/// What to provision.
#[derive(Clone, Debug)]
pub struct NewInstance {
    /// 1 to 240 bytes.
    pub name: String,
    /// Letters, digits, `-` and `_`; at most 64.
    pub region: String,
    /// The same.
    pub account: String,
    /// What it makes its keys on.
    pub binding: Binding,
}

/// What to change of a provisioned instance. `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct InstanceChange {
    /// 1 to 240 bytes.
    pub name: Option<String>,
    /// What new keys are made on. Keys that are there stay where they are, until they are migrated.
    pub binding: Option<Binding>,
}

/// An instance, and where it comes from.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// The instance as requests see it.
    pub instance: Arc<Instance>,
    /// Its record, where it was provisioned. Otherwise it is the configuration's.
    pub record: Option<Arc<ProvisionedInstance>>,
    /// Whether it may use the crypto instance that it is bound to. `None` where it is bound to none.
    pub authorized: Option<bool>,
}

fn view(gateway: &Gateway, instance: Arc<Instance>) -> InstanceView {
    let instances = &gateway.instances;
    let record = instances.record(instance.id).filter(|_| !instances.is_configured(instance.id));
    let authorized = instance.crypto_instance.map(|target| instances.authorization(instance.id, target).is_some());
    InstanceView { instance, record, authorized }
}

/// What came of it, with the facts for the audit log.
fn told<T>(outcome: Result<T, Error>, facts: Vec<(&'static str, String)>) -> Administered<T> {
    Administered { outcome, facts }
}

/// All instances, of both sources.
///
/// # Errors
/// What chain and audit log fail with.
pub async fn list(gateway: &Gateway, cx: &RequestContext) -> Result<Vec<InstanceView>, Error> {
    let work = async || {
        let all: Vec<_> = gateway.instances.iter().map(|instance| view(gateway, instance)).collect();
        let facts = vec![("totalResources", all.len().to_string())];
        told(Ok(all), facts)
    };
    gateway.administer(cx, Action::ListInstances, work).await
}

/// One of them.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, `INSTANCE_NOT_FOUND_ERR`, and what chain and audit log fail with.
pub async fn read(gateway: &Gateway, cx: &RequestContext, id: &str) -> Result<InstanceView, Error> {
    let work = async || told(parse(id, "id").and_then(|id| found(gateway, id)), named(id));
    gateway.administer(cx, Action::ReadInstance, work).await
}

/// Provisions an instance. It can be used when this returns.
///
/// # Errors
/// Those of the body, `INSTANCE_QUOTA_ERR`, and what chain, store and audit log fail with.
pub async fn create(
    gateway: &Gateway,
    cx: &RequestContext,
    input: Result<NewInstance, Error>,
) -> Result<InstanceView, Error> {
    let work = async || {
        let made = provision(gateway, cx, input).await;
        let facts = made.as_ref().map(facts).unwrap_or_default();
        told(made, facts)
    };
    gateway.administer(cx, Action::CreateInstance, work).await
}

async fn provision(
    gateway: &Gateway,
    cx: &RequestContext,
    input: Result<NewInstance, Error>,
) -> Result<InstanceView, Error> {
    let NewInstance { name, region, account, binding } = input?;
    let mut problems = Problems::default();
    check_name(&name, &mut problems);
    check_part("region", &region, &mut problems);
    check_part("account", &account, &mut problems);
    check_binding(gateway, &binding, &mut problems);
    problems.finish()?;
    if gateway.store.instances().await?.instances.len() >= MOST {
        let text =
            format!("There are {MOST} provisioned instances, and more there cannot be; delete one that is empty");
        return Err(Error::refused(ReasonCode::InstanceQuota, text));
    }
    let id = InstanceId::generate(gateway.entropy.as_ref())?;
    let created = stamp(gateway, cx);
    let updated = created.clone();
    let instance = ProvisionedInstance { id, name, region, account, binding, created, updated, revision: 1 };
    commit(gateway, Change::PutInstance { instance }).await?;
    found(gateway, id)
}

/// Changes the name of a provisioned instance, or what it makes its keys on.
///
/// # Errors
/// Those of the body, `INVALID_PATH_PARAM_ERR`, `INSTANCE_NOT_FOUND_ERR`, `INSTANCE_CONFIGURED_ERR`, and what chain, store
/// and audit log fail with.
pub async fn change(
    gateway: &Gateway,
    cx: &RequestContext,
    id: &str,
    input: Result<InstanceChange, Error>,
) -> Result<InstanceView, Error> {
    let work = async || {
        let changed = changed(gateway, cx, id, input).await;
        let facts = changed.as_ref().map_or_else(|_| named(id), facts);
        told(changed, facts)
    };
    gateway.administer(cx, Action::BindInstance, work).await
}

async fn changed(
    gateway: &Gateway,
    cx: &RequestContext,
    id: &str,
    input: Result<InstanceChange, Error>,
) -> Result<InstanceView, Error> {
    let record = provisioned(gateway, parse(id, "id")?)?;
    let InstanceChange { name, binding } = input?;
    let mut problems = Problems::default();
    if let Some(name) = &name {
        check_name(name, &mut problems);
    }
    if let Some(binding) = &binding {
        check_binding(gateway, binding, &mut problems);
    }
    problems.finish()?;
    let instance = ProvisionedInstance {
        name: name.unwrap_or_else(|| record.name.clone()),
        binding: binding.unwrap_or_else(|| record.binding.clone()),
        updated: stamp(gateway, cx),
        revision: record.revision + 1,
        ..(*record).clone()
    };
    commit(gateway, Change::PutInstance { instance }).await?;
    found(gateway, record.id)
}

/// Deletes a provisioned instance that has no keys, with its rings, policies and authorizations.
///
/// # Errors
/// `INSTANCE_NOT_EMPTY_ERR` with the count, `INVALID_PATH_PARAM_ERR`, `INSTANCE_NOT_FOUND_ERR`, `INSTANCE_CONFIGURED_ERR`,
/// and what chain, store and audit log fail with.
pub async fn delete(gateway: &Gateway, cx: &RequestContext, id: &str) -> Result<(), Error> {
    let work = async || {
        let deleted = async {
            let record = provisioned(gateway, parse(id, "id")?)?;
            let token = gateway.store.import_token(record.id).await?;
            commit(gateway, Change::RemoveInstance { instance: record.id, revision: record.revision }).await?;
            if let Some(token) = token {
                import_tokens::destroy(gateway, cx.call(), &token).await;
            }
            Ok(())
        };
        told(deleted.await, named(id))
    };
    gateway.administer(cx, Action::DeleteInstance, work).await
}

/// All authorizations.
///
/// # Errors
/// What chain and audit log fail with.
pub async fn authorizations(gateway: &Gateway, cx: &RequestContext) -> Result<Vec<Arc<Authorization>>, Error> {
    let work = async || {
        let all = gateway.instances.authorizations();
        let facts = vec![("totalResources", all.len().to_string())];
        told(Ok(all), facts)
    };
    gateway.administer(cx, Action::ListAuthorizations, work).await
}

/// Lets an instance use a crypto instance. Returns the authorization, and whether it is new.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, `INSTANCE_NOT_FOUND_ERR`, `CRYPTO_INSTANCE_NOT_FOUND_ERR`, and what chain, store and audit log
/// fail with.
pub async fn authorize(
    gateway: &Gateway,
    cx: &RequestContext,
    source: &str,
    target: &str,
) -> Result<(Arc<Authorization>, bool), Error> {
    let work = async || {
        let given = async {
            let (source, target) = (parse(source, "source")?, parse(target, "target")?);
            let source = found(gateway, source)?.instance.id;
            let target = crypto(gateway, target, "target")?.id;
            let there = || gateway.instances.authorization(source, target);
            if let Some(there) = there() {
                return Ok((there, false));
            }
            let authorization = Authorization { source, target, created: stamp(gateway, cx) };
            let mut batch = vec![Change::InsertAuthorization { authorization }];
            if !gateway.instances.is_configured(source) {
                batch.push(Change::RequireInstance { instance: source });
            }
            commit_all(gateway, batch).await?;
            there().map(|given| (given, true)).ok_or_else(gone)
        };
        told(given.await, pair(source, target))
    };
    gateway.administer(cx, Action::CreateAuthorization, work).await
}

/// Takes an authorization back. From then on the instance makes and uses no keys.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, `AUTHORIZATION_NOT_FOUND_ERR`, and what chain, store and audit log fail with.
pub async fn revoke(gateway: &Gateway, cx: &RequestContext, source: &str, target: &str) -> Result<(), Error> {
    let work = async || {
        let taken = async {
            let (source, target) = (parse(source, "source")?, parse(target, "target")?);
            if gateway.instances.authorization(source, target).is_none() {
                let text = format!("The instance {source} has no authorization for the crypto instance {target}");
                return Err(Error::refused(ReasonCode::AuthorizationNotFound, text));
            }
            commit(gateway, Change::RemoveAuthorization { source, target }).await
        };
        told(taken.await, pair(source, target))
    };
    gateway.administer(cx, Action::DeleteAuthorization, work).await
}

/// All crypto instances: for who rules the whole gateway.
///
/// # Errors
/// What chain and audit log fail with.
pub async fn list_crypto(gateway: &Gateway, cx: &RequestContext) -> Result<Vec<Arc<CryptoInstance>>, Error> {
    let work = async || {
        let all = gateway.instances.crypto_instances();
        let facts = vec![("totalResources", all.len().to_string())];
        told(Ok(all), facts)
    };
    gateway.administer(cx, Action::ListCryptoInstances, work).await
}

/// The connection information of a crypto instance. Who may have it is decided by roles on the crypto instance itself.
///
/// # Errors
/// `CRYPTO_INSTANCE_NOT_FOUND_ERR`, and what chain and audit log fail with.
pub async fn read_crypto(gateway: &Gateway, cx: &RequestContext, id: &str) -> Result<Arc<CryptoInstance>, Error> {
    let parsed = parse(id, "id");
    // An id that is none is nobody's: only roles on everything are on that.
    let on = *parsed.as_ref().unwrap_or(&InstanceId::GATEWAY);
    let work = async || told(parsed.and_then(|id| crypto(gateway, id, "id")), vec![("cryptoInstanceID", cut(id))]);
    gateway.administer_on(on, cx, Action::ReadCryptoInstance, work).await
}

fn parse(text: &str, name: &str) -> Result<InstanceId, Error> {
    text.parse().map_err(|_| {
        Reason::new(ReasonCode::InvalidPathParam, "An instance is named by its id, a UUID").path(name).into()
    })
}

fn found(gateway: &Gateway, id: InstanceId) -> Result<InstanceView, Error> {
    gateway.instances.get(id).map(|instance| view(gateway, instance)).ok_or_else(gone)
}

fn gone() -> Error {
    Error::refused(ReasonCode::InstanceNotFound, "There is no instance with this id")
}

fn crypto(gateway: &Gateway, id: InstanceId, name: &str) -> Result<Arc<CryptoInstance>, Error> {
    gateway.instances.crypto_instance(id).ok_or_else(|| {
        let text = "There is no crypto instance with this id; they are the [[crypto_instances]] of the configuration";
        Reason::new(ReasonCode::CryptoInstanceNotFound, text).path(name).into()
    })
}

/// The record of an instance that may be changed.
fn provisioned(gateway: &Gateway, id: InstanceId) -> Result<Arc<ProvisionedInstance>, Error> {
    if gateway.instances.is_configured(id) {
        return Err(Error::refused(
            ReasonCode::InstanceConfigured,
            "The instance is an [[instances]] entry of the gateway's configuration; change it there, and reload",
        ));
    }
    gateway.instances.record(id).ok_or_else(gone)
}

async fn commit(gateway: &Gateway, change: Change) -> Result<(), Error> {
    commit_all(gateway, vec![change]).await
}

/// Commits, and shows everybody what there is now. A commit that may have been done without saying so is looked for, too.
async fn commit_all(gateway: &Gateway, batch: Vec<Change>) -> Result<(), Error> {
    let outcome = gateway.store.commit(batch).await;
    let shown = gateway.read_instances().await;
    match outcome {
        Ok(()) => shown,
        Err(StoreError::Conflict) => Err(Error::refused(
            ReasonCode::Conflict,
            "Another request changed the instance at the same time; look at it again and repeat what is still wanted",
        )),
        Err(error) => Err(error.into()),
    }
}

fn stamp(gateway: &Gateway, cx: &RequestContext) -> Stamp {
    Stamp { at: gateway.clock.now(), by: cx.principal.id.clone() }
}

fn check_name(name: &str, problems: &mut Problems) {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        problems.field("name", format!("`name` has 1 to {MAX_NAME} bytes, and no control characters"));
    }
}

/// They stand in CRNs, between colons.
fn check_part(name: &'static str, text: &str, problems: &mut Problems) {
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if text.is_empty() || text.len() > MAX_PART || !fits {
        problems.field(name, format!("`{name}` has 1 to {MAX_PART} letters, digits, '-' and '_'"));
    }
}

fn check_binding(gateway: &Gateway, binding: &Binding, problems: &mut Problems) {
    match binding {
        Binding::Backend(name) if gateway.backends.backend(name).is_none() => {
            let there = gateway.backends.names().join(", ");
            problems.field("backend", format!("There is no backend of this name; there are: {there}"));
        }
        // Or an authorization would be needed by nobody.
        Binding::Backend(name) if stands_for(gateway, name).is_some() => {
            let id = stands_for(gateway, name).map(|crypto| crypto.id.to_string()).unwrap_or_default();
            problems
                .field("backend", format!("This backend is the crypto instance {id}; name that as `crypto_instance`"));
        }
        Binding::Crypto(id) if gateway.instances.crypto_instance(*id).is_none() => {
            problems
                .field("crypto_instance", "There is no crypto instance with this id in the gateway's configuration");
        }
        _ => {}
    }
}

/// The crypto instance that a backend is.
fn stands_for(gateway: &Gateway, backend: &str) -> Option<Arc<CryptoInstance>> {
    gateway.instances.crypto_instances().into_iter().find(|crypto| crypto.backend == backend)
}

fn facts(view: &InstanceView) -> Vec<(&'static str, String)> {
    let Instance { id, backend, crypto_instance, .. } = &*view.instance;
    let mut facts = vec![("instanceID", id.to_string()), ("backend", backend.clone())];
    facts.extend(crypto_instance.map(|id| ("cryptoInstanceID", id.to_string())));
    facts
}

fn named(id: &str) -> Vec<(&'static str, String)> {
    vec![("instanceID", cut(id))]
}

fn pair(source: &str, target: &str) -> Vec<(&'static str, String)> {
    vec![("sourceInstanceID", cut(source)), ("cryptoInstanceID", cut(target))]
}

/// What stands in a path, for the audit log: as long as a UUID at most.
fn cut(text: &str) -> String {
    text.chars().take(36).collect()
}
