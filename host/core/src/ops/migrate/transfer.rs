//! Moving the material of one key version, and destroying it where it was.

use std::sync::Arc;

use crate::backend::{Algorithm, BackendError, BackendKey, BackendResult, Call, CryptoBackend, KeyIdentity, KeySpec};
use crate::envelope::canonical_aad;
use crate::error::Error;
use crate::key::{Former, Key, KeyKind, KeyRef, KeyVersion};
use crate::migration::{Migration, StayReason, Transport};
use crate::ops::material;
use crate::pipeline::Gateway;
use crate::secret::SecretBytes;
use crate::store::{Change, StoreError};

/// Why a version was not moved.
#[derive(Debug)]
pub(super) enum Halt {
    /// A backend is away, or failed: this is tried again.
    Away(String),
    /// The same, and it says nothing about the key: a backend has too much to do, or there is none of that name.
    Passing(String),
    /// Store or entropy is away, so that nothing can be done.
    Stop(Error),
    /// It stays.
    Stays(StayReason, String),
    /// Somebody else has changed the version, or its key is being purged. It is for the next pass to look again.
    Changed,
}

impl From<BackendError> for Halt {
    fn from(error: BackendError) -> Self {
        let text = error.to_string();
        match error {
            BackendError::Busy(_) => Self::Passing(text),
            BackendError::Unavailable { .. } | BackendError::Fault(_) => Self::Away(text),
            BackendError::KeyNotFound | BackendError::InvalidKeyRef { .. } => {
                Self::Stays(StayReason::MaterialMissing, text)
            }
            BackendError::Unsupported(_) => Self::Stays(StayReason::NotTransportable, text),
            // Nobody from outside has a part in what the two say to each other. A token that is in trouble, or settings that
            // do not fit, look like this as well, and a key must not be given a new version for that.
            BackendError::AuthenticationFailed
            | BackendError::InvalidInput(_)
            | BackendError::ImportRejected(_)
            | BackendError::Internal { .. } => Self::Away(text),
        }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Changed,
            error @ StoreError::Corrupt(_) => Self::Stays(StayReason::Damaged, error.to_string()),
            error => Self::Stop(error.into()),
        }
    }
}

/// What came of looking after a version that has moved.
pub(super) enum Cleared {
    /// Its material is gone from where it was.
    Gone,
    /// It is where it was: the backend that it had gone to does not show it. The version as it is now, and what that
    /// backend says.
    Back(Box<KeyVersion>, String),
}

/// One key on its way.
pub(super) struct Carrier<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) call: Call<'a>,
    pub(super) migration: &'a Migration,
    pub(super) from: Arc<dyn CryptoBackend>,
    pub(super) to: Arc<dyn CryptoBackend>,
    pub(super) key: &'a Key,
}

/// The length of a sample, in bytes: that of a data key.
const SAMPLE_BYTES: usize = 32;

/// The sizes of root keys, in bits. That of an imported key's older version is written nowhere.
const SIZES: [u32; 3] = [256, 192, 128];

impl Carrier<'_> {
    fn identity(&self, version: &KeyVersion) -> KeyIdentity {
        KeyIdentity { instance: self.key.instance, key: self.key.id, version: version.id }
    }

    /// Moves a version: afterwards its record names the other backend, and where the material is still.
    pub(super) async fn move_version(&self, version: &KeyVersion) -> Result<(), Halt> {
        let identity = self.identity(version);
        let reference = match self.key.kind {
            KeyKind::Root => self.carry_root(version).await?,
            KeyKind::Standard => self.carry_standard(version).await?,
        };
        let there = KeyRef { backend: self.migration.to.clone(), reference };
        if let Err(halt) = self.prove(version, &there).await {
            // A backend may name the same key the same at each try. Where this is tried again, what came over is taken up then:
            // to destroy it now could end after the next try has moved the version to it.
            if matches!(halt, Halt::Stays(..)) {
                material::discard(self.call, self.to.as_ref(), identity, &there).await;
            }
            return Err(halt);
        }
        let former = Former { key_ref: version.key_ref.clone(), left_at: self.gateway.clock.now() };
        let after = KeyVersion { key_ref: there.clone(), former: Some(former), ..version.clone() };
        match self.put(version, after).await {
            Err(StoreError::Conflict) => {
                // Whoever was first may have moved it as well, and then the record names what came over.
                let now = self.gateway.store.version(self.key.instance, self.key.id, version.id).await?;
                let is_there = now.is_some_and(|now| {
                    now.key_ref == there || now.former.is_some_and(|former| former.key_ref == there)
                });
                if !is_there {
                    material::discard(self.call, self.to.as_ref(), identity, &there).await;
                }
                Err(Halt::Changed)
            }
            // Whether it was done only a look tells, so what came over stays. The next try looks.
            outcome => Ok(outcome?),
        }
    }

    async fn put(&self, before: &KeyVersion, after: KeyVersion) -> Result<(), StoreError> {
        self.gateway.store.commit(vec![self.change(before, after)]).await
    }

    /// The change of a version of this key, if it is still so.
    pub(super) fn change(&self, before: &KeyVersion, after: KeyVersion) -> Change {
        Change::UpdateVersion { instance: self.key.instance, key: self.key.id, before: before.clone(), after }
    }

    /// Has the one backend seal the material to the other. Nobody in between can read it.
    async fn carry_root(&self, version: &KeyVersion) -> Result<Vec<u8>, Halt> {
        let (key, reference, public) = match &self.migration.transport {
            Transport::Key { key, reference, public } => (*key, reference, public),
            Transport::None(why) => return Err(Halt::Stays(StayReason::NotTransportable, why.clone())),
            Transport::Unasked => return Err(Halt::Changed),
        };
        let identity = self.identity(version);
        let source = BackendKey { identity, reference: &version.key_ref.reference };
        let sealed = self.from.seal_for_transport(self.call, source, public).await?;
        let pair = KeyIdentity { instance: self.key.instance, key, version: key.first_version() };
        let opener = BackendKey { identity: pair, reference };
        let others = SIZES.into_iter().filter(|bits| *bits != self.key.bits);
        let is_older = self.key.imported && version.id != self.key.current_version;
        let sizes = [self.key.bits].into_iter().chain(others.filter(|_| is_older));
        let mut outcome = Err(BackendError::InvalidInput(String::new()));
        for bits in sizes {
            let spec = KeySpec { algorithm: Algorithm::Aes, bits, kind: KeyKind::Root };
            outcome = self.to.open_transport(self.call, opener, identity, spec, &sealed).await;
            if !matches!(outcome, Err(BackendError::InvalidInput(_))) {
                break;
            }
        }
        match outcome {
            // The only key-ref that it was given is the transport key's. A token that is empty, or another one, says so too, and
            // it is not for a program to move in there: somebody looks, and begins anew where that is right.
            Err(error @ (BackendError::KeyNotFound | BackendError::InvalidKeyRef { .. })) => {
                Err(Halt::Passing(format!(
                    "backend `{}` does not know the transport key of this migration ({error}): see that its token is the one that \
                 the migration began with; if it was replaced on purpose, stop the migration and begin it again",
                    self.to.name()
                )))
            }
            outcome => Ok(outcome?),
        }
    }

    /// A standard key is its owner's to read, so the gateway may carry it, in memory that is wiped.
    async fn carry_standard(&self, version: &KeyVersion) -> Result<Vec<u8>, Halt> {
        let identity = self.identity(version);
        let source = BackendKey { identity, reference: &version.key_ref.reference };
        let material = self.from.export_key(self.call, source).await?;
        let bits = u32::try_from(material.len() * 8).unwrap_or(u32::MAX);
        // It was made as AES where it was generated, and of any form where it was imported. It is read back, no more.
        let spec = KeySpec { algorithm: Algorithm::Secret, bits, kind: KeyKind::Standard };
        Ok(self.to.import_key(self.call, identity, spec, &material).await?)
    }

    /// Shows that both backends have the same key.
    async fn prove(&self, version: &KeyVersion, there: &KeyRef) -> Result<(), Halt> {
        let identity = self.identity(version);
        let source = BackendKey { identity, reference: &version.key_ref.reference };
        let target = BackendKey { identity, reference: &there.reference };
        let not_opened = |text: String| Halt::Stays(StayReason::SampleNotOpened, text);
        let is_same = match self.key.kind {
            KeyKind::Standard => {
                let (one, other) =
                    (self.from.export_key(self.call, source).await?, self.to.export_key(self.call, target).await?);
                one.expose() == other.expose()
            }
            KeyKind::Root => {
                let sample = self.sample()?;
                // As a ciphertext of the first backend is bound, for the second one is to open those.
                let aad = canonical_aad(&identity, self.from.name(), &[]);
                let wrapped = self.from.wrap(self.call, source, &sample, &aad).await?;
                let opened = match self.to.unwrap(self.call, target, &wrapped, &aad).await {
                    Err(
                        error @ (BackendError::AuthenticationFailed
                        | BackendError::InvalidInput(_)
                        | BackendError::Unsupported(_)),
                    ) => return Err(not_opened(format!("backend `{}`: {error}", self.to.name()))),
                    outcome => outcome?,
                };
                opened.expose() == sample.expose()
            }
        };
        if is_same { Ok(()) } else { Err(not_opened("what came over is another key".to_owned())) }
    }

    fn sample(&self) -> Result<SecretBytes, Halt> {
        let mut bytes = vec![0; SAMPLE_BYTES];
        self.gateway.entropy.fill(&mut bytes).map_err(|error| Halt::Stop(error.into()))?;
        Ok(SecretBytes::new(bytes))
    }

    /// Destroys the material of a version where it was before, once the backend that has it now has shown that it does. It is
    /// for the caller to have the record forget the place. Where the backend that should have it now does not show it, and the
    /// one before does, the record names that one again.
    pub(super) async fn clear(&self, version: &KeyVersion, former: &Former) -> Result<Cleared, Halt> {
        // A backend that is not configured any more does not come back by waiting.
        let place =
            |name: &str, reason| self.gateway.backend(name).map_err(|error| Halt::Stays(reason, error.to_string()));
        let here = place(&version.key_ref.backend, StayReason::BackendFailed)?;
        let there = place(&former.key_ref.backend, StayReason::NotDestroyed)?;
        match self.works(version, &version.key_ref, here.as_ref()).await {
            Ok(()) => {}
            Err(Halt::Stays(StayReason::MaterialMissing, why)) => {
                return self.bring_back(version, former, there.as_ref(), why).await;
            }
            Err(Halt::Stays(_, why)) => return Err(Halt::Stays(StayReason::MaterialMissing, why)),
            Err(other) => return Err(other),
        }
        let identity = self.identity(version);
        match there.destroy_key(self.call, BackendKey { identity, reference: &former.key_ref.reference }).await {
            // Gone already is as good.
            Ok(()) | Err(BackendError::KeyNotFound) => Ok(Cleared::Gone),
            Err(error) => Err(match error.into() {
                Halt::Stays(_, why) => Halt::Stays(StayReason::NotDestroyed, why),
                other => other,
            }),
        }
    }

    /// Goes back to where the material was, where it is there still. Should the other backend show its own again, the record
    /// names that as the former place: a purge destroys it, and so does the next migration that comes by.
    async fn bring_back(
        &self,
        version: &KeyVersion,
        former: &Former,
        there: &dyn CryptoBackend,
        why: String,
    ) -> Result<Cleared, Halt> {
        let lost = format!("backend `{}`: {why}", version.key_ref.backend);
        match self.works(version, &former.key_ref, there).await {
            Ok(()) => {}
            Err(Halt::Stays(_, other)) => {
                let text = format!("{lost}; and backend `{}`, where it was before: {other}", former.key_ref.backend);
                return Err(Halt::Stays(StayReason::MaterialMissing, text));
            }
            Err(other) => return Err(other),
        }
        let lost_place = Former { key_ref: version.key_ref.clone(), left_at: self.gateway.clock.now() };
        let back = KeyVersion { key_ref: former.key_ref.clone(), former: Some(lost_place), ..version.clone() };
        self.put(version, back.clone()).await?;
        let why = format!("{lost}; it is used where it was before, on backend `{}`", former.key_ref.backend);
        Ok(Cleared::Back(Box::new(back), why))
    }

    async fn works(&self, version: &KeyVersion, place: &KeyRef, backend: &dyn CryptoBackend) -> Result<(), Halt> {
        let identity = self.identity(version);
        let key = BackendKey { identity, reference: &place.reference };
        if self.key.kind == KeyKind::Standard {
            return Ok(backend.export_key(self.call, key).await.map(drop)?);
        }
        let sample = self.sample()?;
        let aad = canonical_aad(&identity, backend.name(), &[]);
        let there_and_back: BackendResult<SecretBytes> = async {
            let wrapped = backend.wrap(self.call, key, &sample, &aad).await?;
            backend.unwrap(self.call, key, &wrapped, &aad).await
        }
        .await;
        if there_and_back?.expose() == sample.expose() {
            return Ok(());
        }
        Err(Halt::Stays(StayReason::BackendFailed, "it does not open what it has wrapped".to_owned()))
    }
}
