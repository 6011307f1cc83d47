//! The use cases on fakes of all ports, with a clock that the test moves.

mod administer;
mod aliases;
mod common;
mod crypto;
mod dual_auth;
mod events;
mod import_tokens;
mod instance_policies;
mod instances;
mod life;
mod lifecycle;
mod list;
mod migrate;
mod model;
mod obligations;
mod order;
mod policies;
mod purge;
mod registrations;
mod rings;
mod sequences;
mod states;
mod threads;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::create::{CreateKey, Created};
use super::material::Material;
use super::{create, rotate, wrap};
use crate::access::question::Question;
use crate::access::{Decision, Network, Principal, PrincipalKind, Verdict};
use crate::clock::Timestamp;
use crate::error::{Error, ReasonCode};
use crate::fakes::backend::FakeBackend;
use crate::fakes::store::MemoryStore;
use crate::fakes::world::{CountingEntropy, FakeBackends, FixedClock, MemoryAudit, ScriptedGate};
use crate::ids::{InstanceId, KeyRingId, KeySelector};
use crate::import_token::ReadyPairs;
use crate::instance::{Instance, Instances};
use crate::key::{Key, KeyKind};
use crate::limits::Limits;
use crate::pipeline::{Gateway, RequestContext};
use crate::ports::{BoxFuture, PolicyGate};
use crate::secret::SecretBytes;

/// Drives a future that has nothing to wait for. The fakes never wait.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// A gateway of fakes, and handles on them.
struct World {
    gateway: Gateway,
    backend: Arc<FakeBackend>,
    gate: Arc<ScriptedGate>,
    audit: Arc<MemoryAudit>,
    clock: Arc<FixedClock>,
}

/// A chain that says yes, and takes its time: long enough for something else to happen.
struct Meanwhile<F> {
    gateway: Gateway,
    what: F,
}

impl<F: Fn(&Gateway) + Send + Sync> PolicyGate for Meanwhile<F> {
    fn decide<'a>(&'a self, _: &'a Question, _: Option<Duration>) -> BoxFuture<'a, Decision> {
        (self.what)(&self.gateway);
        Box::pin(std::future::ready(Decision { verdict: Verdict::Allow(Vec::new()), generation: 0, trail: Vec::new() }))
    }
}

const FIRST: InstanceId = InstanceId::from_bytes([1; 16]);
const SECOND: InstanceId = InstanceId::from_bytes([2; 16]);

impl World {
    fn new() -> Self {
        let backend = Arc::new(FakeBackend::new("fake"));
        let gate = Arc::new(ScriptedGate::allowing());
        let audit = Arc::new(MemoryAudit::default());
        let clock = Arc::new(FixedClock::at(Timestamp::from_unix_ms(1_790_000_000_000)));
        let instance = |id| Instance {
            id,
            name: "test".to_owned(),
            region: "us-south".to_owned(),
            account: "a".repeat(32),
            backend: "fake".to_owned(),
            crypto_instance: None,
        };
        let gateway = Gateway {
            store: Arc::new(MemoryStore::default()),
            backends: Arc::new(FakeBackends::new(vec![backend.clone()])),
            gate: gate.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            entropy: Arc::new(CountingEntropy::default()),
            instances: [instance(FIRST), instance(SECOND)].into_iter().collect::<Instances>(),
            limits: Limits::default(),
            import_keys: ReadyPairs::default(),
        };
        Self { gateway, backend, gate, audit, clock }
    }

    fn create(&self, input: CreateKey) -> Result<Created, Error> {
        block_on(create::create(&self.gateway, &cx(FIRST), false, Ok(input)))
    }

    fn root_key(&self) -> Key {
        self.create(root("k")).unwrap().key
    }

    /// A gateway on the same store and with the same handles.
    fn twin(&self) -> Gateway {
        let Gateway { store, backends, gate, audit, clock, entropy, instances, limits, .. } = &self.gateway;
        Gateway {
            store: store.clone(),
            backends: backends.clone(),
            gate: gate.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            instances: instances.clone(),
            limits: limits.clone(),
            import_keys: ReadyPairs::default(),
        }
    }

    /// A twin in which something else happens to the store after each request was allowed, and before it is worked on.
    fn meanwhile(&self, what: impl Fn(&Gateway) + Send + Sync + 'static) -> Gateway {
        Gateway { gate: Arc::new(Meanwhile { gateway: self.twin(), what }), ..self.twin() }
    }

    fn rotate(&self, key: &Key) -> Result<Key, Error> {
        block_on(rotate::rotate(&self.gateway, &cx(FIRST), &by_id(key), Ok(rotate::Rotate::default())))
    }

    fn wrap(&self, key: &Key, plaintext: &[u8], aad: &[&str]) -> Result<wrap::Wrapped, Error> {
        let input = wrap::Wrap { plaintext: Some(secret(plaintext)), aad: texts(aad) };
        block_on(wrap::wrap(&self.gateway, &cx(FIRST), &by_id(key), Ok(input)))
    }
}

fn cx(instance: InstanceId) -> RequestContext {
    RequestContext {
        correlation_id: "c0ffee".to_owned(),
        principal: Principal {
            id: "IBMid-1".to_owned(),
            name: None,
            kind: PrincipalKind::User,
            account: "a".repeat(32),
            assignments: Vec::new(),
            attributes: Vec::new(),
        },
        instance,
        ring: None,
        network: Network::default(),
        request_uri: "/api/v2/keys".to_owned(),
        timeout: None,
        flaws: Vec::new(),
    }
}

/// The same by a service of this name.
fn service(name: &str) -> RequestContext {
    let mut cx = cx(FIRST);
    cx.principal.id = format!("iam-ServiceId-{name}");
    cx.principal.kind = PrincipalKind::Service { name: name.to_owned() };
    cx
}

/// The same in a ring.
fn in_ring(ring: &str) -> RequestContext {
    RequestContext { ring: Some(KeyRingId::parse(ring).unwrap()), ..cx(FIRST) }
}

fn root(name: &str) -> CreateKey {
    CreateKey {
        name: name.to_owned(),
        description: None,
        aliases: Vec::new(),
        tags: Vec::new(),
        kind: KeyKind::Root,
        expires_at: None,
        payload: None,
        return_payload: false,
        overrides: None,
    }
}

fn by_id(key: &Key) -> KeySelector {
    KeySelector::Id(key.id)
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

/// Material in clear.
fn plain(bytes: &[u8]) -> Option<Material> {
    Some(Material::Plain(secret(bytes)))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ReasonCode {
    let error = result.expect_err("should have been refused");
    error.reason_code().unwrap_or_else(|| panic!("not a refusal: {error:?}"))
}

const HOUR: Duration = Duration::from_secs(3600);
