//! The one order of rooms. Every use case goes through [`Gateway::run`]: resolve, authorise, work, audit. What is
//! particular to a use case (state check, crypto, commit) is the work.
//!
//! The order is a promise. A caller without rights learns nothing: the answer is the same whether the key exists,
//! whether the body is sound, and whether the instance is known. And no answer leaves before its audit event is kept.

mod administer;
mod ask;

use std::sync::Arc;
use std::time::Duration;

pub use administer::Administered;
pub use ask::Ask;

use crate::access::obligations::Obligations;
use crate::access::question::Question;
use crate::access::{AccessRequest, Action, Decision, Network, Principal, Verdict};
use crate::audit::{AuditEvent, DecisionRecord, Initiator, Outcome, RecordedVerdict, Redirected, Severity};
use crate::backend::{Call, CryptoBackend};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{InstanceId, KeyId, KeyRingId, KeySelector};
use crate::import_token::ReadyPairs;
use crate::instance::{Instance, Instances, makes_keys};
use crate::key::{Key, KeyState};
use crate::limits::Limits;
use crate::policy::InstancePolicies;
use crate::ports::{AuditSink, Backends, Clock, Entropy, PolicyGate};
use crate::store::{KeyStore, StoreError};

/// The domain with all its doors attached.
pub struct Gateway {
    /// Where keys are kept.
    pub store: Arc<dyn KeyStore>,
    /// Who touches material.
    pub backends: Arc<dyn Backends>,
    /// Who decides.
    pub gate: Arc<dyn PolicyGate>,
    /// Who remembers.
    pub audit: Arc<dyn AuditSink>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers come from.
    pub entropy: Arc<dyn Entropy>,
    /// The tenants.
    pub instances: Instances,
    /// Timers and quotas.
    pub limits: Limits,
    /// Key pairs for import tokens, made ahead.
    pub import_keys: ReadyPairs,
}

/// What is known of a request before anybody looks at what it wants.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// To find it again: the client's, or one that was made.
    pub correlation_id: String,
    /// Who asks.
    pub principal: Principal,
    /// In which instance.
    pub instance: InstanceId,
    /// In which ring, where the request says.
    pub ring: Option<KeyRingId>,
    /// Where from.
    pub network: Network,
    /// The path, without the query.
    pub request_uri: String,
    /// How long plugins may take for this request, beside their own limits.
    pub timeout: Option<Duration>,
    /// What is wrong with the request as a whole: a header or a body that cannot be read. Told only to who may ask.
    pub flaws: Vec<Reason>,
}

impl RequestContext {
    /// The circumstances for a backend.
    pub fn call(&self) -> Call<'_> {
        Call { request_id: &self.correlation_id, timeout: self.timeout }
    }
}

/// A request that may go on.
pub struct Admitted {
    /// The one reading of the clock that the whole request uses.
    pub now: Timestamp,
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its policies.
    pub policies: Arc<InstancePolicies>,
    key: Option<Key>,
    /// The state of `key` in the store, where it may be Active still though its time has come.
    stored: KeyState,
    ring: Option<KeyRingId>,
    obligations: Obligations,
}

impl Admitted {
    /// A change of the key that leaves its state alone, as it is to be committed. That a key whose time has come becomes
    /// Deactivated is for the gateway to note, with an audit event of its own, and not for whoever changes it before.
    /// [`settle`] is the way back, for what is answered.
    #[must_use]
    pub fn as_stored(&self, changed: Key) -> Key {
        Key { state: self.stored, ..changed }
    }

    /// What the rules' allow depends on. The bound on data has been kept already.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The key that the request names.
    ///
    /// # Errors
    /// `KEY_NOT_FOUND_ERR` when there is none in this instance, and in the ring where the request names one.
    pub fn key(&self) -> Result<&Key, Error> {
        self.key.as_ref().ok_or_else(|| match &self.ring {
            Some(ring) => Error::refused(
                ReasonCode::KeyNotFound,
                format!("Key does not exist in the key ring '{ring}' of this instance"),
            ),
            None => Error::refused(ReasonCode::KeyNotFound, "Key does not exist"),
        })
    }
}

/// What came of the work, and what the audit log shall know of it.
pub struct Done<T> {
    value: T,
    key: Option<KeyId>,
    request: Vec<(&'static str, String)>,
    response: Vec<(&'static str, String)>,
}

impl<T> Done<T> {
    /// Nothing more to tell.
    pub fn new(value: T) -> Self {
        Self { value, key: None, request: Vec::new(), response: Vec::new() }
    }

    /// It was about this key.
    #[must_use]
    pub fn about(mut self, key: &Key) -> Self {
        self.key = Some(key.id);
        self.request.push(("keyType", if key.kind.is_extractable() { "standard" } else { "root" }.to_owned()));
        self.request.push(("keyRingId", key.ring.to_string()));
        self.response.push(("keyId", key.id.to_string()));
        self.response.push(("keyState", key.state.number().to_string()));
        self
    }

    /// The same, told of another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Done<U> {
        Done { value: f(self.value), key: self.key, request: self.request, response: self.response }
    }

    /// One more fact of the request.
    #[must_use]
    pub fn asked(mut self, name: &'static str, value: impl ToString) -> Self {
        self.request.push((name, value.to_string()));
        self
    }

    /// One more fact of the answer.
    #[must_use]
    pub fn tell(mut self, name: &'static str, value: impl ToString) -> Self {
        self.response.push((name, value.to_string()));
        self
    }
}

impl Gateway {
    /// Takes a request through the rooms: resolves its key, asks the chain, does `work`, and keeps the audit event.
    ///
    /// # Errors
    /// The chain's denial; what `work` fails with; `Unavailable`, with nothing done, when store or audit log cannot be
    /// reached. An audit log that fails after all turns even a success into an error (`Unrecorded`), because nobody may
    /// learn of what was not recorded.
    pub async fn run<T, F>(&self, cx: &RequestContext, ask: Ask<'_>, work: F) -> Result<T, Error>
    where
        F: AsyncFnOnce(Admitted) -> Result<Done<T>, Error>,
    {
        self.audit.reserve()?;
        let now = self.clock.now();
        let resolved = match ask.key {
            Some(selector) => self.resolve(cx, selector).await,
            None => Ok(None),
        };
        let policies = self.store.policies(cx.instance).await;
        // A store that fails is told to nobody who may not ask: the chain decides without what it holds then, and
        // whatever it says, nothing is done.
        let known = resolved.as_ref().ok().and_then(Option::as_ref).map(|key| settle(key.clone(), now));
        let key_id = known.as_ref().map(|key| key.id);
        let policies_known = policies.as_deref().unwrap_or(&NO_POLICIES);
        let question = question(cx, &ask, known.as_ref(), policies_known, now);
        let decided = self.decide(cx, ask.action, question).await;
        let permitted = permit(&decided.decision.verdict, &ask);
        let record = recorded(now, decided, &permitted);
        let admitted = match permitted {
            Ok(obligations) => self.admit(cx, &ask, obligations, resolved, policies, now),
            Err(error) => Err(error),
        };
        let outcome = match admitted {
            Ok(admitted) => work(admitted).await,
            Err(error) => Err(error),
        };
        let event = self.event(Known::of(cx), ask.action, now, Some(record), key_id, &outcome);
        match (self.audit.record(&event).await, outcome) {
            (Ok(()), outcome) => outcome.map(|done| done.value),
            (Err(lost), Ok(_)) => Err(Error::Unrecorded(lost.0)),
            (Err(lost), Err(_)) => Err(lost.into()),
        }
    }

    /// Does what comes to a key by itself, and keeps its audit event. Nobody asked, so no rule is: the key's own policy
    /// has said it all.
    ///
    /// # Errors
    /// What `work` fails with; `Unavailable`, with nothing done, when the audit log cannot be reached.
    pub async fn by_itself<T, F>(&self, action: Action, request_id: &str, key: &Key, work: F) -> Result<T, Error>
    where
        F: AsyncFnOnce(Timestamp) -> Result<Done<T>, Error>,
    {
        self.audit.reserve()?;
        let now = self.clock.now();
        let outcome = work(now).await;
        let known = Known {
            correlation_id: request_id,
            initiator: Initiator::gateway(),
            network: Network::default(),
            instance: key.instance,
            request_uri: "",
        };
        let event = self.event(known, action, now, None, Some(key.id), &outcome);
        match (self.audit.record(&event).await, outcome) {
            (Ok(()), outcome) => outcome.map(|done| done.value),
            (Err(lost), Ok(_)) => Err(Error::Unrecorded(lost.0)),
            (Err(lost), Err(_)) => Err(lost.into()),
        }
    }

    /// The backend of this name.
    ///
    /// # Errors
    /// `Unavailable` when the live generation has none of that name.
    pub fn backend(&self, name: &str) -> Result<Arc<dyn CryptoBackend>, Error> {
        self.backends.backend(name).ok_or_else(|| Error::Unavailable {
            what: format!("backend {name}"),
            detail: "no backend of this name is configured".to_owned(),
            retry_after: None,
        })
    }

    /// The key as the store has it.
    async fn resolve(&self, cx: &RequestContext, key: &KeySelector) -> Result<Option<Key>, Error> {
        let found = match key {
            KeySelector::Id(id) => self.store.key(cx.instance, *id).await?,
            KeySelector::Alias(alias) => self.store.key_by_alias(cx.instance, alias).await?,
            KeySelector::Impossible(_) => None,
        };
        Ok(found.filter(|key| cx.ring.as_ref().is_none_or(|ring| *ring == key.ring)))
    }

    /// Asks the chain. Where the rules make the key in another ring than the request says, they are asked once more, about
    /// the request as it will be carried out: or a rule of that ring would never hear of it. The second verdict counts, and
    /// an allow of the first time holds on its conditions, too.
    async fn decide(&self, cx: &RequestContext, action: Action, mut question: Question) -> Decided {
        let first = self.gate.decide(&question, cx.timeout).await;
        let Some(ring) = forced_ring(&first.verdict, action, &question) else {
            return Decided { decision: first, question, redirected: None };
        };
        let named = question.target.key_ring.replace(ring);
        let mut decision = self.gate.decide(&question, cx.timeout).await;
        if let (Verdict::Allow(all), Verdict::Allow(before)) = (&mut decision.verdict, first.verdict) {
            for obligation in before {
                if !all.contains(&obligation) {
                    all.push(obligation);
                }
            }
        }
        Decided { decision, question, redirected: Some(Redirected { named, rules: first.trail }) }
    }

    fn admit(
        &self,
        cx: &RequestContext,
        ask: &Ask<'_>,
        obligations: Obligations,
        resolved: Result<Option<Key>, Error>,
        policies: Result<Arc<InstancePolicies>, StoreError>,
        now: Timestamp,
    ) -> Result<Admitted, Error> {
        let (key, policies) = (resolved?, policies?);
        let instance = self.instances.get(cx.instance).ok_or_else(|| {
            Reason::new(ReasonCode::InstanceNotFound, "There is no instance with this id").header("Bluemix-Instance")
        })?;
        if makes_keys(ask.action) {
            self.may_use_backend(&instance)?;
        }
        if !cx.flaws.is_empty() {
            return Err(Error::Refused(cx.flaws.clone()));
        }
        if let Some(KeySelector::Impossible(_)) = ask.key {
            let text = "A key is named by its id (a UUID) or by an alias ([A-Za-z0-9_-], 2 to 90 characters)";
            return Err(Reason::new(ReasonCode::InvalidPathParam, text).path("id").into());
        }
        let stored = key.as_ref().map_or(KeyState::Active, |key| key.state);
        let key = key.map(|key| settle(key, now));
        Ok(Admitted { now, instance, policies, key, stored, ring: cx.ring.clone(), obligations })
    }

    fn event<T>(
        &self,
        known: Known<'_>,
        action: Action,
        now: Timestamp,
        decision: Option<DecisionRecord>,
        key: Option<KeyId>,
        outcome: &Result<Done<T>, Error>,
    ) -> AuditEvent {
        let mut event = AuditEvent {
            at: now,
            correlation_id: known.correlation_id.to_owned(),
            action: action.event().to_owned(),
            outcome: Outcome::Success,
            severity: Severity::of(action),
            initiator: known.initiator,
            network: known.network,
            instance: Some(known.instance),
            key,
            request_uri: known.request_uri.to_owned(),
            decision,
            request: Vec::new(),
            response: Vec::new(),
        };
        match outcome {
            Ok(done) => {
                event.key = done.key.or(key);
                event.request.clone_from(&done.request);
                event.response.clone_from(&done.response);
            }
            Err(error) => {
                let cause = error.cause();
                event.severity = event.severity.after(&cause);
                event.outcome = Outcome::Failure(cause);
            }
        }
        event
    }
}

/// What the chain is asked.
fn question(
    cx: &RequestContext,
    ask: &Ask<'_>,
    key: Option<&Key>,
    policies: &InstancePolicies,
    now: Timestamp,
) -> Question {
    let key_name = ask.key.map(ToString::to_string);
    Question::from(&AccessRequest {
        request_id: &cx.correlation_id,
        action: ask.action,
        principal: &cx.principal,
        instance: cx.instance,
        key_ring: key.map(|key| &key.ring).or(ask.ring).or(cx.ring.as_ref().filter(|_| !ask.beyond_rings)),
        key,
        policies,
        key_name: key_name.as_deref(),
        network: &cx.network,
        now,
        attributes: &ask.attributes,
    })
}

/// What the chain decides by where the policies cannot be read. Nothing comes of it.
static NO_POLICIES: InstancePolicies = InstancePolicies { policies: Vec::new(), revision: 0 };

/// What an event tells of whoever caused it.
struct Known<'a> {
    correlation_id: &'a str,
    initiator: Initiator,
    network: Network,
    instance: InstanceId,
    request_uri: &'a str,
}

impl<'a> Known<'a> {
    fn of(cx: &'a RequestContext) -> Self {
        Self {
            correlation_id: &cx.correlation_id,
            initiator: Initiator::from(&cx.principal),
            network: cx.network.clone(),
            instance: cx.instance,
            request_uri: &cx.request_uri,
        }
    }
}

/// The key as it is at `now`.
pub fn settle(key: Key, now: Timestamp) -> Key {
    Key { state: key.state_at(now), ..key }
}

/// Whether the request may go on, and with what. An allow holds only if every obligation that comes with it can be kept.
fn permit(verdict: &Verdict, ask: &Ask<'_>) -> Result<Obligations, Error> {
    match verdict {
        Verdict::Deny(denial) => Err(Error::Denied(denial.clone())),
        Verdict::Busy => Err(Error::Busy { retry_after: Duration::from_secs(1) }),
        Verdict::Allow(asked) => {
            let obligations = Obligations::understand(ask.action, asked).map_err(Error::Denied)?;
            // Of a body that cannot be read nothing is done at all.
            obligations.check_data(ask.data_bytes.unwrap_or_default()).map_err(Error::Denied)?;
            Ok(obligations)
        }
    }
}

/// What the rules said in the end, and what they were asked then.
struct Decided {
    decision: Decision,
    question: Question,
    redirected: Option<Redirected>,
}

/// The ring that the rules put a new key into, where it is another than the one that they were asked about.
fn forced_ring(verdict: &Verdict, action: Action, question: &Question) -> Option<String> {
    let Verdict::Allow(asked) = verdict else { return None };
    // What cannot be kept is refused, and then there is nothing to ask about.
    let obligations = Obligations::understand(action, asked).ok()?;
    let ring = obligations.new_key_ring()?.as_str();
    (question.target.key_ring.as_deref() != Some(ring)).then(|| ring.to_owned())
}

/// What the audit log is told of the decision.
fn recorded(at: Timestamp, decided: Decided, permitted: &Result<Obligations, Error>) -> DecisionRecord {
    let Decided { decision, question, redirected } = decided;
    let (verdict, notes) = match permitted {
        Ok(obligations) => (RecordedVerdict::Allow, obligations.notes().to_vec()),
        Err(Error::Denied(denial)) => (RecordedVerdict::Deny(denial.code.clone()), Vec::new()),
        Err(_) => (RecordedVerdict::Busy, Vec::new()),
    };
    DecisionRecord {
        verdict,
        at,
        generation: decision.generation,
        rules: decision.trail,
        notes,
        question: Arc::new(question),
        redirected,
    }
}
