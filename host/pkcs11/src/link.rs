//! A link to a token: what is true from one login to the next loss.
//!
//! A link has an epoch. Sessions and object handles belong to one link and are never used in another, because a module may
//! give an old number to a new thing. Within a link no session of ours is closed, so that no session object (an unwrapped key)
//! vanishes and the login stays; all are closed together when the link is given up.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki::error::{Error as CkError, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo as SlotTokenInfo};
use cryptoki::types::AuthPin;

use crate::config::{Find, read_pin};
use crate::conn::Conn;
use crate::error::Failure;
use crate::handles::{Grave, Identity, Known};
use crate::key::Sealed;
use crate::lru::Lru;
use crate::module::{Module, describe};
use crate::ops::learned::Learned;
use crate::pending::lock;
use crate::pool::Inner;
use crate::rv;
use crate::turns::Turns;
use crate::uses::Uses;

/// The longest text that is remembered, in bytes. A wrapped AES key has 40.
const LONGEST_OPENED: usize = 256;

/// A sealed text, with the key that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    with: Identity,
    digest: [u8; 32],
}

impl Opening {
    pub(crate) fn new(with: &Identity, sealed: &Sealed, aad: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("keygate pkcs11 2026-11-23 sealed text");
        for part in [&sealed.iv, &sealed.ciphertext, aad] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self { with: with.clone(), digest: hasher.finalize().into() }
    }
}

pub(crate) struct Link {
    pub(crate) epoch: u64,
    /// The number of its token on the module.
    number: u64,
    pub(crate) generation: u64,
    pub(crate) slot: Slot,
    pub(crate) serial: String,
    pub(crate) login_required: bool,
    /// The numbers of all sessions that were opened in it.
    pub(crate) sessions: Mutex<HashSet<u64>>,
    /// How many of them nobody uses or closes any more: an operation may be open in them.
    pub(crate) leaked: AtomicUsize,
    /// Sessions without a worker.
    pub(crate) spare: Mutex<Vec<Session>>,
    pub(crate) tokens: Mutex<Lru<Identity, Known>>,
    pub(crate) unwrapped: Mutex<Lru<Identity, Known>>,
    /// What came out of texts that are no secrets.
    pub(crate) opened: Mutex<Lru<Opening, Vec<u8>>>,
    pub(crate) learned: Learned,
    pub(crate) uses: Uses,
    /// At the store of its token.
    pub(crate) turns: Arc<Turns>,
    /// Session objects that nobody uses any more.
    pub(crate) grave: Arc<Grave>,
    /// Session objects that hang on a handle of somebody.
    pub(crate) made: Arc<AtomicUsize>,
}

impl Link {
    /// A session: one that is spare, or a new one.
    pub(crate) fn session(&self, module: &Module) -> Result<Session, Failure> {
        if let Some(session) = lock(&self.spare).pop() {
            return Ok(session);
        }
        match module.context.open_rw_session_no_drop(self.slot) {
            Ok(session) => {
                lock(&self.sessions).insert(session.handle());
                module.owns(session.handle(), (self.number, self.epoch));
                Ok(session)
            }
            Err(CkError::Pkcs11(RvError::SessionCount, _)) => Err(Failure::NoSession),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes a session of this link that nobody uses. A module that closed it itself may have given its number out again:
    /// so not when it is another's of ours by now, or another slot's.
    pub(crate) fn close(&self, module: &Module, session: u64) {
        lock(&self.sessions).remove(&session);
        let ours = module.disown(session, (self.number, self.epoch)) && module.generation() == self.generation;
        if ours && module.raw.slot_of(session).is_ok_and(|slot| slot == self.slot.id()) {
            let _ = module.raw.close_session(session);
        }
    }

    /// How many sessions somebody works with, beside so many that hang.
    pub(crate) fn held(&self, hung: usize) -> usize {
        lock(&self.sessions).len().saturating_sub(self.leaked.load(Ordering::Relaxed) + hung)
    }

    /// Forgets the handles of these keys. They are not destroyed: their numbers may be another object's by now.
    pub(crate) fn forget(&self, used: &[Identity]) {
        lock(&self.opened).clear();
        for identity in used {
            let token = lock(&self.tokens).remove(identity);
            let unwrapped = lock(&self.unwrapped).remove(identity);
            for known in [token, unwrapped].into_iter().flatten() {
                known.is_gone();
            }
        }
    }

    /// Keeps what came out of a text that is no secret. A long one is not worth the room, and a key of a session has no
    /// name that lasts.
    pub(crate) fn remember(&self, text: &Opening, opened: &[u8]) {
        if opened.len() <= LONGEST_OPENED && matches!(text.with, Identity::Token(_)) {
            lock(&self.opened).put(text.clone(), opened.to_vec());
        }
    }

    /// Destroys the session objects that nobody uses any more. Never a token object, whatever has become of the number.
    pub(crate) fn bury(&self, conn: &Conn<'_>) -> Result<(), Failure> {
        if self.grave.is_empty() {
            return Ok(());
        }
        for handle in self.grave.take() {
            let is = conn.session()?.get_attributes(handle, &[AttributeType::Token]);
            if matches!(is.as_deref(), Ok([Attribute::Token(false)])) {
                let _ = conn.session()?.destroy_object(handle);
            }
        }
        Ok(())
    }

    /// Whether the token that the link was made to is still in its slot.
    pub(crate) fn is_there(&self, module: &Module) -> Result<(), Failure> {
        match module.context.get_token_info(self.slot) {
            Ok(info) if info.serial_number().trim() == self.serial => Ok(()),
            Ok(_) => Err(Failure::NoLink("another token is in its slot; put it back".to_owned())),
            Err(error) => Err(Failure::NoLink(describe(&error.into()))),
        }
    }
}

/// Makes a link: finds the token, opens a session and logs in. The module is initialised.
pub(crate) fn connect(inner: &Inner, epoch: u64) -> Result<Option<Link>, Failure> {
    let module = &inner.module;
    let generation = module.generation();
    let Some((slot, info)) = find(module, &inner.config.find)? else { return Ok(None) };
    let serial = info.serial_number().trim().to_owned();
    same_token(inner, &serial)?;
    let session = module.context.open_rw_session_no_drop(slot).map_err(Failure::from)?;
    if info.login_required()
        && let Err(failure) = login(inner, &session, &info)
    {
        let _ = module.raw.close_session(session.handle());
        return Err(failure);
    }
    module.owns(session.handle(), (inner.number, epoch));
    lock(&inner.serial).get_or_insert_with(|| serial.clone());
    let turns = module.turns(&serial);
    // Known of it, and a test shows it: see `turns`.
    if info.manufacturer_id().contains("SoftHSM") {
        turns.begin();
    }
    Ok(Some(Link {
        epoch,
        number: inner.number,
        generation,
        slot,
        serial,
        login_required: info.login_required(),
        sessions: Mutex::new(HashSet::from([session.handle()])),
        leaked: AtomicUsize::new(0),
        spare: Mutex::new(vec![session]),
        tokens: Mutex::new(Lru::new(inner.config.handles)),
        unwrapped: Mutex::new(Lru::new(inner.config.unwrapped)),
        opened: Mutex::new(Lru::new(inner.config.unwrapped)),
        learned: Learned::default(),
        uses: Uses::default(),
        turns,
        grave: Arc::default(),
        made: Arc::new(AtomicUsize::new(0)),
    }))
}

/// A token of the same label is not the same token: an empty one would answer that keys are not there, and be believed.
fn same_token(inner: &Inner, serial: &str) -> Result<(), Failure> {
    match &*lock(&inner.serial) {
        Some(known) if known != serial => Err(Failure::NoLink(format!(
            "the token with {} has the serial number `{serial}`, and the gateway has worked with `{known}`; put that one \
             back, or, if it was replaced on purpose, restart the gateway",
            inner.config.find
        ))),
        _ => Ok(()),
    }
}

fn find(module: &Module, find: &Find) -> Result<Option<(Slot, SlotTokenInfo)>, Failure> {
    let mut found = None;
    for slot in module.context.get_slots_with_token()? {
        // A slot that cannot be read is another token's trouble, or this one's: then it is not found.
        let Ok(info) = module.context.get_token_info(slot) else { continue };
        let is = info.token_initialized()
            && match find {
                Find::Label(label) => info.label().trim() == label.trim(),
                Find::Serial(serial) => info.serial_number().trim() == serial.trim(),
            };
        if is && found.replace((slot, info)).is_some() {
            return Err(Failure::NoLink(format!("more than one token has {find}; name yours by its serial number")));
        }
    }
    Ok(found)
}

/// Logs in, unless this token has refused this PIN before, and its file was not written since: a token locks after a few
/// wrong PINs.
fn login(inner: &Inner, session: &Session, info: &SlotTokenInfo) -> Result<(), Failure> {
    if info.user_pin_locked() {
        return Err(Failure::NoLink(
            "the token says that its PIN is locked (CKF_USER_PIN_LOCKED): have the security officer unlock it"
                .to_owned(),
        ));
    }
    let (pin, written) = read_pin(&inner.config.pin, &*inner.around.environment).map_err(Failure::NoLink)?;
    let mut hasher = blake3::Hasher::new_keyed(&inner.pin_key);
    hasher.update(pin.expose().as_bytes());
    hasher.update(&[0]);
    hasher.update(info.serial_number().trim().as_bytes());
    hasher.update(format!("{written:?}").as_bytes());
    let digest = hasher.finalize();
    if *lock(&inner.refused_pin) == Some(digest) {
        return Err(Failure::NoLink(
            "the token has refused this PIN before (CKR_PIN_INCORRECT); correct the PIN file, or write it anew to have it tried once more. The gateway does not try the \
             same PIN again, so that the token does not lock"
                .to_owned(),
        ));
    }
    // A box of exactly this length, so that no copy is left where a text grew. It wipes itself.
    let secret = AuthPin::new(pin.expose().to_owned().into_boxed_str());
    match session.login(UserType::User, Some(&secret)).map_err(Failure::from) {
        Ok(()) | Err(Failure::Rv { rv: rv::USER_ALREADY_LOGGED_IN, .. }) => {
            *lock(&inner.refused_pin) = None;
            Ok(())
        }
        Err(failure) => {
            if matches!(failure, Failure::Rv { rv: rv::PIN_INCORRECT, .. }) {
                *lock(&inner.refused_pin) = Some(digest);
            }
            Err(failure)
        }
    }
}

/// A count that goes down when it is dropped.
pub(crate) struct Counted(pub(crate) Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An object's handle. Of one link, never kept beyond it.
pub(crate) type Handle = ObjectHandle;
