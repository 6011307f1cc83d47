//! What the token can do: threads with a session each that call C_EncryptInit and C_Encrypt, and nothing else.
// The binding's safe face calls C_Encrypt twice, the first time for the length; the bridge does not, so neither does this.
#![allow(unsafe_code)]

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use cryptoki_sys as sys;

use crate::load::Figures;

/// As long as what the gateway binds a ciphertext to.
const AAD: [u8; 160] = [0xAD; 160];
const LABEL: &[u8] = b"bench";

/// A token, and a key in it.
pub(crate) struct Bare {
    context: Pkcs11,
    functions: sys::CK_FUNCTION_LIST,
    _library: sys::Pkcs11,
    slot: Slot,
    /// Keeps the login.
    _session: Mutex<Session>,
    bytes: usize,
}

impl Bare {
    /// Logs in and makes a key as the plugin would.
    pub(crate) fn new(module: &Path, label: &str, pin: &str, bytes: usize) -> Self {
        let context = Pkcs11::new(module).expect("the module");
        // The gateway in this process has done so already.
        let _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slots = context.get_slots_with_initialized_token().expect("slots");
        let named = |slot: &Slot| context.get_token_info(*slot).is_ok_and(|info| info.label() == label);
        let slot = slots.into_iter().find(named).expect("the token");
        let session = context.open_rw_session(slot).expect("a session");
        let _ = session.login(UserType::User, Some(&AuthPin::new(pin.to_owned().into())));
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(LABEL.to_vec()),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).expect("a key");
        // SAFETY: the library is in memory already, by the safe binding.
        let library = unsafe { sys::Pkcs11::new(module) }.expect("the module once more");
        let get = library.C_GetFunctionList.as_ref().expect("a list of functions");
        let mut list: *mut sys::CK_FUNCTION_LIST = std::ptr::null_mut();
        // SAFETY: a symbol of the loaded library, with a valid place for its answer.
        assert_eq!(unsafe { get(&mut list) }, sys::CKR_OK);
        // SAFETY: the module answered with its list, which lives as long as the library.
        let functions = unsafe { *list };
        Self { context, functions, _library: library, slot, _session: Mutex::new(session), bytes }
    }

    fn encrypt(&self, session: &Session, key: ObjectHandle, data: &mut [u8], out: &mut [u8]) {
        let mut iv = [0; 12];
        aws_lc_rs::rand::fill(&mut iv).expect("random bytes");
        let parameters = GcmParams::new(&mut iv, &AAD, 128.into()).expect("parameters");
        let mechanism = Mechanism::AesGcm(parameters);
        let mut raw = sys::CK_MECHANISM::from(&mechanism);
        let (init, encrypt) = (self.functions.C_EncryptInit, self.functions.C_Encrypt);
        let (init, encrypt) = (init.expect("C_EncryptInit"), encrypt.expect("C_Encrypt"));
        // SAFETY: the mechanism borrows what it points to until after both calls; the session is open.
        assert_eq!(unsafe { init(session.handle(), &mut raw, key.handle()) }, sys::CKR_OK);
        let mut room = out.len() as sys::CK_ULONG;
        let len = data.len() as sys::CK_ULONG;
        // SAFETY: both buffers are as long as is said.
        let rv = unsafe { encrypt(session.handle(), data.as_mut_ptr(), len, out.as_mut_ptr(), &mut room) };
        assert_eq!((rv, room), (sys::CKR_OK, len + 16));
    }

    /// One turn of so many threads.
    pub(crate) fn run(&self, threads: usize, turn: Duration) -> Figures {
        let open = |_| {
            let session = self.context.open_ro_session(self.slot).expect("a session");
            let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(LABEL.to_vec())];
            let key = session.find_objects(&template).expect("objects").into_iter().next().expect("the key");
            (session, key)
        };
        let sessions: Vec<_> = (0..threads).map(open).collect();
        let begin = Instant::now();
        let took = std::thread::scope(|scope| {
            let work = |(session, key)| {
                scope.spawn(move || {
                    let (mut data, mut out) = (vec![0x5A; self.bytes], vec![0; self.bytes + 16]);
                    let mut took = Vec::new();
                    while begin.elapsed() < turn {
                        let start = Instant::now();
                        self.encrypt(&session, key, &mut data, &mut out);
                        took.push(start.elapsed());
                    }
                    took
                })
            };
            let threads: Vec<_> = sessions.into_iter().map(work).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
        });
        Figures::of(took, begin.elapsed())
    }
}
