//! Making a token: for development and tests. In production, tokens are made with the vendor's tools, by people.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error as Refusal;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use keygate_core::secret::SecretText;

use crate::error::StartError;

/// What a token is made with.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// What it is found by: at most 32 bytes.
    pub label: &'a str,
    /// The security officer's PIN: 4 to 255 bytes.
    pub so_pin: &'a SecretText,
    /// The user's PIN: 4 to 255 bytes.
    pub pin: &'a SecretText,
}

/// Sees that a module has a token of this label, with a user's PIN: C_InitToken in a slot whose token is not
/// initialised, and C_InitPIN. What was begun and cut off is finished; a token that is complete is left as it is. Whether one was
/// made. The module is initialised for that and finalised after it, so this comes before any token of it is started.
///
/// # Errors
/// The module cannot be loaded, has no free slot, or refuses.
pub fn provision(module: &Path, new: &NewToken<'_>) -> Result<bool, StartError> {
    let fails = |problem: String| StartError::Module { path: module.display().to_string(), problem };
    let context = Pkcs11::new(module).map_err(|e| fails(format!("it is no PKCS#11 module ({e})")))?;
    // Kept for ever, as in `module`: a library that is unloaded leaves exit handlers behind.
    std::mem::forget(context.clone());
    let flags = CInitializeFlags::OS_LOCKING_OK;
    context.initialize(CInitializeArgs::new(flags)).map_err(|e| fails(format!("it cannot be initialised: {e}")))?;
    let made = make(&context, new);
    let ended = context.finalize();
    let made = made.map_err(|refusal| fails(format!("no token `{}` could be made: {refusal}", new.label)))?;
    let made = made.ok_or_else(|| fails("it has no slot that is free for a new token".to_owned()))?;
    ended.map_err(|e| fails(format!("it cannot be finalised: {e}")))?;
    Ok(made)
}

/// Whether it was made; nothing where there is no room for it.
fn make(context: &Pkcs11, new: &NewToken<'_>) -> Result<Option<bool>, Refusal> {
    let pin = |text: &SecretText| AuthPin::new(text.expose().to_owned().into());
    let so_pin = pin(new.so_pin);
    let (slot, label) = match named(context, new.label)? {
        Some((_, true)) => return Ok(Some(false)),
        Some((slot, false)) => (slot, None),
        None => match free(context)? {
            Some(slot) => (slot, Some(new.label)),
            None => return Ok(None),
        },
    };
    let slot = match label {
        None => slot,
        Some(label) => {
            context.init_token(slot, &so_pin, label)?;
            // SoftHSM gives it another number by then.
            named(context, label)?.map_or(slot, |(slot, _)| slot)
        }
    };
    let session = context.open_rw_session(slot)?;
    session.login(UserType::So, Some(&so_pin))?;
    session.init_pin(&pin(new.pin))?;
    session.logout()?;
    Ok(Some(true))
}

/// The slot of a label's token, and whether that has a user's PIN.
fn named(context: &Pkcs11, label: &str) -> Result<Option<(Slot, bool)>, Refusal> {
    for slot in context.get_slots_with_initialized_token()? {
        let info = context.get_token_info(slot)?;
        if info.label() == label {
            return Ok(Some((slot, info.user_pin_initialized())));
        }
    }
    Ok(None)
}

fn free(context: &Pkcs11) -> Result<Option<Slot>, Refusal> {
    for slot in context.get_slots_with_token()? {
        if !context.get_token_info(slot)?.token_initialized() {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}
