//! Making and destroying keys.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::handles::{self, Identity, Known, Life};
use crate::key::{Algorithm, Key, KeyTemplate, Made};
use crate::link::{Counted, Handle};
use crate::ops::template::{self, Origin};
use crate::pending::lock;
use crate::pool::Inner;
use crate::token::Door;
use crate::turns::At;

/// What of a new key goes back to its maker.
pub(crate) type New = (Identity, Option<Arc<Made>>);

/// Makes an object, and gives it with the public half of a pair.
type Making<'a> = dyn Fn(&Conn<'_>) -> Result<(Handle, Option<Handle>), Failure> + 'a;

pub(crate) fn key_of(door: &Arc<Door>, (identity, made): New) -> Key {
    Key { door: door.clone(), identity, recipe: None, made }
}

/// While an id is being made, nobody else makes it: PKCS#11 itself takes two objects with one CKA_ID.
struct Reserved<'a>(&'a Inner, Vec<u8>);

impl<'a> Reserved<'a> {
    fn begin(inner: &'a Inner, id: &[u8]) -> Result<Self, Failure> {
        if lock(&inner.making).insert(id.to_vec()) {
            Ok(Self(inner, id.to_vec()))
        } else {
            Err(Error::AlreadyExists.into())
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.0.making).remove(&self.1);
    }
}

/// Makes a key by `make`, which gives the object and the public half of a pair; checks it, and destroys it when it is not
/// what it should be.
///
/// A persistent key whose making failed with a loss of the token may be there all the same. The second attempt looks for it
/// first: nobody else made it, since the first attempt found the id free (`begun`). What is not as told, or half a pair, is
/// destroyed.
pub(crate) fn make(
    conn: &Conn<'_>,
    begun: &Cell<bool>,
    template: &KeyTemplate,
    origin: Origin,
    make: &Making<'_>,
) -> Result<New, Failure> {
    let Some(id) = &template.id else { return make_session(conn, template, origin, make) };
    let _reserved = Reserved::begin(conn.inner, id)?;
    let there = handles::objects(conn, id)?;
    if !there.is_empty() {
        if !begun.get() {
            return Err(Error::AlreadyExists.into());
        }
        // One that is not fit is not what was made.
        if let Ok(known) = handles::find(conn, id)
            && template::verify(conn, known.handle, template, origin).is_ok()
        {
            return Ok((Identity::Token(id.clone()), None));
        }
        let _turn = conn.turn(At::Changing)?;
        for handle in there {
            conn.session()?.destroy_object(handle)?;
        }
    }
    // A pair may take minutes, which nobody should wait for: it takes its turn only where it failed without.
    let slow = template.algorithm == Algorithm::Rsa && origin == Origin::Generated;
    let turn = if slow && !begun.get() { None } else { Some(conn.turn(At::Changing)?) };
    begun.set(true);
    let (handle, public) = make(conn)?;
    drop(turn);
    let known = checked(conn, template, origin, handle, public)?;
    let identity = Identity::Token(id.clone());
    lock(&conn.link.tokens).put(identity.clone(), known);
    Ok((identity, None))
}

pub(crate) fn make_session(
    conn: &Conn<'_>,
    template: &KeyTemplate,
    origin: Origin,
    make: &Making<'_>,
) -> Result<New, Failure> {
    let made = conn.link.made.clone();
    if made.fetch_add(1, Ordering::Relaxed) >= conn.inner.config.unwrapped {
        made.fetch_sub(1, Ordering::Relaxed);
        return Err(Error::Busy { retry_after: None }.into());
    }
    let counted = Counted(made);
    let (handle, public) = make(conn)?;
    let mut known = checked(conn, template, origin, handle, public)?;
    known.life = Life::of([Some(handle), public].into_iter().flatten().collect(), conn.link.grave.clone());
    let identity = Identity::Made(conn.link.epoch, conn.inner.numbers.fetch_add(1, Ordering::Relaxed));
    Ok((identity, Some(Arc::new(Made { known, _counted: counted }))))
}

/// Reads back what was made, and destroys it when it is not as told.
pub(crate) fn checked(
    conn: &Conn<'_>,
    template: &KeyTemplate,
    origin: Origin,
    handle: Handle,
    public: Option<Handle>,
) -> Result<Known, Failure> {
    let seen = template::verify(conn, handle, template, origin).and_then(|()| handles::learn(conn, handle, public));
    if matches!(seen, Err(Failure::Is(_))) {
        // Where none is to be had in time, it goes without: an object that is not as told must not be found by its id later.
        let _turn = template.persistent.then(|| conn.turn(At::Changing).ok());
        for handle in [Some(handle), public].into_iter().flatten() {
            conn.session()?.destroy_object(handle)?;
        }
    }
    seen
}

pub(crate) fn generate_aes(
    conn: &Conn<'_>,
    begun: &Cell<bool>,
    template: &KeyTemplate,
    bytes: u64,
) -> Result<New, Failure> {
    make(conn, begun, template, Origin::Generated, &|conn| {
        let mut attributes = template::key(template, &conn.inner.config.label_prefix);
        attributes.push(Attribute::ValueLen(bytes.into()));
        Ok((conn.session()?.generate_key(&Mechanism::AesKeyGen, &attributes)?, None))
    })
}

pub(crate) fn generate_rsa(
    conn: &Conn<'_>,
    begun: &Cell<bool>,
    template: &KeyTemplate,
    bits: u64,
) -> Result<New, Failure> {
    let prefix = &conn.inner.config.label_prefix;
    make(conn, begun, template, Origin::Generated, &|conn| {
        let public = template::public(template, bits, prefix);
        let private = template::key(template, prefix);
        let (public, private) = conn.session()?.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
        Ok((private, Some(public)))
    })
}

pub(crate) fn import_aes(
    conn: &Conn<'_>,
    begun: &Cell<bool>,
    template: &KeyTemplate,
    material: &[u8],
) -> Result<New, Failure> {
    make(conn, begun, template, Origin::Imported, &|conn| {
        let mut attributes = template::key(template, &conn.inner.config.label_prefix);
        // The binding wants a vector of its own; it is wiped here, whatever happens.
        let value = Attribute::Value(material.to_vec());
        attributes.push(value);
        let made = conn.session().and_then(|session| session.create_object(&attributes).map_err(Failure::from));
        if let Some(Attribute::Value(bytes)) = attributes.last_mut() {
            zeroize::Zeroize::zeroize(bytes);
        }
        Ok((made?, None))
    })
}

/// Destroys the key with this CKA_ID, and the public half of a pair. Nothing else that has the id, such as a certificate.
pub(crate) fn destroy(conn: &Conn<'_>, begun: &Cell<bool>, id: &[u8]) -> Result<(), Failure> {
    let identity = Identity::Token(id.to_vec());
    let _ending = conn.end(&identity)?;
    lock(&conn.link.tokens).remove(&identity);
    // What this key unwrapped must not outlive it. Which those are is not known; to unwrap the others again is cheap.
    lock(&conn.link.unwrapped).clear();
    lock(&conn.link.opened).clear();
    let objects = handles::objects(conn, id)?;
    let mut any = false;
    for handle in objects {
        let class = conn.session()?.get_attributes(handle, &[AttributeType::Class])?;
        let ours = [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY];
        if matches!(class.as_slice(), [Attribute::Class(class)] if ours.contains(class)) {
            let _turn = conn.turn(At::Changing)?;
            begun.set(true);
            conn.session()?.destroy_object(handle)?;
            any = true;
        }
    }
    if any {
        return Ok(());
    }
    // The first attempt may have done it and lost its answer.
    if begun.get() { Ok(()) } else { Err(Error::NotFound.into()) }
}
