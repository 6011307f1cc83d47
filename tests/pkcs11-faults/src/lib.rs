//! A PKCS#11 module for tests. Forwards every function to the real module that `KEYGATE_FAULTS_MODULE` names, and does to
//! chosen ones what the file that `KEYGATE_FAULTS_FILE` names says, read again at each call. A line a rule:
//!
//! ```text
//! C_Encrypt rv=0x30           answers this instead of calling
//! C_Encrypt rv=0x30 times=2   the first two times (counted from when the file was written)
//! C_Encrypt after rv=0x30     calls, throws the answer away and answers this: a lost answer
//! C_Encrypt slow=200          waits so many milliseconds first; fractions are fine
//! C_Encrypt hang              waits until the rule is gone
//! C_Encrypt finalize times=1  the module is restarted: C_Finalize of the real one, when no call is inside it
//! ```
//!
//! Where `KEYGATE_FAULTS_DELAY` names milliseconds instead, nothing is read, and each function with which a device works with keys
//! or objects waits so long first: for benchmarks.
//!
//! An `after` of C_GenerateKey leaves the key in the token. C_Initialize and C_Finalize can be failed as well.
// The interface is C's, so all of this is unsafe: raw pointers come in and are handed on, untouched, to the real module,
// which this module loads and keeps for ever. A test's tool, part of no product.
#![allow(unsafe_code, non_snake_case)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use cryptoki_sys::*;

static REAL: OnceLock<Real> = OnceLock::new();
static LIST: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
static SPENT: Mutex<Option<(String, HashMap<usize, u64>)>> = Mutex::new(None);

/// Held by every call inside the real module: not every module survives C_Finalize under a call.
static INSIDE: RwLock<()> = RwLock::new(());

struct Real {
    _library: Pkcs11,
    list: CK_FUNCTION_LIST,
}

fn load() -> Option<Real> {
    let path = std::env::var_os("KEYGATE_FAULTS_MODULE")?;
    // SAFETY: the test names a PKCS#11 module.
    let library = unsafe { Pkcs11::new(path) }.ok()?;
    let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
    // SAFETY: a symbol of the library, with a valid place for its answer.
    let rv = unsafe { (library.C_GetFunctionList.as_ref().ok()?)(&mut list) };
    if rv != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: the module gave it with CKR_OK; it lives as long as the library.
    let list = unsafe { *list };
    Some(Real { _library: library, list })
}

fn real() -> Option<&'static CK_FUNCTION_LIST> {
    if REAL.get().is_none() {
        let _ = REAL.set(load()?);
    }
    REAL.get().map(|real| &real.list)
}

#[derive(Default)]
struct Fault {
    before: Option<CK_RV>,
    after: Option<CK_RV>,
}

/// What a device does itself. The `Init` of an operation and the look at a session stay in the module, with vendors who spare
/// the round trip.
const OF_THE_DEVICE: [&str; 13] = [
    "C_CreateObject",
    "C_DestroyObject",
    "C_GetAttributeValue",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_Encrypt",
    "C_Decrypt",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_WrapKey",
    "C_UnwrapKey",
    "C_GenerateRandom",
    "C_Login",
];

/// How long each of them waits, where that is fixed.
fn delay() -> Option<Duration> {
    static DELAY: OnceLock<Option<Duration>> = OnceLock::new();
    *DELAY.get_or_init(|| {
        let text = std::env::var("KEYGATE_FAULTS_DELAY").ok()?;
        Duration::try_from_secs_f64(text.parse::<f64>().ok()? / 1_000.0).ok()
    })
}

/// What the file says of a function now. Waits, where it says so.
fn fault(function: &str) -> Fault {
    if let Some(delay) = delay() {
        if OF_THE_DEVICE.contains(&function) {
            std::thread::sleep(delay);
        }
        return Fault::default();
    }
    loop {
        let path = std::env::var_os("KEYGATE_FAULTS_FILE");
        let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) else { return Fault::default() };
        let mut hang = false;
        let mut found = Fault::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            if words.next() != Some(function) {
                continue;
            }
            let (mut rv, mut after, mut times, mut slow) = (None, false, u64::MAX, Duration::ZERO);
            let (mut hangs, mut finalizes) = (false, false);
            for word in words {
                match word.split_once('=') {
                    Some(("rv", value)) => rv = CK_RV::from_str_radix(value.trim_start_matches("0x"), 16).ok(),
                    Some(("times", value)) => times = value.parse().unwrap_or(0),
                    Some(("slow", value)) => slow = Duration::from_secs_f64(value.parse().unwrap_or(0.0) / 1_000.0),
                    _ if word == "after" => after = true,
                    _ if word == "hang" => hangs = true,
                    _ if word == "finalize" => finalizes = true,
                    _ => {}
                }
            }
            if times != u64::MAX && !spend(&text, number, times) {
                continue;
            }
            if !slow.is_zero() {
                std::thread::sleep(slow);
            }
            if finalizes {
                finalize();
            }
            hang |= hangs;
            if after { found.after = rv } else { found.before = rv.or(found.before) }
        }
        if !hang {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As if somebody restarted the module.
fn finalize() {
    let _alone = INSIDE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(finalize) = real().and_then(|real| real.C_Finalize) {
        // SAFETY: nobody is inside, and the standard's reserved argument is null.
        unsafe { finalize(std::ptr::null_mut()) };
    }
}

/// Takes one of the times of a rule, while there are any.
fn spend(text: &str, line: usize, times: u64) -> bool {
    let mut spent = SPENT.lock().unwrap_or_else(PoisonError::into_inner);
    if spent.as_ref().is_none_or(|(of, _)| of != text) {
        *spent = Some((text.to_owned(), HashMap::new()));
    }
    let Some((_, counts)) = spent.as_mut() else { return false };
    let count = counts.entry(line).or_insert(0);
    *count += 1;
    *count <= times
}

/// A function that may fail, in front of the real one.
macro_rules! functions {
    ($($name:ident($($arg:ident: $kind:ty),*);)*) => {
        $(unsafe extern "C" fn $name($($arg: $kind),*) -> CK_RV {
            let fault = fault(stringify!($name));
            if let Some(rv) = fault.before {
                return rv;
            }
            let Some(function) = real().and_then(|real| real.$name) else { return CKR_FUNCTION_NOT_SUPPORTED };
            let _inside = INSIDE.read().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the arguments are the caller's, who promised what the standard asks.
            let rv = unsafe { function($($arg),*) };
            fault.after.unwrap_or(rv)
        })*

        fn with_faults(mut list: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
            $(list.$name = Some($name);)*
            list
        }
    };
}

functions! {
    C_Initialize(args: *mut c_void);
    C_Finalize(reserved: *mut c_void);
    C_GetInfo(info: *mut CK_INFO);
    C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG);
    C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO);
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO);
    C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, app: *mut c_void, notify: CK_NOTIFY, out: *mut CK_SESSION_HANDLE);
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, len: CK_ULONG);
    C_Logout(session: CK_SESSION_HANDLE);
    C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, out: *mut CK_OBJECT_HANDLE);
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, list: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjects(session: CK_SESSION_HANDLE, found: *mut CK_OBJECT_HANDLE, max: CK_ULONG, count: *mut CK_ULONG);
    C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, len: CK_ULONG, out: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, len: CK_ULONG, out: *mut CK_BYTE, room: *mut CK_ULONG);
    C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        out: *mut CK_OBJECT_HANDLE);
    C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE,
        publics: CK_ULONG, private: *mut CK_ATTRIBUTE, privates: CK_ULONG, out_public: *mut CK_OBJECT_HANDLE,
        out_private: *mut CK_OBJECT_HANDLE);
    C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE,
        out: *mut CK_BYTE, room: *mut CK_ULONG);
    C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE,
        len: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, out: *mut CK_OBJECT_HANDLE);
    C_GenerateRandom(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, len: CK_ULONG);
}

/// The module's only symbol: its list of functions, those of the real one where there is no wrapper.
///
/// # Safety
/// `list` must be valid for a write, as the standard asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(real) = real() else { return CKR_LIBRARY_LOAD_FAILED };
    let own = LIST.get_or_init(|| with_faults(*real));
    // SAFETY: the caller gives a valid place. Nobody writes through the list: it is const in the standard's use.
    unsafe { *list = std::ptr::from_ref(own).cast_mut() };
    CKR_OK
}
