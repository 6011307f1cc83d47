//! What a token's answers mean to the gateway, where nothing better is known at the place.

use keygate_plugin_sdk::backend::Error;
use keygate_plugin_sdk::host::pkcs11;

/// Says what failed to the operator, never to the caller: nothing behind the request is theirs to know.
pub(crate) fn explain(token: &str, doing: &str, error: pkcs11::Error) -> Error {
    let unavailable = |why: &str| Error::Unavailable(format!("token `{token}`, {doing}: {why}"));
    match error {
        pkcs11::Error::NotGranted => {
            unavailable("it is not granted or not configured: define it and name it in this plugin's grants (`pkcs11`)")
        }
        // Every place where an object may be missing says so itself. Here it was there a moment ago.
        pkcs11::Error::NotFound => unavailable("the object is gone: the token was changed or reset meanwhile"),
        pkcs11::Error::Unsupported(what) => unavailable(&format!(
            "it cannot do this ({what}): see the settings that name mechanisms, and docs/operators-hsm.md for the module's"
        )),
        pkcs11::Error::Busy(after) => Error::Busy(after),
        pkcs11::Error::Unavailable(why) => unavailable(&why),
        pkcs11::Error::Rejected(pkcs11::Rejection { function, rv, name }) => {
            unavailable(&format!("{function} answered {name} ({rv:#x}): see the module's own log"))
        }
        pkcs11::Error::AlreadyExists => internal(token, doing, "an object of this id is there"),
        pkcs11::Error::AuthenticationFailed => internal(token, doing, "it says that the bytes do not belong together"),
        pkcs11::Error::InvalidInput(what) => internal(token, doing, &format!("the host refused an argument: {what}")),
    }
}

fn internal(token: &str, doing: &str, why: &str) -> Error {
    Error::Internal(format!("token `{token}`, {doing}: {why}"))
}

/// Whether the failure of a private-key operation lies in what it was given. The host has found out what a return value
/// means: what it leaves as `Rejected` may be the module's own trouble, which must never be told as a damaged key.
pub(crate) const fn is_of_the_input(error: &pkcs11::Error) -> bool {
    matches!(error, pkcs11::Error::AuthenticationFailed | pkcs11::Error::InvalidInput(_))
}

/// Whether the token says that it has not this mechanism, or not with these parameters.
pub(crate) fn is_missing(error: &pkcs11::Error) -> bool {
    const MISSING: [&str; 3] = ["CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_ARGUMENTS_BAD"];
    match error {
        pkcs11::Error::Unsupported(_) => true,
        pkcs11::Error::Rejected(rejection) => MISSING.contains(&rejection.name.as_str()),
        _ => false,
    }
}
