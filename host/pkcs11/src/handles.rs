//! Handles of objects: cached for one link, looked up or unwrapped again in the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::key::Key;
use crate::link::Handle;
use crate::ops::{self, learned};
use crate::pending::lock;
use crate::turns::At;

/// Which key, beyond all links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A token object, by its CKA_ID.
    Token(Vec<u8>),
    /// A session object that can be unwrapped again: a hash of the wrapping key, the wrapped bytes, how, and the template.
    Unwrapped([u8; 32]),
    /// A session object that cannot be made again: the epoch of its link and its number.
    Made(u64, u64),
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) handle: Handle,
    /// The public half of a pair.
    pub(crate) public: Option<Handle>,
    pub(crate) secret: bool,
    pub(crate) rsa: bool,
    pub(crate) local: bool,
    pub(crate) sensitive: bool,
    pub(crate) extractable: bool,
    /// Of a session object.
    pub(crate) life: Option<Arc<Life>>,
}

impl Known {
    /// Its object is gone: do not destroy what has its number now.
    pub(crate) fn is_gone(&self) {
        if let Some(life) = &self.life {
            life.gone.store(true, Ordering::Release);
        }
    }
}

/// Session objects that wait for their end.
#[derive(Debug, Default)]
pub(crate) struct Grave {
    handles: Mutex<Vec<Handle>>,
    any: AtomicBool,
}

impl Grave {
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Vec<Handle> {
        let mut handles = lock(&self.handles);
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut *handles)
    }
}

/// The life of a session object: when the last that knows it is gone, it is to be destroyed.
#[derive(Debug)]
pub(crate) struct Life {
    handles: Vec<Handle>,
    grave: Arc<Grave>,
    gone: AtomicBool,
}

impl Life {
    pub(crate) fn of(handles: Vec<Handle>, grave: Arc<Grave>) -> Option<Arc<Self>> {
        Some(Arc::new(Self { handles, grave, gone: AtomicBool::new(false) }))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.gone.load(Ordering::Acquire) {
            lock(&self.grave.handles).extend(self.handles.iter().copied());
            self.grave.any.store(true, Ordering::Release);
        }
    }
}

/// The object of a key in this link.
pub(crate) fn resolve(conn: &Conn<'_>, key: &Key) -> Result<Known, Failure> {
    let identity = &key.identity;
    conn.begin(identity)?;
    match identity {
        Identity::Token(id) => {
            if let Some(known) = lock(&conn.link.tokens).get(identity) {
                return Ok(known.clone());
            }
            find(conn, id)
        }
        Identity::Unwrapped(_) => {
            if let Some(known) = lock(&conn.link.unwrapped).get(identity) {
                conn.inner.counters.unwrap_hits.fetch_add(1, Ordering::Relaxed);
                return Ok(known.clone());
            }
            conn.inner.counters.unwrap_misses.fetch_add(1, Ordering::Relaxed);
            let recipe = key.recipe.as_ref().ok_or(Error::NotFound)?;
            ops::wrap::unwrap_session(conn, recipe, identity)
        }
        Identity::Made(epoch, _) if *epoch == conn.link.epoch => {
            key.made.as_ref().map(|made| made.known.clone()).ok_or_else(|| Error::NotFound.into())
        }
        Identity::Made(..) => Err(Error::NotFound.into()),
    }
}

/// All token objects with this CKA_ID.
pub(crate) fn objects(conn: &Conn<'_>, id: &[u8]) -> Result<Vec<Handle>, Failure> {
    let turn = conn.turn(At::Looking)?;
    let objects = conn.session()?.find_objects(&[Attribute::Token(true), Attribute::Id(id.to_vec())])?;
    drop(turn);
    if objects.is_empty() {
        sees_all(conn)?;
    }
    Ok(objects)
}

/// That there is no key is only believed of a token that is there and to which we are logged in: SoftHSM shows no private
/// object, and no error, to who was logged out.
fn sees_all(conn: &Conn<'_>) -> Result<(), Failure> {
    conn.is_logged_in()?;
    conn.link.is_there(&conn.inner.module)
}

/// A key that is there and is none to work with. It is not `NotFound`: nobody shall make another beside it.
fn unfit(id: &[u8], why: &str) -> Failure {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Error::unavailable(format!(
        "the key of CKA_ID {hex} in the token is {why}: the gateway did not make it so, and does not use it; find out who \
         did, and destroy it if nothing was kept with it"
    ))
    .into()
}

/// Looks for the secret or private key with this CKA_ID, and remembers it. Only one that a PIN guards, that is sensitive and
/// that never leaves: anything else was put there by others, some modules let them without a PIN.
pub(crate) fn find(conn: &Conn<'_>, id: &[u8]) -> Result<Known, Failure> {
    let objects = objects(conn, id)?;
    let (mut keys, mut publics, mut unguarded) = (Vec::new(), Vec::new(), false);
    for handle in objects {
        let found = conn.session()?.get_attributes(handle, &[AttributeType::Class, AttributeType::Private])?;
        match found.as_slice() {
            [Attribute::Class(ObjectClass::SECRET_KEY | ObjectClass::PRIVATE_KEY), Attribute::Private(true)] => {
                keys.push(handle);
            }
            [Attribute::Class(ObjectClass::SECRET_KEY | ObjectClass::PRIVATE_KEY), ..] => unguarded = true,
            [Attribute::Class(ObjectClass::PUBLIC_KEY), ..] => publics.push(handle),
            _ => {}
        }
    }
    if publics.len() > 1 {
        let two = "more than one public key of the token has this CKA_ID; remove the other";
        return Err(Error::unavailable(two).into());
    }
    let handle = match keys.as_slice() {
        [handle] => *handle,
        [] => {
            sees_all(conn)?;
            return Err(if unguarded { unfit(id, "not CKA_PRIVATE") } else { Error::NotFound.into() });
        }
        _ => return Err(Error::invalid("more than one key of the token has this CKA_ID; remove the other").into()),
    };
    let known = learn(conn, handle, publics.first().copied())?;
    if !known.sensitive {
        return Err(unfit(id, "not CKA_SENSITIVE"));
    }
    if known.extractable {
        return Err(unfit(id, "CKA_EXTRACTABLE"));
    }
    lock(&conn.link.tokens).put(Identity::Token(id.to_vec()), known.clone());
    Ok(known)
}

/// Reads what must be known of a key. What a token does not say is taken for the worse.
pub(crate) fn learn(conn: &Conn<'_>, handle: Handle, public: Option<Handle>) -> Result<Known, Failure> {
    use AttributeType as A;
    let wanted =
        [A::Class, A::KeyType, A::Local, A::Extractable, A::Sensitive, A::AlwaysSensitive, A::NeverExtractable];
    let (mut always, mut kept) = (false, false);
    let mut known = Known {
        handle,
        public,
        secret: false,
        rsa: false,
        local: false,
        sensitive: false,
        extractable: true,
        life: None,
    };
    for attribute in conn.session()?.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Class(class) => known.secret = class == ObjectClass::SECRET_KEY,
            Attribute::KeyType(kind) => known.rsa = kind == KeyType::RSA,
            Attribute::Local(is) => known.local = is,
            Attribute::Sensitive(is) => known.sensitive = is,
            Attribute::AlwaysSensitive(is) => always = is,
            Attribute::NeverExtractable(is) => kept = is,
            Attribute::Extractable(is) => known.extractable = is,
            _ => {}
        }
    }
    known.local = known.local || (always && kept && learned::pair_tells(conn)?);
    Ok(known)
}
