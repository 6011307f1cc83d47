//! A token: what the runtime calls. Arguments are checked against the bounds of `keygate:host/pkcs11` here, before a session
//! is asked for.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keygate_core::secret::SecretBytes;

use crate::bounds::{all, at_most, check_id, check_sealed, check_template, one_of};
use crate::breaker::Breaker;
use crate::config::{Surroundings, TokenConfig};
use crate::conn::Conn;
use crate::error::{Error, Failure, StartError};
use crate::handles::{self, Identity};
use crate::health::{Counters, Counts, Health};
use crate::key::{Algorithm, Digest, IvSource, Key, KeyTemplate, Recipe, Sealed, Wrapping};
use crate::link::Opening;
use crate::module::Modules;
use crate::ops::{cipher, create, wrap};
use crate::pending::{Pending, lock};
use crate::pool::{How, Inner, State};
use crate::probe::{self, Probe};

/// The longest CKA_ID, in bytes.
pub const MAX_ID: usize = 64;
/// The longest plaintext and the longest AAD, in bytes.
pub const MAX_DATA: usize = 65_536;
/// The most random bytes of one call.
pub const MAX_RANDOM: u32 = 4_096;
/// The longest OAEP ciphertext, in bytes: of RSA-4096.
pub const MAX_OAEP: usize = 512;
/// The longest text of a CMAC, in bytes.
pub const MAX_MAC: usize = 1_024;
/// The longest wrapped key, in bytes.
pub const MAX_WRAPPED: usize = 4_096;
/// How long stopping waits for calls inside the module.
const STOP: Duration = Duration::from_secs(5);

/// What a token is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// CK_TOKEN_INFO.manufacturerID, blanks cut.
    pub manufacturer: String,
    /// CK_TOKEN_INFO.model, blanks cut.
    pub model: String,
    /// The names of its mechanisms, `CKM_...`; those without a name as `0x` and eight digits.
    pub mechanisms: Vec<String>,
}

/// The token as its users hold it: when the last lets go, it stops.
pub(crate) struct Door {
    pub(crate) inner: Arc<Inner>,
}

/// A token, found by label or serial, logged in, with a pool of sessions. Cheap to clone. Keys hold it.
#[derive(Clone)]
pub struct Token {
    door: Arc<Door>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name())
    }
}

impl Token {
    /// Loads the module, if it is not loaded, and starts the workers. The token itself need not be there: it is linked by
    /// the first call, and [`Token::connect`] says whether it can be.
    ///
    /// # Errors
    /// When the configuration is wrong, the module cannot be loaded and initialised, or there are no threads.
    pub fn start(config: TokenConfig, modules: &Modules, around: Surroundings) -> Result<Self, StartError> {
        config.check()?;
        let module = modules.load(&config.module, config.module_parameters.as_deref())?;
        let threads = |e: std::io::Error| StartError::Threads { token: config.name.clone(), problem: e.to_string() };
        let mut pin_key = [0; 32];
        around
            .entropy
            .fill(&mut pin_key)
            .map_err(|e| StartError::Config { token: config.name.clone(), problem: e.to_string() })?;
        let inner = Arc::new(Inner {
            number: module.number(),
            module,
            breaker: Arc::new(Mutex::new(Breaker::new(config.breaker.clone(), config.hang, around.clock.now()))),
            config: config.clone(),
            around,
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            left: Condvar::new(),
            wake: Condvar::new(),
            threads: Mutex::default(),
            counters: Counters::default(),
            last_error: Mutex::default(),
            pin_key,
            serial: Mutex::default(),
            refused_pin: Mutex::default(),
            making: Mutex::default(),
            numbers: 0.into(),
        });
        let token = Self { door: Arc::new(Door { inner: inner.clone() }) };
        {
            let mut state = inner.lock();
            for _ in 0..config.sessions {
                inner.hire(&mut state).map_err(threads)?;
                state.live += 1;
            }
        }
        let warden = inner.clone();
        let name = format!("pkcs11-{}-w", config.name.chars().take(32).collect::<String>());
        let join = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                lock(&warden.threads).insert(std::thread::current().id());
                warden.watch();
            })
            .map_err(threads)?;
        inner.lock().joins.push(join);
        Ok(token)
    }

    /// The operator's name for it.
    pub fn name(&self) -> &str {
        &self.inner().config.name
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.door.inner
    }

    fn call<T: Send + 'static>(
        &self,
        how: How,
        work: impl FnMut(&Conn<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Pending<T> {
        self.inner().submit(how, work)
    }

    /// Makes sure that the token can be reached and logged into.
    pub fn connect(&self, deadline: Instant) -> Pending<()> {
        self.call(How::by(deadline), |conn| conn.lives())
    }

    /// What it is and can do.
    pub fn info(&self, deadline: Instant) -> Pending<TokenInfo> {
        self.call(How::by(deadline), probe::info)
    }

    /// Tries everything that this crate does, with keys of its own that vanish with it, and known answers where there are
    /// some. Makes an RSA pair: give it time.
    pub fn probe(&self, deadline: Instant) -> Pending<Probe> {
        self.call(How { slow: true, ..How::by(deadline) }, probe::run)
    }

    /// The secret or private key with this CKA_ID (1 to 64 bytes).
    pub fn find_key(&self, id: &[u8], deadline: Instant) -> Pending<Key> {
        if let Err(error) = check_id(id) {
            return Pending::ready(Err(error));
        }
        let identity = Identity::Token(id.to_vec());
        // What is known is not looked up again, nor is anybody asked: if it is gone, its use will tell.
        if self.inner().knows(&identity) {
            return Pending::ready(Ok(create::key_of(&self.door, (identity, None))));
        }
        let (door, id) = (self.door.clone(), id.to_vec());
        self.call(How::by(deadline), move |conn| {
            conn.begin(&identity)?;
            handles::find(conn, &id)?;
            Ok(create::key_of(&door, (identity.clone(), None)))
        })
    }

    /// Makes an AES key of 128, 192 or 256 bits inside the token.
    pub fn generate_key(&self, template: &KeyTemplate, bits: u32, deadline: Instant) -> Pending<Key> {
        let checked = check_template(template, Algorithm::Aes);
        if let Err(error) = checked.and_then(|()| one_of(bits, &[128, 192, 256])) {
            return Pending::ready(Err(error));
        }
        let (door, template, begun) = (self.door.clone(), template.clone(), Cell::new(false));
        self.call(How { makes: true, ..How::by(deadline) }, move |conn| {
            create::generate_aes(conn, &begun, &template, u64::from(bits / 8)).map(|new| create::key_of(&door, new))
        })
    }

    /// Makes an RSA key pair inside the token: 2,048, 3,072 or 4,096 bits. `usage.encrypt` and `usage.wrap` are the public
    /// half's.
    pub fn generate_key_pair(&self, template: &KeyTemplate, bits: u32, deadline: Instant) -> Pending<Key> {
        let checked = check_template(template, Algorithm::Rsa);
        if let Err(error) = checked.and_then(|()| one_of(bits, &[2_048, 3_072, 4_096])) {
            return Pending::ready(Err(error));
        }
        let (door, template, begun) = (self.door.clone(), template.clone(), Cell::new(false));
        self.call(How { slow: true, makes: true, ..How::by(deadline) }, move |conn| {
            create::generate_rsa(conn, &begun, &template, u64::from(bits)).map(|new| create::key_of(&door, new))
        })
    }

    /// Brings an AES key of 16, 24 or 32 bytes into the token.
    pub fn import_key(&self, template: &KeyTemplate, material: SecretBytes, deadline: Instant) -> Pending<Key> {
        let checked = check_template(template, Algorithm::Aes);
        let bits = u32::try_from(material.len() * 8).unwrap_or(u32::MAX);
        if let Err(error) = checked.and_then(|()| one_of(bits, &[128, 192, 256])) {
            return Pending::ready(Err(error));
        }
        let (door, template, begun) = (self.door.clone(), template.clone(), Cell::new(false));
        self.call(How { makes: true, ..How::by(deadline) }, move |conn| {
            create::import_aes(conn, &begun, &template, material.expose()).map(|new| create::key_of(&door, new))
        })
    }

    /// Destroys the key with this CKA_ID, and the public half of a pair.
    pub fn destroy_key(&self, id: &[u8], deadline: Instant) -> Pending<()> {
        if let Err(error) = check_id(id) {
            return Pending::ready(Err(error));
        }
        let (id, begun) = (id.to_vec(), Cell::new(false));
        self.call(How { makes: true, ..How::by(deadline) }, move |conn| create::destroy(conn, &begun, &id))
    }

    /// `len` bytes of the token's generator: 0 to 4,096.
    pub fn random(&self, len: u32, deadline: Instant) -> Pending<SecretBytes> {
        if len > MAX_RANDOM {
            return Pending::ready(Err(Error::invalid(format!("`len` must be at most {MAX_RANDOM}"))));
        }
        self.call(How::by(deadline), move |conn| cipher::random(conn, len))
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let inner = self.inner();
        let ((breaker, since), retry_after) = {
            let mut breaker = lock(&inner.breaker);
            (breaker.state(), breaker.opens_in(inner.now()))
        };
        let counts = self.counts();
        let state = inner.lock();
        let link = state.link.as_ref();
        Health {
            name: inner.config.name.clone(),
            linked: link.is_some(),
            breaker,
            since,
            in_use: state.running.len(),
            workers: state.live,
            written_off: state.lost,
            sessions: link.map_or(0, |link| lock(&link.sessions).len()),
            queued: state.queue.len(),
            unwrapped: link.map_or(0, |link| lock(&link.unwrapped).len()),
            last_error: lock(&inner.last_error).clone(),
            retry_after,
            counts,
        }
    }

    /// What happened since it was started.
    pub fn counts(&self) -> Counts {
        let inner = self.inner();
        Counts { opened: lock(&inner.breaker).opened, ..inner.counters.read() }
    }

    /// Stops it: call this before the process ends, since modules do not survive a call under their exit handlers. What
    /// waits is refused, what is inside the module may finish for five seconds, then the sessions are closed and the threads
    /// have ended. The module is finalised when the last handle of its last token is dropped. Dropping that handle stops the
    /// token as well.
    pub fn stop(&self) {
        stop(self.inner());
    }
}

fn stop(inner: &Inner) {
    let mut state = inner.lock();
    if std::mem::replace(&mut state.closing, true) {
        return;
    }
    for job in state.queue.drain(..) {
        job.answer().refuse(Error::unavailable("the gateway is stopping"));
    }
    inner.work.notify_all();
    inner.left.notify_all();
    let until = Instant::now() + STOP;
    while state.live > 0 || state.lost > 0 {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = inner.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    let quiet = state.live == 0;
    // Their end is waited for, because each holds the module: when the last token has stopped, the module is finalised on
    // this thread, and not while the process ends. One that hangs inside is not waited for.
    let joins = if quiet && state.lost == 0 { std::mem::take(&mut state.joins) } else { Vec::new() };
    if let Some(link) = state.link.take() {
        state.given_up.push(link);
    }
    drop(state);
    inner.wake.notify_all();
    for join in joins {
        let _ = join.join();
    }
    inner.module.set_linked(inner.number, false);
    if quiet {
        inner.close_given_up((inner.number, 0));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let inner = self.inner.clone();
        let worker = lock(&inner.threads).contains(&std::thread::current().id());
        if !worker {
            stop(&inner);
        } else if let Err(error) = std::thread::Builder::new().spawn(move || stop(&inner)) {
            // A worker cannot wait for itself to end. Without a thread the token stays open until the process ends.
            tracing::warn!("a PKCS#11 token could not be stopped: {error}");
        }
    }
}

impl Key {
    fn call<T: Send + 'static>(
        &self,
        deadline: Instant,
        mut work: impl FnMut(&Conn<'_>, &Key) -> Result<T, Failure> + Send + 'static,
    ) -> Pending<T> {
        let key = self.clone();
        self.door.inner.submit(How::by(deadline), move |conn| work(conn, &key))
    }

    /// The operator's name for its token.
    pub fn token(&self) -> &str {
        &self.door.inner.config.name
    }

    /// Seals with CKM_AES_GCM. Plaintext and AAD at most 65,536 bytes each.
    pub fn seal(&self, source: IvSource, plaintext: SecretBytes, aad: Vec<u8>, deadline: Instant) -> Pending<Sealed> {
        if let Err(error) = at_most("plaintext", plaintext.len()).and_then(|()| at_most("aad", aad.len())) {
            return Pending::ready(Err(error));
        }
        self.call(deadline, move |conn, key| cipher::seal(conn, key, source, &plaintext, &aad))
    }

    /// Opens what `seal` made.
    pub fn open(&self, sealed: Sealed, aad: Vec<u8>, deadline: Instant) -> Pending<SecretBytes> {
        if let Err(error) = check_sealed(&sealed, &aad) {
            return Pending::ready(Err(error));
        }
        self.call(deadline, move |conn, key| cipher::open(conn, key, &sealed, &aad))
    }

    /// The same, of a text that is no secret: what came out is kept with the link, up to a bound, and is given again to who
    /// opens the same text with the same key, without a call on the token.
    pub fn open_public(&self, sealed: Sealed, aad: Vec<u8>, deadline: Instant) -> Pending<Vec<u8>> {
        if let Err(error) = check_sealed(&sealed, &aad) {
            return Pending::ready(Err(error));
        }
        let text = Opening::new(&self.identity, &sealed, &aad);
        if let Some(opened) = self.door.inner.opened(&text) {
            return Pending::ready(Ok(opened));
        }
        self.call(deadline, move |conn, key| {
            let opened = cipher::open(conn, key, &sealed, &aad)?.expose().to_vec();
            conn.link.remember(&text, &opened);
            Ok(opened)
        })
    }

    /// Computes CKM_AES_CMAC of at most 1,024 bytes: 16 bytes.
    pub fn mac(&self, data: Vec<u8>, deadline: Instant) -> Pending<SecretBytes> {
        if data.len() > MAX_MAC {
            return Pending::ready(Err(Error::invalid(format!("`data` must have at most {MAX_MAC} bytes"))));
        }
        self.call(deadline, move |conn, key| cipher::mac(conn, key, &data))
    }

    /// Decrypts with CKM_AES_CBC_PAD: `iv` of 16 bytes, at most 65,552 bytes in whole blocks.
    pub fn decrypt_cbc(&self, iv: &[u8], ciphertext: Vec<u8>, deadline: Instant) -> Pending<SecretBytes> {
        let Ok(iv) = <[u8; 16]>::try_from(iv) else {
            return Pending::ready(Err(Error::invalid("`iv` must have 16 bytes")));
        };
        let len = ciphertext.len();
        let bounds = [(
            (16..=MAX_DATA + 16).contains(&len) && len.is_multiple_of(16),
            "`ciphertext` must be 1 to 4,097 blocks of 16 bytes",
        )];
        if let Err(error) = all(&bounds) {
            return Pending::ready(Err(error));
        }
        self.call(deadline, move |conn, key| cipher::decrypt_cbc(conn, key, iv, &ciphertext))
    }

    /// Decrypts with CKM_RSA_PKCS_OAEP: 1 to 512 bytes in.
    pub fn decrypt_oaep(&self, digest: Digest, ciphertext: Vec<u8>, deadline: Instant) -> Pending<SecretBytes> {
        if !(1..=MAX_OAEP).contains(&ciphertext.len()) {
            return Pending::ready(Err(Error::invalid("`ciphertext` must have 1 to 512 bytes")));
        }
        self.call(deadline, move |conn, key| cipher::decrypt_oaep(conn, key, digest, &ciphertext))
    }

    /// Wraps another key of the same token with this one, which must have been made in the token (CKA_LOCAL) and must not be
    /// exportable itself.
    pub fn wrap_key(&self, how: Wrapping, target: &Key, deadline: Instant) -> Pending<Vec<u8>> {
        if !Arc::ptr_eq(&self.door, &target.door) {
            return Pending::ready(Err(Error::invalid("`target` is a key of another token")));
        }
        let target = target.clone();
        self.call(deadline, move |conn, key| wrap::wrap(conn, key, how, &target))
    }

    /// Unwraps a key into the token: 1 to 4,096 bytes in. A session object is kept, up to a bound, and shared with whoever
    /// unwraps the same bytes in the same way.
    pub fn unwrap_key(
        &self,
        how: Wrapping,
        wrapped: Vec<u8>,
        template: &KeyTemplate,
        deadline: Instant,
    ) -> Pending<Key> {
        let fits = (1..=MAX_WRAPPED).contains(&wrapped.len());
        let bounds = [(fits, "`wrapped` must have 1 to 4,096 bytes")];
        if let Err(error) = all(&bounds).and_then(|()| check_template(template, template.algorithm)) {
            return Pending::ready(Err(error));
        }
        let recipe = Arc::new(Recipe { unwrapping: self.clone(), how, wrapped, template: template.clone() });
        let (door, begun) = (self.door.clone(), Cell::new(false));
        if template.persistent {
            return self.call(deadline, move |conn, _| {
                wrap::unwrap_persistent(conn, &begun, &recipe).map(|new| create::key_of(&door, new))
            });
        }
        // What may leave the token again, or opens what may, is nobody's but the caller's, and ends with the handle.
        if template.exportable || template.usage.unwrap || template.usage.wrap {
            return self.call(deadline, move |conn, _| {
                wrap::unwrap_passing(conn, &recipe).map(|new| create::key_of(&door, new))
            });
        }
        let identity = wrap::identity_of(&recipe);
        let known = self.door.inner.knows(&identity);
        let key = Key { door, identity, recipe: Some(recipe), made: None };
        if known {
            return Pending::ready(Ok(key));
        }
        self.door.inner.submit(How::by(deadline), move |conn| {
            handles::resolve(conn, &key)?;
            Ok(key.clone())
        })
    }

    /// Lets go of the session object that is kept of such an unwrapping. It is destroyed by the next call on the token after
    /// who uses it now is done. Waits for nothing.
    pub fn forget_unwrapped(&self, how: Wrapping, wrapped: Vec<u8>, template: &KeyTemplate) {
        let recipe = Recipe { unwrapping: self.clone(), how, wrapped, template: template.clone() };
        let identity = wrap::identity_of(&recipe);
        let link = self.door.inner.lock().link.clone();
        let known = link.and_then(|link| lock(&link.unwrapped).remove(&identity));
        drop(known);
    }

    /// Wraps this key to an RSA-4096 public key from outside, as CKM_RSA_AES_KEY_WRAP does. Whoever names the recipient gets
    /// the key: the caller sees to the grant.
    pub fn wrap_to(&self, digest: Digest, recipient: &[u8], deadline: Instant) -> Pending<Vec<u8>> {
        if recipient.len() > MAX_WRAPPED {
            return Pending::ready(Err(Error::invalid("`recipient` must have at most 4,096 bytes")));
        }
        let recipient = recipient.to_vec();
        self.call(deadline, move |conn, key| wrap::wrap_to(conn, key, digest, &recipient))
    }

    /// The public half of a pair as SubjectPublicKeyInfo (DER).
    pub fn public_key(&self, deadline: Instant) -> Pending<Vec<u8>> {
        self.call(deadline, wrap::public_key)
    }
}
