//! The token, the keys of the plugin in it, and how keys are kept with them.

use keygate_plugin_sdk::backend::{Error, Key, KeyIdentity, KeyRef, Result, SecretBytes};
use keygate_plugin_sdk::host::log;
use keygate_plugin_sdk::host::pkcs11::{self, IvSource, KeyTemplate, Token, Usage};

use crate::errors::explain;
use crate::identity::{self, ID, Origin, Shape};
use crate::keyref::{self, Header, Inside, Reference};
use crate::settings::{Keep, Mechanism, Settings};
use crate::spec::{Algorithm, Purpose};

/// How long to wait for a key that another call is making, in milliseconds: what it takes a slow token.
const BEING_MADE: u32 = 500;

/// How many versions of the sealing key are looked for to know a token.
const VERSIONS: usize = 16;

/// The two keys that the plugin has in the token, in versions. They are two because one that may wrap and decrypt gives
/// away whatever it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    /// Wraps other keys, and does nothing else.
    Wrapping,
    /// Seals key-refs with AES-GCM, and does nothing else.
    Sealing,
}

/// A key that was taken out of its key-ref, which is this backend's and this key version's.
pub(crate) enum Opened {
    /// It is an object in the token.
    Object([u8; ID], Shape),
    /// It is wrapped by the wrapping key.
    Wrapped(Header, Mechanism, SecretBytes),
    /// It is here.
    Payload(Header, SecretBytes),
}

impl Opened {
    /// What for.
    pub(crate) const fn purpose(&self) -> Purpose {
        match self {
            Self::Object(_, shape) => shape.purpose,
            Self::Wrapped(header, ..) | Self::Payload(header, _) => header.purpose,
        }
    }

    /// Whether another backend sent it.
    fn arrived(&self) -> bool {
        match self {
            Self::Object(_, shape) => shape.origin == Origin::Arrived,
            Self::Wrapped(header, ..) | Self::Payload(header, _) => header.arrived(),
        }
    }

    /// How it is unwrapped. `leaving`: it is to be wrapped for elsewhere.
    fn template(&self, leaving: bool) -> KeyTemplate {
        let algorithm = if self.algorithm() == Algorithm::Rsa { "RSA" } else { "AES" };
        session(algorithm, usage_of(self.purpose(), self.arrived()), leaving)
    }

    /// Of what.
    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Object(_, shape) => shape.algorithm,
            Self::Wrapped(header, ..) | Self::Payload(header, _) => header.algorithm,
        }
    }
}

/// What keys of a purpose and algorithm may do.
pub(crate) fn usage(purpose: Purpose) -> Usage {
    match purpose {
        Purpose::Root | Purpose::Standard => Usage::ENCRYPT | Usage::DECRYPT,
        // `decrypt` is for material that goes to its owner again.
        Purpose::Import => Usage::UNWRAP | Usage::DECRYPT,
        Purpose::Transport => Usage::UNWRAP,
    }
}

/// The same, where another backend may have sent the key. One that was made here opens what was sealed here, and has no use for
/// CMACs.
pub(crate) fn usage_of(purpose: Purpose, arrived: bool) -> Usage {
    if arrived { usage(purpose) | Usage::MAC } else { usage(purpose) }
}

/// A root key that is to be used.
pub(crate) struct Root {
    /// Its handle.
    pub(crate) key: pkcs11::Key,
    /// Whether another backend sent it: then it opens that backend's ciphertexts too.
    pub(crate) arrived: bool,
}

/// How a key is made that ends with the call. Only one that is to be wrapped may be exportable.
pub(crate) fn session(algorithm: &str, usage: Usage, exportable: bool) -> KeyTemplate {
    KeyTemplate { algorithm: algorithm.to_owned(), id: None, usage, persistent: false, exportable }
}

/// How a key is made that stays. It never leaves.
pub(crate) fn lasting(algorithm: &str, usage: Usage, id: &[u8]) -> KeyTemplate {
    KeyTemplate { algorithm: algorithm.to_owned(), id: Some(id.to_vec()), usage, persistent: true, exportable: false }
}

/// The open token.
pub(crate) struct Hsm<'a> {
    token: Token,
    settings: &'a Settings,
}

impl<'a> Hsm<'a> {
    /// Opens it.
    pub(crate) fn open(settings: &'a Settings) -> Result<Self> {
        match Token::open(&settings.token) {
            Ok(token) => Ok(Self { token, settings }),
            Err(error) => Err(explain(&settings.token, "to open it", error)),
        }
    }

    pub(crate) const fn token(&self) -> &Token {
        &self.token
    }

    pub(crate) const fn settings(&self) -> &Settings {
        self.settings
    }

    pub(crate) fn iv(&self) -> IvSource {
        self.settings.iv.into()
    }

    /// What a failure means where nothing better is known.
    pub(crate) fn explain(&self, doing: &str, error: pkcs11::Error) -> Error {
        explain(&self.settings.token, doing, error)
    }

    /// `len` bytes of the token's generator.
    pub(crate) fn random(&self, len: u32) -> Result<SecretBytes> {
        let bytes = self.token.random(len).map_err(|error| self.explain("to get random bytes", error))?;
        if bytes.len() == len as usize {
            return Ok(bytes);
        }
        Err(Error::Internal("the token gave another number of random bytes than asked for".to_owned()))
    }

    /// The CKA_ID of a key of the plugin.
    pub(crate) fn helper_id(&self, helper: Helper, version: u32) -> String {
        let what = match helper {
            Helper::Wrapping => "wrap",
            Helper::Sealing => "seal",
        };
        format!("{}/{what}/{version}", self.settings.wrapping_key)
    }

    /// A key of the plugin, if it is there.
    pub(crate) fn look_for(&self, helper: Helper, version: u32) -> Result<Option<pkcs11::Key>> {
        let id = self.helper_id(helper, version);
        match self.token.find_key(id.as_bytes()) {
            Ok(key) => Ok(Some(key)),
            Err(pkcs11::Error::NotFound) => Ok(None),
            Err(error) => Err(self.explain(&format!("to find key `{id}`"), error)),
        }
    }

    /// The one that a key-ref names. Never made: without it the key-ref cannot be opened, and one that is new opens it
    /// neither.
    fn helper(&self, helper: Helper, version: u32) -> Result<pkcs11::Key> {
        self.look_for(helper, version)?.ok_or_else(|| self.missing(helper, version))
    }

    /// The newest, to keep new keys with. Made, if it is not there and the settings allow it.
    fn newest(&self, helper: Helper) -> Result<pkcs11::Key> {
        let version = self.settings.wrapping_key_version;
        if let Some(key) = self.look_for(helper, version)? {
            return Ok(key);
        }
        if !self.settings.make_wrapping_keys {
            return Err(self.missing(helper, version));
        }
        let id = self.helper_id(helper, version);
        let usage = match helper {
            Helper::Wrapping => Usage::WRAP | Usage::UNWRAP,
            Helper::Sealing => Usage::ENCRYPT | Usage::DECRYPT,
        };
        match self.token.generate_key(&lasting("AES", usage, id.as_bytes()), 256) {
            Ok(key) => {
                log::warn(
                    "made a new key in the token: all that is kept with it is lost without it, so back the token up",
                    &[("token", &self.settings.token), ("id", &id)],
                );
                Ok(key)
            }
            // Another call was faster.
            Err(pkcs11::Error::AlreadyExists) => self.there(id.as_bytes()),
            Err(error) => Err(self.explain(&format!("to make key `{id}`"), error)),
        }
    }

    /// A key that the token says it has already. Where it is not to be found, another call is making it at this moment.
    pub(crate) fn there(&self, id: &[u8]) -> Result<pkcs11::Key> {
        self.token.find_key(id).map_err(|error| match error {
            pkcs11::Error::NotFound => Error::Busy(Some(BEING_MADE)),
            error => self.explain("to find a key that is there already", error),
        })
    }

    /// Makes sure that the token can be told from another, before an object is kept in it: by the sealing key, which is in no
    /// token that is empty.
    pub(crate) fn mark(&self) -> Result<()> {
        self.newest(Helper::Sealing).map(drop)
    }

    /// Destroys an object. One that is not there has been destroyed, if this is the token that it was in: an empty one, or
    /// another's, would answer the same, and whoever asks forgets the key for good.
    pub(crate) fn destroy(&self, id: &[u8]) -> Result<()> {
        match self.token.destroy_key(id) {
            Ok(()) => Ok(()),
            Err(pkcs11::Error::NotFound) => self.is_marked(),
            Err(error) => Err(self.explain("to destroy a key", error)),
        }
    }

    fn is_marked(&self) -> Result<()> {
        let newest = self.settings.wrapping_key_version;
        // A newer version may be set and not be made yet.
        for version in (1..=newest).rev().take(VERSIONS) {
            if self.look_for(Helper::Sealing, version)?.is_some() {
                return Ok(());
            }
        }
        Err(Error::Unavailable(format!(
            "token `{}` holds neither the key that is to be destroyed nor `{}` (a CKA_ID, as text), so it is not the token \
             that the key was kept in: restore that one, or see that the right one is configured. Nothing was destroyed. \
             If it is the right one all the same, let the plugin make its sealing key (`make_wrapping_keys = true`, and a key \
             that is created)",
            self.settings.token,
            self.helper_id(Helper::Sealing, newest)
        )))
    }

    pub(crate) fn missing(&self, helper: Helper, version: u32) -> Error {
        Error::Unavailable(format!(
            "key `{}` (its CKA_ID, as text) is not in token `{}`: restore the token, see that the right one is \
             configured, or, before any key was kept with it, make it or set `make_wrapping_keys`",
            self.helper_id(helper, version),
            self.settings.token
        ))
    }

    /// Seals bytes into a key-ref under the newest sealing key.
    pub(crate) fn seal(
        &self,
        identity: &KeyIdentity,
        purpose: Purpose,
        algorithm: Algorithm,
        inside: Inside,
        bytes: &[u8],
    ) -> Result<KeyRef> {
        let header = Header { purpose, algorithm, inside, version: self.settings.wrapping_key_version };
        let sealed = self
            .newest(Helper::Sealing)?
            .seal(self.iv(), bytes, &keyref::bound_to(header, identity))
            .map_err(|error| self.explain("to seal a key-ref", error))?;
        keyref::of_sealed(header, &sealed)
    }

    /// Wraps a key with the newest wrapping key. It must be exportable.
    pub(crate) fn wrap_key(&self, key: &pkcs11::Key) -> Result<SecretBytes> {
        let wrapped = self.newest(Helper::Wrapping)?.wrap_key(&self.settings.wrap.wrapping(), key);
        wrapped
            .map(SecretBytes::new)
            .map_err(|error| self.explain(&format!("to wrap a key with {}", self.settings.wrap.name()), error))
    }

    /// Keeps a key of the token in a key-ref. It must be exportable.
    pub(crate) fn keep_wrapped(
        &self,
        identity: &KeyIdentity,
        purpose: Purpose,
        algorithm: Algorithm,
        key: &pkcs11::Key,
    ) -> Result<KeyRef> {
        let wrapped = self.wrap_key(key)?;
        self.seal(identity, purpose, algorithm, Inside::Wrapped(self.settings.wrap), &wrapped)
    }

    /// The same, of a root key that another backend sent.
    pub(crate) fn keep_arrived(&self, identity: &KeyIdentity, key: &pkcs11::Key) -> Result<KeyRef> {
        let wrapped = self.wrap_key(key)?;
        self.seal(identity, Purpose::Root, Algorithm::Aes, Inside::Arrived(self.settings.wrap), &wrapped)
    }

    /// Makes a root key.
    pub(crate) fn make_root(&self, identity: &KeyIdentity, bytes: u32) -> Result<KeyRef> {
        let making = |error| self.explain("to make a root key", error);
        match self.settings.keep {
            Keep::Wrapped => {
                let template = session("AES", usage(Purpose::Root), true);
                let key = self.token.generate_key(&template, bytes * 8).map_err(making)?;
                self.keep_wrapped(identity, Purpose::Root, Algorithm::Aes, &key)
            }
            Keep::Token => {
                let id = identity::object_id(identity, root_shape(Origin::Made, bytes))?;
                self.mark()?;
                match self.token.generate_key(&lasting("AES", usage(Purpose::Root), &id), bytes * 8) {
                    Ok(_) => {}
                    // It was made before, and the answer was lost: nobody else asks for a key of this identity.
                    Err(pkcs11::Error::AlreadyExists) => drop(self.there(&id)?),
                    Err(error) => return Err(making(error)),
                }
                Ok(keyref::of_object(&id))
            }
        }
    }

    /// Takes a root key in.
    pub(crate) fn take_root(&self, identity: &KeyIdentity, material: &[u8]) -> Result<KeyRef> {
        let taking = |error| self.explain("to bring a key into the token", error);
        let passing = |exportable| {
            self.token.import_key(&session("AES", usage(Purpose::Root), exportable), material).map_err(taking)
        };
        match self.settings.keep {
            Keep::Wrapped => self.keep_wrapped(identity, Purpose::Root, Algorithm::Aes, &passing(true)?),
            Keep::Token => self.give_object(
                identity,
                (Origin::Given, material.len() as u32),
                |template| self.token.import_key(template, material),
                || passing(false),
            ),
        }
    }

    /// Brings a root key of an origin and size into the token as an object, with `give`. Where one of its identity is there already, it must be
    /// the same, as `again` makes it once more for the time of the call: then an answer was lost.
    pub(crate) fn give_object(
        &self,
        identity: &KeyIdentity,
        (origin, bytes): (Origin, u32),
        give: impl FnOnce(&KeyTemplate) -> pkcs11::Result<pkcs11::Key>,
        again: impl FnOnce() -> Result<pkcs11::Key>,
    ) -> Result<KeyRef> {
        let id = identity::object_id(identity, root_shape(origin, bytes))?;
        let taking = |error| self.explain("to bring a key into the token", error);
        self.mark()?;
        let usage = usage_of(Purpose::Root, origin == Origin::Arrived);
        match give(&lasting("AES", usage, &id)) {
            Ok(_) => return Ok(keyref::of_object(&id)),
            Err(pkcs11::Error::AlreadyExists) => {}
            Err(error) => return Err(taking(error)),
        }
        let sealed = again()?.seal(self.iv(), b"the same?", b"").map_err(taking)?;
        match self.there(&id)?.open(&sealed, b"") {
            Ok(_) => Ok(keyref::of_object(&id)),
            Err(pkcs11::Error::AuthenticationFailed) => Err(Error::Internal(
                "another key of the same identity is in the token: it is left as it is, and nothing was imported"
                    .to_owned(),
            )),
            Err(error) => Err(taking(error)),
        }
    }

    /// Takes a key-ref apart and sees that it is this key version's.
    pub(crate) fn open_ref(&self, key: &Key) -> Result<Opened> {
        match keyref::parse(&key.reference)? {
            Reference::Object(id) => {
                let shape = identity::shape(id, &key.identity)?;
                Ok(Opened::Object(id.try_into().map_err(|_| Error::InvalidKeyRef)?, shape))
            }
            Reference::Sealed(header, sealed) => {
                let (sealing, bound) =
                    (self.helper(Helper::Sealing, header.version)?, keyref::bound_to(header, &key.identity));
                let opened = match header.inside {
                    Inside::Payload => sealing.open(&sealed, &bound),
                    // What is inside is wrapped, which is no secret. The seal covers the header.
                    Inside::Wrapped(_) | Inside::Arrived(_) => {
                        sealing.open_public(&sealed, &bound).map(SecretBytes::new)
                    }
                };
                let bytes = opened.map_err(|error| match error {
                    pkcs11::Error::AuthenticationFailed => Error::InvalidKeyRef,
                    error => self.explain("to open a key-ref", error),
                })?;
                Ok(match header.inside {
                    Inside::Payload => Opened::Payload(header, bytes),
                    Inside::Wrapped(how) | Inside::Arrived(how) => Opened::Wrapped(header, how, bytes),
                })
            }
        }
    }

    /// A handle of a key that is in the token or can be unwrapped into it. `leaving`: it is to be wrapped for elsewhere.
    pub(crate) fn handle(&self, opened: &Opened, leaving: bool) -> Result<pkcs11::Key> {
        match opened {
            Opened::Object(id, _) => self.token.find_key(id).map_err(|error| match error {
                pkcs11::Error::NotFound => Error::KeyNotFound,
                error => self.explain("to find a key", error),
            }),
            Opened::Wrapped(header, how, wrapped) => {
                let template = opened.template(leaving);
                let unwrapped =
                    self.helper(Helper::Wrapping, header.version)?.unwrap_key(&how.wrapping(), wrapped, &template);
                unwrapped.map_err(|error| match error {
                    // The sealing key vouches for these bytes.
                    pkcs11::Error::AuthenticationFailed => Error::Unavailable(format!(
                        "key `{}` in token `{}` is not the one that the key was wrapped with: restore the right one",
                        self.helper_id(Helper::Wrapping, header.version),
                        self.settings.token
                    )),
                    error => self.explain(&format!("to unwrap a key with {}", how.name()), error),
                })
            }
            Opened::Payload(..) => Err(Error::InvalidKeyRef),
        }
    }

    /// Sees to it that a root key whose key-ref is deleted does not live on as a session object that the host keeps. What
    /// cannot be opened was not unwrapped either.
    pub(crate) fn forget(&self, key: &Key) {
        let Ok(opened) = self.open_ref(key) else { return };
        if let Opened::Wrapped(header, how, wrapped) = &opened
            && let Ok(by) = self.helper(Helper::Wrapping, header.version)
        {
            // Without an error but for a template that is none.
            let _ = by.forget_unwrapped(&how.wrapping(), wrapped, &opened.template(false));
        }
    }

    /// A root key, to wrap and unwrap with.
    pub(crate) fn root(&self, key: &Key) -> Result<Root> {
        let opened = self.open_ref(key)?;
        match opened.purpose() {
            Purpose::Root => Ok(Root { key: self.handle(&opened, false)?, arrived: opened.arrived() }),
            Purpose::Standard => Err(Error::Unsupported("a standard key wraps nothing: use a root key".to_owned())),
            // It is no key version's: the store mixed something up.
            Purpose::Import | Purpose::Transport => Err(Error::InvalidKeyRef),
        }
    }

    /// Seals a key-ref anew, if it is sealed under an older key or wrapped in another way than the settings say.
    pub(crate) fn reseal(&self, key: &Key) -> Result<Option<KeyRef>> {
        let opened = self.open_ref(key)?;
        let version = self.settings.wrapping_key_version;
        match &opened {
            Opened::Object(..) => Ok(None),
            Opened::Wrapped(header, how, _) if header.version == version && *how == self.settings.wrap => Ok(None),
            Opened::Payload(header, _) if header.version == version => Ok(None),
            Opened::Payload(header, bytes) => {
                self.seal(&key.identity, header.purpose, header.algorithm, Inside::Payload, bytes).map(Some)
            }
            Opened::Wrapped(header, ..) => {
                let handle = self.handle(&opened, true)?;
                if header.arrived() {
                    return self.keep_arrived(&key.identity, &handle).map(Some);
                }
                self.keep_wrapped(&key.identity, header.purpose, header.algorithm, &handle).map(Some)
            }
        }
    }
}

/// Of a root key of so many bytes, which are 16, 24 or 32.
fn root_shape(origin: Origin, bytes: u32) -> Shape {
    Shape { purpose: Purpose::Root, algorithm: Algorithm::Aes, origin, bytes: bytes as u8 }
}
