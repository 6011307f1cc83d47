//! The two contracts that a plugin can fulfil, seen alike: what loading and sandboxes need to know of each.

use std::future::Future;

use keygate_core::backend::BackendDescription;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::{convert, crypto, policy};
use crate::host::log::tidy;
use crate::sandbox::State;

/// What a rule says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleDescription {
    /// What it is called.
    pub(crate) name: String,
    /// Its own version.
    pub(crate) version: String,
    /// The IAM actions that it wants to be asked about, `*` at the end for a prefix; empty for all.
    pub(crate) actions: Vec<String>,
}

/// Settings that a plugin refused, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsRefused {
    pub(crate) path: String,
    pub(crate) message: String,
}

impl SettingsRefused {
    fn new(path: &str, message: &str) -> Self {
        Self { path: tidy(path, 256), message: tidy(message, 1_024) }
    }
}

/// What `configure` came to.
type Configured = wasmtime::Result<Result<(), SettingsRefused>>;

/// The contract of one kind of plugin.
pub(crate) trait Contract: Sized + Send + Sync + 'static {
    /// The interface that it exports, without its version.
    const EXPORT: &'static str;
    /// The version of it that this host knows.
    const VERSION: &'static str = "0.1.0";
    /// The text of its WIT.
    const WIT: &'static str;

    /// A component that is linked and looked through, ready to be instantiated.
    type Ready: Send + Sync;
    /// An instance of it.
    type Guest: Send + Sync;
    /// What it says it is.
    type Description: Clone + Send + Sync;

    /// The functions that it has.
    fn functions() -> Vec<&'static str> {
        let lines = Self::WIT.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        lines.filter_map(|line| line.split_once(": func(")).map(|(name, _)| name).collect()
    }

    /// Looks a linked component through for what it must export.
    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready>;

    /// Instantiates.
    fn instantiate(
        ready: &Self::Ready,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Self::Guest>> + Send;

    /// The guest in an instance that was made in another way.
    fn guest(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self::Guest>;

    /// Calls `configure`.
    fn configure(
        guest: &Self::Guest,
        store: &mut Store<State>,
        settings: &str,
    ) -> impl Future<Output = Configured> + Send;

    /// Calls `describe`. The inner error says which bound the answer breaks.
    fn describe(
        guest: &Self::Guest,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Description, String>>> + Send;
}

/// `keygate:crypto/backend`.
pub(crate) struct BackendContract;

impl Contract for BackendContract {
    const EXPORT: &'static str = "keygate:crypto/backend";
    const WIT: &'static str = include_str!("../../../wit/crypto/backend.wit");
    type Ready = crypto::BackendGuestPre<State>;
    type Guest = crypto::BackendGuest;
    type Description = BackendDescription;

    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready> {
        crypto::BackendGuestPre::new(pre)
    }

    async fn instantiate(ready: &Self::Ready, store: &mut Store<State>) -> wasmtime::Result<Self::Guest> {
        ready.instantiate_async(store).await
    }

    fn guest(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self::Guest> {
        crypto::BackendGuest::new(store, instance)
    }

    async fn configure(guest: &Self::Guest, store: &mut Store<State>, settings: &str) -> Configured {
        let answer = guest.keygate_crypto_backend().call_configure(store, settings).await?;
        Ok(answer.map_err(|e| SettingsRefused::new(&e.path, &e.message)))
    }

    async fn describe(
        guest: &Self::Guest,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<Self::Description, String>> {
        Ok(convert::backend_description(guest.keygate_crypto_backend().call_describe(store).await?))
    }
}

/// `keygate:policy/rule`.
pub(crate) struct RuleContract;

impl Contract for RuleContract {
    const EXPORT: &'static str = "keygate:policy/rule";
    const WIT: &'static str = include_str!("../../../wit/policy/rule.wit");
    type Ready = policy::RuleGuestPre<State>;
    type Guest = policy::RuleGuest;
    type Description = RuleDescription;

    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready> {
        policy::RuleGuestPre::new(pre)
    }

    async fn instantiate(ready: &Self::Ready, store: &mut Store<State>) -> wasmtime::Result<Self::Guest> {
        ready.instantiate_async(store).await
    }

    fn guest(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self::Guest> {
        policy::RuleGuest::new(store, instance)
    }

    async fn configure(guest: &Self::Guest, store: &mut Store<State>, settings: &str) -> Configured {
        let answer = guest.keygate_policy_rule().call_configure(store, settings).await?;
        Ok(answer.map_err(|e| SettingsRefused::new(&e.path, &e.message)))
    }

    async fn describe(
        guest: &Self::Guest,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<Self::Description, String>> {
        Ok(convert::rule_description(guest.keygate_policy_rule().call_describe(store).await?))
    }
}
