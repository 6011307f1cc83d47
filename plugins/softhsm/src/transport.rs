//! Keys that go to another backend or come from one, sealed so that nobody between the two can read them. The format is
//! `seal-for-transport`'s in `wit/crypto/backend.wit`.

use keygate_plugin_sdk::backend::{Error, Key, KeyIdentity, KeyKind, KeyRef, KeySpec, Result};
use keygate_plugin_sdk::host::pkcs11::{self, Usage, Wrapping};

use crate::errors::is_of_the_input;
use crate::hsm::{Hsm, Opened, session, usage};
use crate::identity::Origin;
use crate::import::{measure, right_size};
use crate::settings::{Hash, Keep};
use crate::spec::{Algorithm, Purpose, Spec};

const FORMAT: u8 = 1;
/// The part that is encrypted to the RSA key, in bytes.
const MODULUS: usize = 512;

/// Seals a key to another backend's transport key.
pub(crate) fn seal(hsm: &Hsm<'_>, key: &Key, recipient: &[u8]) -> Result<Vec<u8>> {
    let opened = hsm.open_ref(key)?;
    let leaving = match (&opened, opened.purpose()) {
        (Opened::Wrapped(..), Purpose::Root) => hsm.handle(&opened, true)?,
        (Opened::Object(..), Purpose::Root) => {
            return Err(Error::Unsupported("this key was made so that it never leaves: make a new one".to_owned()));
        }
        (Opened::Payload(header, material), Purpose::Standard) if header.algorithm == Algorithm::Aes => {
            let template = session("AES", Usage::ENCRYPT, true);
            let passing = hsm.token().import_key(&template, material);
            passing.map_err(|error| hsm.explain("to bring a standard key into the token", error))?
        }
        (_, Purpose::Standard) => {
            return Err(Error::Unsupported("a standard key that is no AES key: export and import it".to_owned()));
        }
        _ => return Err(Error::InvalidKeyRef),
    };
    let unsupported = || Error::Unsupported("this backend sends no keys to others".to_owned());
    let hash = hsm.settings().transport.hash().ok_or_else(unsupported)?;
    let sealed = leaving.wrap_to(hash.digest(), recipient).map_err(|error| match error {
        pkcs11::Error::NotGranted => Error::Unavailable(
            "keys may not leave: the plugin's entry does not grant `pkcs11-transport`; grant it, or set `transport` to \
             `off`"
                .to_owned(),
        ),
        pkcs11::Error::InvalidInput(_) => {
            Error::InvalidInput("the recipient: expected an RSA public key of 4096 bits as SubjectPublicKeyInfo".to_owned())
        }
        error => hsm.explain("to seal a key for transport", error),
    })?;
    let hash = match hash {
        Hash::Sha1 => 1,
        Hash::Sha256 => 2,
    };
    Ok([&[FORMAT, hash], sealed.as_slice()].concat())
}

/// Opens what another backend sealed.
pub(crate) fn open(
    hsm: &Hsm<'_>,
    transport_key: &Key,
    identity: &KeyIdentity,
    spec: &KeySpec,
    sealed: &[u8],
) -> Result<KeyRef> {
    let wanted = Spec::check(spec)?;
    if spec.kind == KeyKind::Standard {
        return Err(Error::Unsupported("a standard key from another backend: export and import it".to_owned()));
    }
    let refused = || Error::AuthenticationFailed;
    let pair = hsm.open_ref(transport_key)?;
    if pair.purpose() != Purpose::Transport {
        return Err(Error::InvalidKeyRef);
    }
    let pair = hsm.handle(&pair, false)?;
    let (&[format, hash], rest) = sealed.split_first_chunk::<2>().ok_or_else(refused)?;
    let (encrypted, wrapped) = rest.split_first_chunk::<MODULUS>().ok_or_else(refused)?;
    let hash = match (format, hash) {
        (FORMAT, 1) => Hash::Sha1,
        (FORMAT, 2) => Hash::Sha256,
        _ => return Err(Error::Unsupported("this format of a sealed key: it is of a later version".to_owned())),
    };
    let failed = |error: pkcs11::Error| {
        if is_of_the_input(&error) { refused() } else { hsm.explain("to open a key from another backend", error) }
    };
    let how = Wrapping::RsaOaep(hash.digest());
    let between = pair.unwrap_key(&how, encrypted, &session("AES", Usage::UNWRAP, false)).map_err(failed)?;
    // The settings see to it that this is RFC 5649.
    let how = hsm.settings().wrap.wrapping();
    let passing = between.unwrap_key(&how, wrapped, &session("AES", usage(Purpose::Root), true)).map_err(failed)?;
    if !measure(hsm, &passing)?.is_some_and(|bytes| right_size(bytes, spec)) {
        return Err(Error::InvalidInput(format!("the sealed key is none of {} bits", spec.bits)));
    }
    match hsm.settings().keep {
        Keep::Wrapped => hsm.keep_arrived(identity, &passing),
        Keep::Token => hsm.give_object(
            identity,
            (Origin::Arrived, wanted.bytes),
            |template| between.unwrap_key(&how, wrapped, template),
            || Ok(passing),
        ),
    }
}
