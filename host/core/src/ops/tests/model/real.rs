//! The use cases on a store, driven by steps.

use std::sync::Arc;
use std::time::Duration;

use super::names::{alias_name, by, resource_crn, ring_id, service};
use super::steps::{Kind, Overrides, Step, Target};
use super::view::{Answer, Outcome};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::fakes::backend::FakeBackend;
use crate::fakes::world::{CountingEntropy, FakeBackends, FixedClock, MemoryAudit, ScriptedGate};
use crate::ids::{Alias, EventId, InstanceId, KeyId, KeySelector, VersionId};
use crate::import_token::ReadyPairs;
use crate::instance::{Instance, Instances};
use crate::key::KeyKind;
use crate::limits::Limits;
use crate::ops::create::CreateKey;
use crate::ops::events::Acknowledgement;
use crate::ops::instance_policies::WriteInstancePolicy;
use crate::ops::material::Material;
use crate::ops::policies::{WritePolicies, WriteRotation};
use crate::ops::registrations::RegistrationInput;
use crate::ops::unwrap::Ciphertext;
use crate::ops::versions::ListVersions;
use crate::ops::{
    aliases, authorize, create, delete, disable, enable, events, instance_policies, life, patch, policies, purge,
    registrations, restore, rewrap, rings, rotate, sync, unwrap, versions, wrap,
};
use crate::pipeline::{Gateway, RequestContext};
use crate::policy::{InstancePolicyKind, PolicyAttributes};
use crate::secret::SecretBytes;
use crate::store::{KeyStore, PageRequest};

pub(super) const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
const START: u64 = 1_790_000_000_000;
pub(super) const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };
/// Materials of an imported key; all of one length.
const MATERIAL: [u8; 32] = [7; 32];

/// The use cases, and what has been made with them.
pub(crate) struct Real {
    pub(super) gateway: Gateway,
    clock: Arc<FixedClock>,
    pub(super) keys: Vec<KeyId>,
    ciphertexts: Vec<String>,
}

impl Real {
    pub(crate) fn new(store: Arc<dyn KeyStore>, limits: Limits) -> Self {
        let clock = Arc::new(FixedClock::at(Timestamp::from_unix_ms(START)));
        let instance = Instance {
            id: INSTANCE,
            name: "model".to_owned(),
            region: "us-south".to_owned(),
            account: "a".repeat(32),
            backend: "fake".to_owned(),
            crypto_instance: None,
        };
        let gateway = Gateway {
            store,
            backends: Arc::new(FakeBackends::new(vec![Arc::new(FakeBackend::new("fake"))])),
            gate: Arc::new(ScriptedGate::allowing()),
            audit: Arc::new(MemoryAudit::default()),
            clock: clock.clone(),
            entropy: Arc::new(CountingEntropy::default()),
            instances: std::iter::once(instance).collect::<Instances>(),
            limits,
            import_keys: ReadyPairs::default(),
        };
        Self { gateway, clock, keys: Vec::new(), ciphertexts: Vec::new() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.gateway.clock.now().unix_ms()
    }

    /// Does a step.
    pub(crate) async fn apply(&mut self, step: &Step) -> Outcome {
        self.act(step).await.map_err(|error| match error.reason_code() {
            Some(code) => code.as_str(),
            None => panic!("{step:?}: no refusal, but {error:?}"),
        })
    }

    async fn act(&mut self, step: &Step) -> Result<Answer, Error> {
        match step {
            Step::Create { kind, ring, aliases, expires_in, overrides } => {
                return self.create(*kind, *ring, aliases, *expires_in, *overrides).await;
            }
            Step::Versions { .. }
            | Step::Wrap { .. }
            | Step::Unwrap { .. }
            | Step::Rewrap { .. }
            | Step::WritePolicies { .. } => return self.use_key(step).await,
            Step::Register { .. } | Step::Unregister { .. } | Step::Deactivate { .. } | Step::Acknowledge { .. } => {
                return self.adopt(step).await;
            }
            Step::AddAlias { target, alias } => {
                let (cx, selector) = self.address(*target);
                let added = aliases::create(&self.gateway, &cx, &selector, &alias_name(*alias)).await?;
                return Ok(Answer::New(added.2));
            }
            Step::DropAlias { target, alias } => {
                let (cx, selector) = self.address(*target);
                aliases::delete(&self.gateway, &cx, &selector, &alias_name(*alias)).await?;
            }
            Step::MakeRing { ring } => {
                let is_new = rings::create(&self.gateway, &by(0), ring_id(*ring).as_str()).await?;
                return Ok(Answer::New(is_new));
            }
            Step::DropRing { ring, force } => {
                rings::delete(&self.gateway, &by(0), ring_id(*ring).as_str(), Ok(*force)).await?;
            }
            Step::InstancePolicies { dual, rotation } => self.instance_policies(*dual, *rotation).await?,
            Step::Travel { ms } => self.clock.travel(Duration::from_millis(*ms)),
            Step::TravelTo { .. } => {}
            Step::Tend => {
                let tended = life::tend(&self.gateway).await;
                assert!(tended.failed.is_empty() && tended.stopped.is_none(), "{tended:?}");
            }
            change => self.change_key(change).await?,
        }
        Ok(Answer::Done)
    }

    async fn change_key(&self, step: &Step) -> Result<(), Error> {
        let gateway = &self.gateway;
        match step {
            Step::Rotate { target, payload } => {
                let (cx, selector) = self.address(*target);
                let input = rotate::Rotate { payload: payload.then(material) };
                rotate::rotate(gateway, &cx, &selector, Ok(input)).await.map(drop)
            }
            Step::Disable { target } => {
                let (cx, selector) = self.address(*target);
                disable::disable(gateway, &cx, &selector).await.map(drop)
            }
            Step::Enable { target } => {
                let (cx, selector) = self.address(*target);
                enable::enable(gateway, &cx, &selector).await.map(drop)
            }
            Step::Authorize { target, user } => {
                let (cx, selector) = self.address_by(*target, *user);
                authorize::set(gateway, &cx, &selector).await.map(drop)
            }
            Step::Unauthorize { target, user } => {
                let (cx, selector) = self.address_by(*target, *user);
                authorize::unset(gateway, &cx, &selector).await.map(drop)
            }
            Step::Delete { target, user, force } => {
                let (cx, selector) = self.address_by(*target, *user);
                delete::delete(gateway, &cx, &selector, Ok(*force)).await.map(drop)
            }
            Step::Restore { target, payload } => {
                let (cx, selector) = self.address(*target);
                let input = restore::Restore { payload: payload.then(material) };
                restore::restore(gateway, &cx, &selector, Ok(input)).await.map(drop)
            }
            Step::Purge { target } => {
                let (cx, selector) = self.address(*target);
                purge::purge(gateway, &cx, &selector).await.map(drop)
            }
            Step::Sync { target } => {
                let (cx, selector) = self.address(*target);
                sync::sync(gateway, &cx, &selector).await
            }
            Step::Move { target, ring } => {
                let (cx, selector) = self.address(*target);
                patch::patch(gateway, &cx, &selector, Ok(patch::Patch { ring: ring_id(*ring) })).await.map(drop)
            }
            other => panic!("{other:?} changes no key"),
        }
    }

    async fn create(
        &mut self,
        kind: Kind,
        ring: Option<u8>,
        aliases: &[u8],
        expires_in: Option<i64>,
        overrides: Option<Overrides>,
    ) -> Result<Answer, Error> {
        let input = CreateKey {
            name: format!("key {}", self.keys.len()),
            description: None,
            aliases: aliases.iter().map(|alias| alias_name(*alias)).collect(),
            tags: Vec::new(),
            kind: if kind == Kind::Standard { KeyKind::Standard } else { KeyKind::Root },
            expires_at: expires_in.map(|by| Timestamp::from_unix_ms(self.now().saturating_add_signed(by))),
            payload: (kind == Kind::Imported).then(material),
            return_payload: false,
            overrides: overrides.map(|(rotation, dual_auth_delete)| create::Overrides { rotation, dual_auth_delete }),
        };
        let cx = RequestContext { ring: ring.map(ring_id), ..by(0) };
        let created = create::create(&self.gateway, &cx, overrides.is_some(), Ok(input)).await?;
        self.keys.push(created.key.id);
        Ok(Answer::Done)
    }

    async fn use_key(&mut self, step: &Step) -> Result<Answer, Error> {
        let gateway = &self.gateway;
        match step {
            Step::Versions { target, all } => {
                let (cx, selector) = self.address(*target);
                let input = ListVersions { page: ALL, all_key_states: *all };
                let (_, page) = versions::versions(gateway, &cx, &selector, Ok(input)).await?;
                Ok(Answer::Versions(page.items.iter().map(|version| version.created_at.unix_ms()).collect()))
            }
            Step::Wrap { target, plaintext } => {
                let (cx, selector) = self.address(*target);
                let input = wrap::Wrap { plaintext: Some(SecretBytes::new(vec![*plaintext])), aad: Vec::new() };
                let wrapped = wrap::wrap(gateway, &cx, &selector, Ok(input)).await?;
                let sequence = self.sequence(wrapped.version).await;
                self.ciphertexts.push(wrapped.ciphertext);
                Ok(Answer::Wrapped(sequence))
            }
            Step::Unwrap { target, back, .. } => {
                let (cx, selector) = self.address(*target);
                let opened = unwrap::unwrap(gateway, &cx, &selector, Ok(self.ciphertext(*back))).await?;
                let version = self.sequence(opened.version).await;
                let &[plaintext] = opened.plaintext.expose() else { panic!("one byte was wrapped") };
                let anew = match opened.rewrapped {
                    None => None,
                    Some(anew) => {
                        let version = self.sequence(anew.version).await;
                        self.ciphertexts.push(anew.ciphertext);
                        Some(version)
                    }
                };
                Ok(Answer::Opened(plaintext, version, anew))
            }
            Step::Rewrap { target, back, .. } => {
                let (cx, selector) = self.address(*target);
                let (from, anew) = rewrap::rewrap(gateway, &cx, &selector, Ok(self.ciphertext(*back))).await?;
                let answer = Answer::Rewrapped(self.sequence(from).await, self.sequence(anew.version).await);
                self.ciphertexts.push(anew.ciphertext);
                Ok(answer)
            }
            Step::WritePolicies { target, rotation, dual } => {
                let (cx, selector) = self.address(*target);
                let rotation = rotation.map(|(enabled, interval_months)| WriteRotation { enabled, interval_months });
                let input = WritePolicies { rotation, dual_auth_delete: *dual };
                policies::write(gateway, &cx, &selector, Ok(input)).await?;
                Ok(Answer::Done)
            }
            other => panic!("{other:?} uses no key"),
        }
    }

    /// What services do.
    async fn adopt(&self, step: &Step) -> Result<Answer, Error> {
        let gateway = &self.gateway;
        match step {
            Step::Register { target, resource, prevent } => {
                let (cx, selector) = self.address_by_service(*target);
                let input = RegistrationInput { prevent_key_deletion: Some(*prevent), ..RegistrationInput::default() };
                let (_, is_new) =
                    registrations::create(gateway, &cx, &selector, &resource_crn(*resource), Ok(input)).await?;
                return Ok(Answer::New(is_new));
            }
            Step::Unregister { target, resource } => {
                let (cx, selector) = self.address_by_service(*target);
                registrations::delete(gateway, &cx, &selector, &resource_crn(*resource)).await?;
            }
            Step::Deactivate { target, resource } => {
                let (cx, selector) = self.address_by_service(*target);
                registrations::deactivate(gateway, &cx, &selector, Ok(resource_crn(*resource))).await?;
            }
            Step::Acknowledge { number } => {
                let event = self.nth_event(*number).await.unwrap_or(EventId::from_bytes([0xEE; 16]));
                let input = Acknowledgement {
                    event,
                    adopter_key_state: "DEK_ENABLED".to_owned(),
                    at: self.gateway.clock.now(),
                    version: None,
                };
                events::acknowledge(gateway, &service(), Ok(vec![input])).await?;
            }
            other => panic!("services do no {other:?}"),
        }
        Ok(Answer::Done)
    }

    async fn instance_policies(&self, dual: Option<bool>, rotation: Option<u8>) -> Result<(), Error> {
        let dual = dual.map(|enabled| WriteInstancePolicy {
            kind: InstancePolicyKind::DualAuthDelete,
            enabled,
            attributes: PolicyAttributes::None,
        });
        let rotation = rotation.map(|months| WriteInstancePolicy {
            kind: InstancePolicyKind::Rotation,
            enabled: months > 0,
            attributes: match months {
                0 => PolicyAttributes::None,
                interval_months => PolicyAttributes::Rotation { interval_months },
            },
        });
        let input = [dual, rotation].into_iter().flatten().collect();
        instance_policies::write(&self.gateway, &by(0), true, Ok(input)).await
    }

    fn id(&self, back: usize) -> KeyId {
        let number = self.keys.len().checked_sub(back + 1);
        number.map_or(KeyId::from_bytes([0xEE; 16]), |number| self.keys[number])
    }

    fn address(&self, target: Target) -> (RequestContext, KeySelector) {
        self.address_by(target, 0)
    }

    fn address_by(&self, target: Target, user: u8) -> (RequestContext, KeySelector) {
        let selector = match target.alias {
            Some(alias) => KeySelector::Alias(Alias::parse(&alias_name(alias)).unwrap()),
            None => KeySelector::Id(self.id(target.back)),
        };
        (RequestContext { ring: target.ring.map(ring_id), ..by(user) }, selector)
    }

    fn address_by_service(&self, target: Target) -> (RequestContext, KeySelector) {
        let (cx, selector) = self.address(target);
        (RequestContext { principal: service().principal, ..cx }, selector)
    }

    fn ciphertext(&self, back: usize) -> Ciphertext {
        // What nobody ever wrapped is to be refused like what another key wrapped: well-formed, and of no key here.
        const NOBODYS: &str = "S0dFMQ==";
        let found = self.ciphertexts.len().checked_sub(back + 1).map(|at| self.ciphertexts[at].clone());
        Ciphertext { ciphertext: found.unwrap_or_else(|| NOBODYS.to_owned()), aad: Vec::new() }
    }

    /// The sequence of a version, of whichever key.
    async fn sequence(&self, version: VersionId) -> u32 {
        for key in &self.keys {
            if let Some(found) = self.gateway.store.version(INSTANCE, *key, version).await.unwrap() {
                return found.sequence;
            }
        }
        panic!("there is no version {version}");
    }
}

fn material() -> Material {
    Material::Plain(SecretBytes::new(MATERIAL.to_vec()))
}
