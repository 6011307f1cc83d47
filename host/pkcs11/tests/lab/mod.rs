//! A SoftHSM of its own for each test: a configuration and a token directory in a temporary place. Tests of one process take
//! turns, because a module is the process's.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keygate_core::clock::Timestamp;
use keygate_core::entropy::{Entropy, EntropyError};
use keygate_core::ports::Clock;
use keygate_core::secret::SecretBytes;
use keygate_pkcs11::{
    Algorithm, Error, Find, IvSource, Key, KeyTemplate, Modules, Pending, PinSource, Sealed, Surroundings, Token,
    TokenConfig, Usage,
};

pub const PIN: &str = "geheim-4711";
const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

static TURN: Mutex<()> = Mutex::new(());

/// Time as the test says.
#[derive(Default)]
pub struct HandClock(AtomicU64);

impl HandClock {
    pub fn go(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|e| EntropyError(e.to_string()))
    }
}

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub clock: Arc<HandClock>,
    pub modules: Modules,
    _turn: MutexGuard<'static, ()>,
}

pub fn softhsm() -> PathBuf {
    let named = std::env::var_os("KEYGATE_TEST_SOFTHSM").map(PathBuf::from);
    let found = named.into_iter().chain(SOFTHSM.map(PathBuf::from)).find(|path| path.exists());
    found.expect(
        "SoftHSM 2 is not installed: `apt-get install softhsm2` (or name its libsofthsm2.so in KEYGATE_TEST_SOFTHSM)",
    )
}

fn faults() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().unwrap().join("libkeygate_pkcs11_faults.so");
    assert!(path.exists(), "{} is not there: `cargo build -p keygate-pkcs11-faults`", path.display());
    path
}

// The environment is changed before there is another thread in this process, or while the tests of it wait for their turn.
#[allow(unsafe_code)]
fn set(name: &str, value: &Path) {
    // SAFETY: see above.
    unsafe { std::env::set_var(name, value) }
}

impl Lab {
    /// With one token, labelled `keygate`.
    pub fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let config = dir.path().join("softhsm2.conf");
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        fs::write(&config, text).unwrap();
        fs::write(dir.path().join("faults"), "").unwrap();
        set("SOFTHSM2_CONF", &config);
        set("KEYGATE_FAULTS_MODULE", &softhsm());
        set("KEYGATE_FAULTS_FILE", &dir.path().join("faults"));
        let pin = dir.path().join("pin");
        fs::write(&pin, format!("{PIN}\n")).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        let lab = Self { dir, clock: Arc::default(), modules: Modules::new(), _turn: turn };
        lab.add_token("keygate");
        lab
    }

    /// Initialises one more token.
    pub fn add_token(&self, label: &str) {
        let module = Pkcs11::new(softhsm()).unwrap();
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let serial = |slot| module.get_token_info(slot).unwrap().serial_number().to_owned();
        let before: Vec<_> = module.get_slots_with_token().unwrap().into_iter().map(serial).collect();
        let slot = *module.get_slots_with_token().unwrap().last().unwrap();
        let so = AuthPin::new("so-pin-1234".into());
        module.init_token(slot, &so, label).unwrap();
        let named = |slot| module.get_token_info(slot).unwrap().label() == label;
        let slots = module.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|s| !before.contains(&serial(*s)) && named(*s)).unwrap();
        let session = module.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&so)).unwrap();
        session.init_pin(&AuthPin::new(PIN.into())).unwrap();
        session.logout().unwrap();
        drop(session);
        module.finalize().unwrap();
    }

    pub fn config(&self) -> TokenConfig {
        let pin = PinSource::File(self.dir.path().join("pin"));
        TokenConfig::new("hsm", softhsm(), Find::Label("keygate".into()), pin)
    }

    /// The same token through the module that fails as it is told.
    pub fn faulty(&self) -> TokenConfig {
        let mut config = self.config();
        config.module = faults();
        config.hang = Duration::from_millis(600);
        config.hang_generating = Duration::from_secs(60);
        config
    }

    /// The same, started, with a breaker that does not open.
    pub fn patient(&self) -> Token {
        let mut config = self.faulty();
        config.breaker.failures = 1_000;
        self.start(config)
    }

    pub fn tell(&self, rules: &str) {
        // Whole or not at all, and never the same text twice, so that `times` begins anew.
        static TOLD: AtomicU64 = AtomicU64::new(0);
        let text = format!("{rules}\n# {}\n", TOLD.fetch_add(1, Ordering::SeqCst));
        let draft = self.dir.path().join("faults.new");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.dir.path().join("faults")).unwrap();
    }

    pub fn surroundings(&self) -> Surroundings {
        Surroundings { clock: self.clock.clone(), entropy: Arc::new(System), environment: Arc::new(|_| None) }
    }

    pub fn start(&self, config: TokenConfig) -> Token {
        Token::start(config, &self.modules, self.surroundings()).unwrap()
    }

    pub fn token(&self) -> Token {
        self.start(self.config())
    }

    /// Somebody else in the same process, on the same module.
    pub fn somebody(&self) -> (Pkcs11, Session) {
        let module = Pkcs11::new(softhsm()).unwrap();
        let slots = module.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|s| module.get_token_info(*s).unwrap().label() == "keygate").unwrap();
        let session = module.open_rw_session(slot).unwrap();
        (module, session)
    }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

pub fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

pub fn all_uses() -> Usage {
    Usage { encrypt: true, decrypt: true, wrap: true, unwrap: true, mac: false }
}

pub fn aes(id: &[u8]) -> KeyTemplate {
    let usage = all_uses();
    KeyTemplate { algorithm: Algorithm::Aes, id: Some(id.to_vec()), usage, persistent: true, exportable: false }
}

pub fn session_aes(exportable: bool) -> KeyTemplate {
    // One that unwraps others is kept for nobody.
    let usage = Usage { wrap: exportable, unwrap: exportable, ..all_uses() };
    KeyTemplate { algorithm: Algorithm::Aes, id: None, usage, persistent: false, exportable }
}

pub fn rsa(id: &[u8]) -> KeyTemplate {
    KeyTemplate { algorithm: Algorithm::Rsa, ..aes(id) }
}

pub fn make(token: &Token, id: &[u8]) -> Key {
    token.generate_key(&aes(id), 256, soon()).wait().unwrap()
}

pub fn seal(key: &Key, text: &[u8]) -> Pending<Sealed> {
    key.seal(IvSource::Host, secret(text), b"aad".to_vec(), soon())
}

pub fn open(key: &Key, sealed: &Sealed) -> Result<Vec<u8>, Error> {
    key.open(sealed.clone(), b"aad".to_vec(), soon()).wait().map(|opened| opened.expose().to_vec())
}

/// Waits until something holds, for at most ten seconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "not in ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
