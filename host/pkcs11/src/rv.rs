//! The one table of return values: what each means to the caller, what must be rebuilt after it, whether it speaks
//! against the token, and what the operator can do.

use cryptoki::error::{Rv, RvError};

use crate::error::{Error, Rejection};

/// What a return value means to who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Auth,
    Input,
    Unsupported,
    NotFound,
    Busy,
    Unavailable,
    Rejected,
}

/// What must be made anew before the module is asked again. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rebuild {
    /// Nothing.
    Nothing,
    /// Nothing yet: the session is asked whether it lives, and the link is made anew when it does not.
    Doubt,
    /// The handles of the keys that were used: look them up, or unwrap them, again.
    Handles,
    /// This session: an operation hangs on it.
    Session,
    /// All sessions, the login and all handles.
    Link,
    /// The module: C_Initialize. Then the link.
    Module,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) rv: u64,
    pub(crate) name: &'static str,
    pub(crate) means: Means,
    pub(crate) rebuild: Rebuild,
    /// Whether it counts for the circuit breaker.
    pub(crate) counts: bool,
    pub(crate) mend: &'static str,
}

const fn row(rv: u64, name: &'static str, means: Means, rebuild: Rebuild, counts: bool, mend: &'static str) -> Row {
    Row { rv, name, means, rebuild, counts, mend }
}

use Means::{Auth, Busy, Input, NotFound, Rejected, Unavailable, Unsupported};
use Rebuild::{Doubt, Handles, Link, Module, Nothing, Session};

pub(crate) const GENERAL_ERROR: u64 = 0x5;
pub(crate) const FUNCTION_FAILED: u64 = 0x6;
pub(crate) const ARGUMENTS_BAD: u64 = 0x7;
pub(crate) const FUNCTION_NOT_SUPPORTED: u64 = 0x54;
pub(crate) const KEY_SIZE_RANGE: u64 = 0x62;
pub(crate) const PIN_INCORRECT: u64 = 0xA0;
pub(crate) const USER_ALREADY_LOGGED_IN: u64 = 0x100;
pub(crate) const USER_NOT_LOGGED_IN: u64 = 0x101;
pub(crate) const CRYPTOKI_NOT_INITIALIZED: u64 = 0x190;
pub(crate) const CRYPTOKI_ALREADY_INITIALIZED: u64 = 0x191;
/// From here up the values are the vendors' own.
pub(crate) const VENDOR_DEFINED: u64 = 0x8000_0000;

/// PKCS#11 3.2 with the values of 2.40.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(0x1, "CKR_CANCEL", Rejected, Nothing, false, "the call was cancelled inside the module; try again"),
    row(0x2, "CKR_HOST_MEMORY", Unavailable, Nothing, true, "give the gateway more memory"),
    row(0x3, "CKR_SLOT_ID_INVALID", Unavailable, Link, true, "the token moved to another slot or is gone; see that it is connected"),
    row(0x5, "CKR_GENERAL_ERROR", Rejected, Doubt, true, "read the module's own log; restart the gateway if it stays"),
    row(0x6, "CKR_FUNCTION_FAILED", Rejected, Doubt, true, "read the module's own log"),
    row(0x7, "CKR_ARGUMENTS_BAD", Rejected, Nothing, false, "the module does not take these arguments; report it with the module's name and version"),
    row(0x8, "CKR_NO_EVENT", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x9, "CKR_NEED_TO_CREATE_THREADS", Unavailable, Nothing, true, "the module must be allowed threads; report it with the module's name and version"),
    row(0xA, "CKR_CANT_LOCK", Unavailable, Nothing, true, "the module cannot use the system's locks: use a version of it that is thread-safe"),
    row(0x10, "CKR_ATTRIBUTE_READ_ONLY", Unsupported, Nothing, false, "the token sets this attribute itself; change the key template in the plugin's settings"),
    row(0x11, "CKR_ATTRIBUTE_SENSITIVE", Rejected, Nothing, false, "the token does not show this attribute; report it with the module's name and version"),
    row(0x12, "CKR_ATTRIBUTE_TYPE_INVALID", Unsupported, Nothing, false, "the token does not know an attribute of the template; change the key template in the plugin's settings"),
    row(0x13, "CKR_ATTRIBUTE_VALUE_INVALID", Unsupported, Nothing, false, "the token does not take a value of the template; change the key template in the plugin's settings"),
    row(0x1B, "CKR_ACTION_PROHIBITED", Rejected, Nothing, false, "the token's policy forbids it; ask the token's security officer"),
    row(0x20, "CKR_DATA_INVALID", Input, Nothing, false, "the data is not what the mechanism takes"),
    row(0x21, "CKR_DATA_LEN_RANGE", Input, Nothing, false, "the data is too long or too short for the mechanism"),
    row(0x30, "CKR_DEVICE_ERROR", Rejected, Doubt, true, "look at the device and at the module's own log"),
    row(0x31, "CKR_DEVICE_MEMORY", Rejected, Nothing, false, "the token is full: remove objects or keep keys wrapped"),
    row(0x32, "CKR_DEVICE_REMOVED", Unavailable, Link, true, "put the token back"),
    row(0x40, "CKR_ENCRYPTED_DATA_INVALID", Auth, Nothing, false, "the ciphertext is not of this key"),
    row(0x41, "CKR_ENCRYPTED_DATA_LEN_RANGE", Auth, Nothing, false, "the ciphertext is not of this key"),
    row(0x42, "CKR_AEAD_DECRYPT_FAILED", Auth, Nothing, false, "the ciphertext is not of this key"),
    row(0x50, "CKR_FUNCTION_CANCELED", Rejected, Nothing, false, "the call was cancelled inside the module; try again"),
    row(0x51, "CKR_FUNCTION_NOT_PARALLEL", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x54, "CKR_FUNCTION_NOT_SUPPORTED", Unsupported, Nothing, false, "the module does not have this function; use another mechanism in the plugin's settings"),
    row(0x60, "CKR_KEY_HANDLE_INVALID", NotFound, Handles, false, "the key is gone from the token"),
    row(0x62, "CKR_KEY_SIZE_RANGE", Unsupported, Nothing, false, "the token does not take keys of this size; choose another size"),
    row(0x63, "CKR_KEY_TYPE_INCONSISTENT", Input, Nothing, false, "the key is of the wrong type for the mechanism"),
    row(0x64, "CKR_KEY_NOT_NEEDED", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x65, "CKR_KEY_CHANGED", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x66, "CKR_KEY_NEEDED", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x67, "CKR_KEY_INDIGESTIBLE", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED", Input, Nothing, false, "the key's attributes do not permit this use"),
    row(0x69, "CKR_KEY_NOT_WRAPPABLE", Input, Nothing, false, "the key cannot be wrapped"),
    row(0x6A, "CKR_KEY_UNEXTRACTABLE", Input, Nothing, false, "the key was made not to leave the token"),
    row(0x70, "CKR_MECHANISM_INVALID", Unsupported, Nothing, false, "the token does not have this mechanism for this key; choose another in the plugin's settings"),
    row(0x71, "CKR_MECHANISM_PARAM_INVALID", Unsupported, Nothing, false, "the token does not take these parameters of the mechanism; choose others in the plugin's settings"),
    row(0x82, "CKR_OBJECT_HANDLE_INVALID", NotFound, Handles, false, "the object is gone from the token"),
    row(0x90, "CKR_OPERATION_ACTIVE", Rejected, Session, false, "report it with the module's name and version"),
    row(0x91, "CKR_OPERATION_NOT_INITIALIZED", Rejected, Session, false, "report it with the module's name and version"),
    row(0xA0, "CKR_PIN_INCORRECT", Unavailable, Nothing, true, "the PIN is wrong: correct the PIN file; the gateway does not try the same PIN again, so that the token does not lock"),
    row(0xA1, "CKR_PIN_INVALID", Unavailable, Nothing, true, "the PIN has characters that the token does not take: correct the PIN file"),
    row(0xA2, "CKR_PIN_LEN_RANGE", Unavailable, Nothing, true, "the PIN is too short or too long for the token: correct the PIN file"),
    row(0xA3, "CKR_PIN_EXPIRED", Unavailable, Nothing, true, "set a new PIN with the vendor's tool and put it into the PIN file"),
    row(0xA4, "CKR_PIN_LOCKED", Unavailable, Nothing, true, "the token has locked its PIN: have the security officer unlock it"),
    row(0xB0, "CKR_SESSION_CLOSED", Unavailable, Link, true, "the token dropped its sessions; see that it is connected"),
    row(0xB1, "CKR_SESSION_COUNT", Busy, Nothing, false, "the token gives no more sessions: lower `sessions` or raise the token's limit"),
    row(0xB3, "CKR_SESSION_HANDLE_INVALID", Unavailable, Link, true, "the token dropped its sessions; see that it is connected"),
    row(0xB4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", Rejected, Nothing, true, "report it with the module's name and version"),
    row(0xB5, "CKR_SESSION_READ_ONLY", Rejected, Link, false, "report it with the module's name and version"),
    row(0xB6, "CKR_SESSION_EXISTS", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0xB7, "CKR_SESSION_READ_ONLY_EXISTS", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0xB8, "CKR_SESSION_READ_WRITE_SO_EXISTS", Unavailable, Link, true, "the security officer is logged in: end that session"),
    row(0xC0, "CKR_SIGNATURE_INVALID", Auth, Nothing, false, "the signature does not match"),
    row(0xC1, "CKR_SIGNATURE_LEN_RANGE", Auth, Nothing, false, "the signature does not match"),
    row(0xD0, "CKR_TEMPLATE_INCOMPLETE", Unsupported, Nothing, false, "the token wants more attributes; change the key template in the plugin's settings"),
    row(0xD1, "CKR_TEMPLATE_INCONSISTENT", Unsupported, Nothing, false, "the token does not take this set of attributes; change the key template in the plugin's settings"),
    row(0xE0, "CKR_TOKEN_NOT_PRESENT", Unavailable, Link, true, "put the token back"),
    row(0xE1, "CKR_TOKEN_NOT_RECOGNIZED", Unavailable, Link, true, "the token is there and cannot be read; look at the device"),
    row(0xE2, "CKR_TOKEN_WRITE_PROTECTED", Rejected, Nothing, false, "the token is write-protected: ask its security officer"),
    row(0xF0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", NotFound, Handles, false, "the unwrapping key is gone from the token"),
    row(0xF1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", Unsupported, Nothing, false, "the token does not unwrap with keys of this size"),
    row(0xF2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", Input, Nothing, false, "the unwrapping key is of the wrong type for the mechanism"),
    row(0x100, "CKR_USER_ALREADY_LOGGED_IN", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x101, "CKR_USER_NOT_LOGGED_IN", Unavailable, Link, true, "somebody logged the gateway out; the gateway logs in again"),
    row(0x102, "CKR_USER_PIN_NOT_INITIALIZED", Unavailable, Nothing, true, "set the user's PIN with the vendor's tool"),
    row(0x103, "CKR_USER_TYPE_INVALID", Unavailable, Nothing, true, "report it with the module's name and version"),
    row(0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Unavailable, Link, true, "another user of the token is logged in inside the gateway; use one PIN for one token"),
    row(0x105, "CKR_USER_TOO_MANY_TYPES", Unavailable, Link, true, "end the other users' sessions on the token"),
    row(0x110, "CKR_WRAPPED_KEY_INVALID", Auth, Nothing, false, "the wrapped bytes are not of this key"),
    row(0x112, "CKR_WRAPPED_KEY_LEN_RANGE", Auth, Nothing, false, "the wrapped bytes are not of this key"),
    row(0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", NotFound, Handles, false, "the wrapping key is gone from the token"),
    row(0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", Unsupported, Nothing, false, "the token does not wrap with keys of this size"),
    row(0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Input, Nothing, false, "the wrapping key is of the wrong type for the mechanism"),
    row(0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", Unsupported, Nothing, false, "the token's generator takes no seed"),
    row(0x121, "CKR_RANDOM_NO_RNG", Unsupported, Nothing, false, "the token has no random generator"),
    row(0x130, "CKR_DOMAIN_PARAMS_INVALID", Input, Nothing, false, "the parameters are not valid"),
    row(0x140, "CKR_CURVE_NOT_SUPPORTED", Unsupported, Nothing, false, "the token does not have this curve"),
    row(0x150, "CKR_BUFFER_TOO_SMALL", Rejected, Session, false, "report it with the module's name and version"),
    row(0x160, "CKR_SAVED_STATE_INVALID", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x170, "CKR_INFORMATION_SENSITIVE", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x180, "CKR_STATE_UNSAVEABLE", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", Unavailable, Module, true, "something finalised the module; the gateway initialises it again"),
    row(0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x1A0, "CKR_MUTEX_BAD", Rejected, Nothing, true, "report it with the module's name and version"),
    row(0x1A1, "CKR_MUTEX_NOT_LOCKED", Rejected, Nothing, true, "report it with the module's name and version"),
    row(0x1B0, "CKR_NEW_PIN_MODE", Unavailable, Nothing, true, "finish the change of the PIN with the vendor's tool"),
    row(0x1B1, "CKR_NEXT_OTP", Unavailable, Nothing, true, "finish the login with the vendor's tool"),
    row(0x1B5, "CKR_EXCEEDED_MAX_ITERATIONS", Rejected, Nothing, false, "try again"),
    row(0x1B6, "CKR_FIPS_SELF_TEST_FAILED", Unavailable, Doubt, true, "the token failed its self test: take it out of service"),
    row(0x1B7, "CKR_LIBRARY_LOAD_FAILED", Unavailable, Module, true, "the module misses a library that it needs: reinstall it"),
    row(0x1B8, "CKR_PIN_TOO_WEAK", Unavailable, Nothing, true, "choose a stronger PIN"),
    row(0x1B9, "CKR_PUBLIC_KEY_INVALID", Input, Nothing, false, "the public key is not valid"),
    row(0x200, "CKR_FUNCTION_REJECTED", Rejected, Nothing, false, "a person at the token refused it"),
    row(0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", Busy, Nothing, false, "the token is at its limit: lower `sessions` or ask less of it"),
    row(0x202, "CKR_OPERATION_CANCEL_FAILED", Rejected, Session, false, "report it with the module's name and version"),
    row(0x203, "CKR_KEY_EXHAUSTED", Input, Nothing, false, "the key has been used as often as its token permits: rotate it"),
    row(0x204, "CKR_PENDING", Rejected, Session, false, "report it with the module's name and version"),
    row(0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", Rejected, Nothing, false, "report it with the module's name and version"),
    row(0x206, "CKR_SEED_RANDOM_REQUIRED", Rejected, Nothing, false, "seed the token's generator with the vendor's tool"),
    row(0x207, "CKR_OPERATION_NOT_VALIDATED", Rejected, Nothing, false, "the token's policy forbids it; ask the token's security officer"),
    row(0x208, "CKR_TOKEN_NOT_INITIALIZED", Unavailable, Link, true, "initialise the token with the vendor's tool"),
    row(0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED", Unsupported, Nothing, false, "the token does not have this parameter set"),
];

const VENDORS: Row =
    row(VENDOR_DEFINED, "vendor-defined", Rejected, Doubt, true, "look the code up in the vendor's manual");

const UNKNOWN: Row =
    row(u64::MAX, "unknown", Rejected, Doubt, true, "the standard has no such code: look it up in the vendor's manual");

/// Whether a making that failed so may go well when it is tried again: a template is refused for good, but SoftHSM answers
/// the same when a search by another thread came in between.
pub(crate) fn may_be_a_race(rv: u64) -> bool {
    row_of(rv).rebuild == Doubt || (0x10..=0x13).contains(&rv) || matches!(rv, 0xD0 | 0xD1)
}

/// The row of a return value. Every value has one: those of vendors and those without a name share theirs.
pub(crate) fn row_of(rv: u64) -> Row {
    match TABLE.iter().find(|row| row.rv == rv) {
        Some(row) => *row,
        None if rv >= VENDOR_DEFINED => Row { rv, ..VENDORS },
        None => Row { rv, ..UNKNOWN },
    }
}

/// The number of a return value that the binding has made a name of.
pub(crate) fn number(error: RvError) -> u64 {
    match error {
        RvError::VendorDefined(rv) | RvError::UnknownErrorCode(rv) => rv,
        named => TABLE
            .iter()
            .find(|row| row.rv < 0x201 && row.rv != 0x42 && Rv::from(row.rv) == Rv::Error(named))
            .map_or(GENERAL_ERROR, |row| row.rv),
    }
}

/// Who was given no ciphertext says nothing of one, whatever it answers.
fn is_given_ciphertexts(function: &str) -> bool {
    matches!(function, "C_Decrypt" | "C_UnwrapKey")
}

fn is_about_objects(function: &str) -> bool {
    ["C_FindObjects", "C_DestroyObject", "C_GetAttributeValue", "C_Generate", "C_CreateObject"]
        .iter()
        .any(|name| function.starts_with(name))
}

/// What is told to who asked. A vendor's code for "not available" is `Rejected`, as all that have no case of their own.
pub(crate) fn error_of(function: &str, rv: u64) -> Error {
    let row = row_of(rv);
    let say = || format!("{function} answered {} (0x{rv:X}); {}", row.name, row.mend);
    match row.means {
        Auth if is_given_ciphertexts(function) => Error::AuthenticationFailed,
        Input => Error::InvalidInput(say()),
        Unsupported => Error::Unsupported(say()),
        // That a key is not there is told by who looked and found none, or of a handle that is used: never by a search that
        // failed, or by the end of an object that was found. Who hears it may take the key for destroyed.
        NotFound if is_about_objects(function) => Error::unavailable(say()),
        NotFound => Error::NotFound,
        Busy => Error::Busy { retry_after: None },
        Unavailable => Error::unavailable(say()),
        Auth | Rejected => {
            Error::Rejected(Rejection { function: function.to_owned().into(), rv, name: row.name, mend: row.mend })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_return_value_of_the_binding_comes_back_as_its_number() {
        for row in TABLE.iter().filter(|row| row.rv < 0x201 && row.rv != 0x42) {
            match Rv::from(row.rv) {
                Rv::Error(RvError::UnknownErrorCode(_)) | Rv::Ok => panic!("{} is not known to the binding", row.name),
                Rv::Error(named) => assert_eq!(number(named), row.rv, "{}", row.name),
            }
        }
        assert_eq!(number(RvError::VendorDefined(0x8000_0001)), 0x8000_0001);
    }

    #[test]
    fn the_table_is_sorted_has_no_value_twice_and_says_what_to_do() {
        assert!(TABLE.windows(2).all(|pair| pair[0].rv < pair[1].rv));
        assert!(TABLE.iter().all(|row| row.name.starts_with("CKR_") && row.mend.len() > 8));
        // What takes the link down speaks of the token's health, except a session that is read-only.
        for row in TABLE.iter().filter(|row| row.rebuild >= Link && row.name != "CKR_SESSION_READ_ONLY") {
            assert!(row.counts, "{}", row.name);
        }
    }

    #[test]
    fn an_error_names_the_function_the_code_and_the_mend() {
        let text = error_of("C_Encrypt", 0x30).to_string();
        assert_eq!(text, "C_Encrypt answered CKR_DEVICE_ERROR (0x30); look at the device and at the module's own log");
        assert!(error_of("C_Login", 0xA0).to_string().contains("C_Login answered CKR_PIN_INCORRECT (0xA0)"));
        assert!(error_of("C_Sign", 0x8000_0007).to_string().contains("vendor-defined (0x80000007)"));
        assert_eq!(row_of(0x7FFF_0000).name, "unknown");
    }
}
