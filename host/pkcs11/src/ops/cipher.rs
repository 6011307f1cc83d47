//! Sealing, opening, decrypting, CMACs; random bytes.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use keygate_core::secret::SecretBytes;

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::handles::resolve;
use crate::key::{Digest, IvSource, Key, Sealed};
use crate::link::Handle;
use crate::ops::learned::{self, Doing, is_vague, refused};
use crate::ops::oaep;
use crate::rv;

const TAG: usize = 16;
const IV: usize = 12;
/// The size of a CMAC, in bytes.
const MAC: usize = 16;

pub(crate) fn seal(
    conn: &Conn<'_>,
    key: &Key,
    source: IvSource,
    plaintext: &SecretBytes,
    aad: &[u8],
) -> Result<Sealed, Failure> {
    let known = resolve(conn, key)?;
    let mut iv = [0_u8; IV];
    match source {
        IvSource::Host => conn.inner.around.entropy.fill(&mut iv).map_err(|e| Error::unavailable(e.to_string()))?,
        // A token that leaves the bytes alone would seal everything under one iv, which breaks GCM. It is asked first, with
        // a key that nobody uses.
        IvSource::Token if !learned::fills_iv(conn)? => {
            return Err(Error::Unsupported(
                "the token does not fill in the iv of CKM_AES_GCM; set `iv` to `host` in the plugin's settings"
                    .to_owned(),
            )
            .into());
        }
        IvSource::Token => {}
    }
    let told = iv;
    let ciphertext = gcm_seal(conn, known.handle, &mut iv, plaintext.expose(), aad)?;
    if (source == IvSource::Token) == (told == iv) {
        return Err(
            Error::unavailable("the token did not treat the iv of CKM_AES_GCM as it did when it was tried").into()
        );
    }
    Ok(Sealed { iv: iv.to_vec(), ciphertext })
}

pub(crate) fn gcm_seal(
    conn: &Conn<'_>,
    key: Handle,
    iv: &mut [u8],
    plaintext: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, Failure> {
    let (raw, session) = conn.raw()?;
    let mechanism = Mechanism::AesGcm(GcmParams::new(iv, aad, 128.into()).map_err(Failure::from)?);
    let sealed = raw.encrypt(session, &mechanism, key, plaintext, TAG)?;
    if sealed.len() == plaintext.len() + TAG {
        Ok(sealed)
    } else {
        Err(Error::Unsupported(format!("CKM_AES_GCM gave {} bytes for {}", sealed.len(), plaintext.len())).into())
    }
}

pub(crate) fn open(conn: &Conn<'_>, key: &Key, sealed: &Sealed, aad: &[u8]) -> Result<SecretBytes, Failure> {
    let known = resolve(conn, key)?;
    let opened = || gcm_open(conn, known.handle, &sealed.iv, &sealed.ciphertext, aad);
    opened().or_else(|failure| {
        let Failure::Rv { rv, .. } = &failure else { return Err(failure) };
        let (rv, told) = (*rv, refused(conn, Doing::Open, failure));
        if !is_vague(rv) || !matches!(told, Failure::Is(Error::AuthenticationFailed)) {
            return Err(told);
        }
        // A moment's trouble looks alike, and who is told that a ciphertext is damaged may throw it away.
        opened().map_err(|failure| match failure {
            Failure::Rv { rv: again, .. } if again == rv => told,
            other => other,
        })
    })
}

pub(crate) fn gcm_open(
    conn: &Conn<'_>,
    key: Handle,
    iv: &[u8],
    ciphertext: &[u8],
    aad: &[u8],
) -> Result<SecretBytes, Failure> {
    let mut iv = iv.to_vec();
    let (raw, session) = conn.raw()?;
    let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, aad, 128.into()).map_err(Failure::from)?);
    raw.decrypt(session, &mechanism, key, ciphertext).map(SecretBytes::new)
}

pub(crate) fn mac(conn: &Conn<'_>, key: &Key, data: &[u8]) -> Result<SecretBytes, Failure> {
    let known = resolve(conn, key)?;
    cmac(conn, known.handle, data)
}

pub(crate) fn cmac(conn: &Conn<'_>, key: Handle, data: &[u8]) -> Result<SecretBytes, Failure> {
    let (raw, session) = conn.raw()?;
    let mac = raw.sign(session, &Mechanism::AesCMac, key, data, MAC).map(SecretBytes::new)?;
    if mac.len() == MAC {
        return Ok(mac);
    }
    Err(Error::Unsupported(format!("CKM_AES_CMAC gave {} bytes", mac.len())).into())
}

pub(crate) fn decrypt_cbc(conn: &Conn<'_>, key: &Key, iv: [u8; 16], ciphertext: &[u8]) -> Result<SecretBytes, Failure> {
    let known = resolve(conn, key)?;
    let (raw, session) = conn.raw()?;
    let opened = raw.decrypt(session, &Mechanism::AesCbcPad(iv), known.handle, ciphertext);
    opened.map(SecretBytes::new).map_err(|failure| refused(conn, Doing::Cbc, failure))
}

pub(crate) fn decrypt_oaep(
    conn: &Conn<'_>,
    key: &Key,
    digest: Digest,
    ciphertext: &[u8],
) -> Result<SecretBytes, Failure> {
    let known = resolve(conn, key)?;
    let (raw, session) = conn.raw()?;
    let opened = raw.decrypt(session, &oaep(digest), known.handle, ciphertext);
    opened.map(SecretBytes::new).map_err(|failure| match failure {
        // A mechanism that the token has, with a hash that it has not: SoftHSM answers so to all but SHA-1.
        Failure::Rv { rv: rv::ARGUMENTS_BAD, function } if function == "C_DecryptInit" => Error::Unsupported(format!(
            "C_DecryptInit refused CKM_RSA_PKCS_OAEP with {digest:?} (CKR_ARGUMENTS_BAD); choose another hash in the \
             plugin's settings"
        ))
        .into(),
        failure => refused(conn, Doing::Oaep(digest, &known), failure),
    })
}

pub(crate) fn random(conn: &Conn<'_>, len: u32) -> Result<SecretBytes, Failure> {
    if len == 0 {
        return Ok(SecretBytes::default());
    }
    Ok(SecretBytes::new(conn.session()?.generate_random_vec(len)?))
}
