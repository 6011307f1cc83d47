//! The one place of this crate with unsafe code: what the binding's safe face leaves out.
//!
//! - C_Encrypt, C_Decrypt, C_Sign and C_WrapKey with a buffer that is large enough from the start. The binding asks for the length
//!   first; NSS softokn then answers without the tag of GCM and fails with CKR_BUFFER_TOO_SMALL. It is also a call less.
//! - CKM_AES_KEY_WRAP_KWP, for which the binding has no name, and the whole list of mechanisms, which it filters.
//! - C_CloseSession by number, when all sessions of a lost link are closed by one thread; C_Finalize without giving the
//!   library up; C_Initialize with a vendor's parameter string.
//!
//! Every function takes slices and gives vectors. The pointers live no longer than the call; lengths come from the slices.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::path::Path;
use std::ptr;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys as sys;
use sys::{CK_ATTRIBUTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_RV, CK_ULONG};

use crate::error::Failure;
use crate::rv;

/// The functions of a module, beside the binding's.
pub(crate) struct Raw {
    functions: CK_FUNCTION_LIST,
    /// Keeps the library in memory.
    _library: sys::Pkcs11,
}

fn check(function: &'static str, rv: CK_RV) -> Result<(), Failure> {
    if rv == sys::CKR_OK { Ok(()) } else { Err(Failure::Rv { function: function.into(), rv }) }
}

/// A function of the list, or the answer of a module that does not have it.
macro_rules! function {
    ($raw:expr, $name:ident) => {
        $raw.functions
            .$name
            .ok_or(Failure::Rv { function: stringify!($name).into(), rv: rv::FUNCTION_NOT_SUPPORTED })?
    };
}

/// The mechanism as the module reads it. `other` replaces its number, for mechanisms that the binding has no name for.
fn mechanism_of(mechanism: &Mechanism<'_>, other: Option<u64>) -> CK_MECHANISM {
    let mut raw = CK_MECHANISM::from(mechanism);
    if let Some(number) = other {
        raw.mechanism = number;
    }
    raw
}

impl Raw {
    /// Loads the library once more; the system gives the one that is there.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: loading a library runs its initialisers. It is the file that the operator named as a PKCS#11 module, and
        // the binding has loaded it already.
        let library = unsafe { sys::Pkcs11::new(path) }.map_err(|e| e.to_string())?;
        let get = library.C_GetFunctionList.as_ref().map_err(|_| "it has no C_GetFunctionList".to_owned())?;
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the symbol is of the loaded library and takes a pointer to a pointer, which is valid for the call.
        let rv = unsafe { get(&mut list) };
        if rv != sys::CKR_OK || list.is_null() {
            return Err(format!("C_GetFunctionList answered {} (0x{rv:X})", rv::row_of(rv).name));
        }
        // SAFETY: the module answered CKR_OK, so `list` points to its list, which lives as long as the library. The list of
        // 2.40 is the beginning of every later one. It may be unaligned in a packed module: read so.
        let functions = unsafe { ptr::read_unaligned(list) };
        Ok(Self { functions, _library: library })
    }

    /// C_Initialize with the system's locks, and with a string of the vendor where there is one.
    pub(crate) fn initialize(context: &Pkcs11, reserved: Option<&CString>) -> Result<(), Failure> {
        let flags = CInitializeFlags::OS_LOCKING_OK;
        let args = match reserved.and_then(|text| ptr::NonNull::new(text.as_ptr().cast_mut().cast())) {
            // SAFETY: a C string that the module's caller keeps as long as the module. NSS documents that it takes one here;
            // it is given only where the operator wrote one.
            Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, text) },
            None => CInitializeArgs::new(flags),
        };
        context.initialize(args).map_err(Failure::from)
    }

    pub(crate) fn finalize(&self) -> Result<(), Failure> {
        // SAFETY: the argument is reserved and must be null. Nobody is inside the module: see `Module`.
        check("C_Finalize", unsafe { function!(self, C_Finalize)(ptr::null_mut()) })
    }

    pub(crate) fn close_session(&self, session: u64) -> Result<(), Failure> {
        // SAFETY: takes a number; one that is no session is answered with a return value.
        check("C_CloseSession", unsafe { function!(self, C_CloseSession)(session) })
    }

    /// The slot of a session, by C_GetSessionInfo.
    pub(crate) fn slot_of(&self, session: u64) -> Result<u64, Failure> {
        let mut info = sys::CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        // SAFETY: takes a number, and writes to a valid place; one that is no session is answered with a return value.
        check("C_GetSessionInfo", unsafe { function!(self, C_GetSessionInfo)(session, &mut info) })?;
        Ok(info.slotID)
    }

    pub(crate) fn mechanisms(&self, slot: u64) -> Result<Vec<u64>, Failure> {
        let get = function!(self, C_GetMechanismList);
        let mut count: CK_ULONG = 0;
        // SAFETY: a null list asks for the count, which is written to a valid place.
        check("C_GetMechanismList", unsafe { get(slot, ptr::null_mut(), &mut count) })?;
        let mut list = vec![0; usize::try_from(count).unwrap_or(0).min(65_536)];
        count = list.len() as CK_ULONG;
        // SAFETY: `count` says how many fit, and is the length of the vector.
        check("C_GetMechanismList", unsafe { get(slot, list.as_mut_ptr(), &mut count) })?;
        list.truncate(usize::try_from(count).unwrap_or(0));
        Ok(list)
    }

    /// C_EncryptInit and C_Encrypt with room for `longer` bytes more than `data`.
    pub(crate) fn encrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        longer: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut mechanism = mechanism_of(mechanism, None);
        // SAFETY: the mechanism's parameters borrow from the caller and live through both calls.
        let rv = unsafe { function!(self, C_EncryptInit)(session.handle(), &mut mechanism, key.handle()) };
        check("C_EncryptInit", rv)?;
        let mut out = vec![0; data.len() + longer];
        let mut len = out.len() as CK_ULONG;
        // SAFETY: `data` is only read, in spite of the type; `len` is the length of `out`.
        let rv = unsafe {
            function!(self, C_Encrypt)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut len,
            )
        };
        check("C_Encrypt", rv)?;
        out.truncate(usize::try_from(len).unwrap_or(0));
        Ok(out)
    }

    /// C_DecryptInit and C_Decrypt. The plaintext is never longer than the ciphertext. What comes of it is wiped by who
    /// gets it; the buffer is never moved to another place.
    pub(crate) fn decrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let mut mechanism = mechanism_of(mechanism, None);
        // SAFETY: as in `encrypt`.
        let rv = unsafe { function!(self, C_DecryptInit)(session.handle(), &mut mechanism, key.handle()) };
        check("C_DecryptInit", rv)?;
        let mut out = zeroize::Zeroizing::new(vec![0; data.len() + 16]);
        let mut len = out.len() as CK_ULONG;
        // SAFETY: as in `encrypt`.
        let rv = unsafe {
            function!(self, C_Decrypt)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut len,
            )
        };
        check("C_Decrypt", rv)?;
        let len = usize::try_from(len).unwrap_or(0);
        out.truncate(len);
        Ok(std::mem::take(&mut *out))
    }

    /// C_SignInit and C_Sign into a buffer of `room` bytes, which is never moved to another place.
    pub(crate) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut mechanism = mechanism_of(mechanism, None);
        // SAFETY: as in `encrypt`.
        let rv = unsafe { function!(self, C_SignInit)(session.handle(), &mut mechanism, key.handle()) };
        check("C_SignInit", rv)?;
        let mut out = zeroize::Zeroizing::new(vec![0; room]);
        let mut len = out.len() as CK_ULONG;
        // SAFETY: as in `encrypt`.
        let rv = unsafe {
            function!(self, C_Sign)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut len,
            )
        };
        check("C_Sign", rv)?;
        out.truncate(usize::try_from(len).unwrap_or(0));
        Ok(std::mem::take(&mut *out))
    }

    /// C_WrapKey into a buffer of `room` bytes.
    pub(crate) fn wrap(
        &self,
        session: &Session,
        mechanism: (&Mechanism<'_>, Option<u64>),
        wrapping: ObjectHandle,
        target: ObjectHandle,
        room: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut mechanism = mechanism_of(mechanism.0, mechanism.1);
        let mut out = vec![0; room];
        let mut len = out.len() as CK_ULONG;
        // SAFETY: as in `encrypt`.
        let rv = unsafe {
            function!(self, C_WrapKey)(
                session.handle(),
                &mut mechanism,
                wrapping.handle(),
                target.handle(),
                out.as_mut_ptr(),
                &mut len,
            )
        };
        check("C_WrapKey", rv)?;
        out.truncate(usize::try_from(len).unwrap_or(0));
        Ok(out)
    }

    /// C_UnwrapKey.
    pub(crate) fn unwrap(
        &self,
        session: &Session,
        mechanism: (&Mechanism<'_>, Option<u64>),
        unwrapping: ObjectHandle,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, Failure> {
        let mut mechanism = mechanism_of(mechanism.0, mechanism.1);
        let mut template: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let mut handle = 0;
        // SAFETY: as in `encrypt`; the attributes point into `template`'s values, which outlive the call.
        let rv = unsafe {
            function!(self, C_UnwrapKey)(
                session.handle(),
                &mut mechanism,
                unwrapping.handle(),
                wrapped.as_ptr().cast_mut(),
                wrapped.len() as CK_ULONG,
                template.as_mut_ptr(),
                template.len() as CK_ULONG,
                &mut handle,
            )
        };
        check("C_UnwrapKey", rv)?;
        // SAFETY: the module has just given this number as a handle.
        Ok(unsafe { ObjectHandle::new_from_raw(handle) })
    }
}
