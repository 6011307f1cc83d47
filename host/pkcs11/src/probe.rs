//! What a token can do, found out by doing it: its list of mechanisms promises more than some tokens keep.

use cryptoki::mechanism::{Mechanism, MechanismType};

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::key::{Algorithm, Digest, KeyTemplate, Usage, Wrapping};
use crate::module::describe;
use crate::ops::cipher::{cmac, gcm_open, gcm_seal};
use crate::ops::learned::{self, Trial};
use crate::ops::{oaep, template, wrapping};
use crate::rv::{self, Means};
use crate::token::TokenInfo;

/// How a trial went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works, and gave the known answer where there is one.
    Works,
    /// The token does not list the mechanism.
    Missing,
    /// The token refused, or gave a wrong answer. Says which.
    Refused(String),
}

impl Outcome {
    /// Whether it works.
    pub fn works(&self) -> bool {
        *self == Self::Works
    }
}

/// How CKM_AES_KEY_WRAP_PAD pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As RFC 5649 does: the same as CKM_AES_KEY_WRAP_KWP.
    Rfc5649,
    /// Otherwise: PKCS #7 under RFC 3394, as PKCS#11 2.40 has it.
    Other,
}

/// What a token can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it says of itself.
    pub info: TokenInfo,
    /// The mechanisms of `keygate:host/pkcs11`, by name, each tried.
    pub mechanisms: Vec<(&'static str, Outcome)>,
    /// CKM_RSA_PKCS_OAEP with each hash.
    pub oaep: Vec<(Digest, Outcome)>,
    /// Whether the token fills in the iv of CKM_AES_GCM.
    pub token_iv: bool,
    /// How CKM_AES_KEY_WRAP_PAD pads, where it works.
    pub padding: Option<Padding>,
}

impl Probe {
    /// How the trial of a mechanism went; [`Outcome::Missing`] of one that is not tried.
    pub fn mechanism(&self, name: &str) -> &Outcome {
        self.mechanisms.iter().find(|(found, _)| *found == name).map_or(&Outcome::Missing, |(_, outcome)| outcome)
    }
}

/// Names that the binding does not have.
const NAMES: [(u64, &str); 4] = [
    (0x1054, "CKM_RSA_AES_KEY_WRAP"),
    (0x210B, "CKM_AES_KEY_WRAP_KWP"),
    (0x210C, "CKM_AES_KEY_WRAP_PKCS7"),
    (0x1085, "CKM_AES_CBC_PAD"),
];

fn name_of(number: u64) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == number) {
        return (*name).to_owned();
    }
    MechanismType::try_from(number).map_or_else(|_| format!("0x{number:08X}"), |known| known.to_string())
}

pub(crate) fn info(conn: &Conn<'_>) -> Result<TokenInfo, Failure> {
    let module = &conn.inner.module;
    let slot = conn.link.slot;
    let info = module.context.get_token_info(slot)?;
    let mechanisms = module.raw.mechanisms(slot.id())?;
    Ok(TokenInfo {
        manufacturer: info.manufacturer_id().trim().to_owned(),
        model: info.model().trim().to_owned(),
        mechanisms: mechanisms.into_iter().map(name_of).collect(),
    })
}

type Trying = fn(&Conn<'_>) -> Result<(), Failure>;

const TRIALS: [(&str, Trying); 9] = [
    ("CKM_AES_KEY_GEN", |conn| Trial::generate(conn, false).map(drop)),
    ("CKM_AES_GCM", gcm),
    ("CKM_AES_CMAC", mac),
    ("CKM_AES_KEY_WRAP", key_wrap),
    ("CKM_AES_KEY_WRAP_PAD", |conn| padded(conn, Wrapping::AesKeyWrapPad)),
    ("CKM_AES_KEY_WRAP_KWP", |conn| {
        padded(conn, Wrapping::AesKeyWrapKwp)?;
        match kwp_answer(conn, Wrapping::AesKeyWrapKwp)? {
            Some(false) => wrong("RFC 5649's known answer"),
            _ => Ok(()),
        }
    }),
    ("CKM_AES_CBC_PAD", cbc),
    ("CKM_RSA_PKCS_KEY_PAIR_GEN", |conn| pair(conn).map(drop)),
    ("CKM_RSA_PKCS_OAEP", |conn| round_trip(conn, Digest::Sha1).or_else(|_| round_trip(conn, Digest::Sha256))),
];

/// Tries everything. A trial that fails with a loss of the token fails the probe; one that is refused is a finding.
pub(crate) fn run(conn: &Conn<'_>) -> Result<Probe, Failure> {
    let info = info(conn)?;
    let mut mechanisms = Vec::new();
    for (name, trial) in TRIALS {
        let listed = info.mechanisms.iter().any(|found| found == name);
        mechanisms.push((name, if listed { outcome(trial(conn))? } else { Outcome::Missing }));
    }
    for name in ["CKM_AES_CBC", "CKM_RSA_AES_KEY_WRAP"] {
        let listed = info.mechanisms.iter().any(|found| found == name);
        mechanisms.push((name, if listed { Outcome::Works } else { Outcome::Missing }));
    }
    let mut hashes = Vec::new();
    if info.mechanisms.iter().any(|found| found == "CKM_RSA_PKCS_OAEP") {
        for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            hashes.push((digest, outcome(round_trip(conn, digest))?));
        }
    }
    let works = |name: &str| mechanisms.iter().any(|(found, outcome)| *found == name && outcome.works());
    let token_iv = works("CKM_AES_GCM") && learned::fills_iv(conn)?;
    let padding = match works("CKM_AES_KEY_WRAP_PAD") {
        true if pad_is_kwp(conn)? => Some(Padding::Rfc5649),
        true => Some(Padding::Other),
        false => None,
    };
    Ok(Probe { info, mechanisms, oaep: hashes, token_iv, padding })
}

fn outcome(tried: Result<(), Failure>) -> Result<Outcome, Failure> {
    match tried {
        Ok(()) => Ok(Outcome::Works),
        Err(Failure::Rv { rv, .. }) if rv::row_of(rv).means == Means::Unavailable => {
            Err(tried.err().unwrap_or(Failure::NoSession))
        }
        Err(failure @ (Failure::Rv { .. } | Failure::Is(_))) => Ok(Outcome::Refused(describe(&failure))),
        Err(failure) => Err(failure),
    }
}

fn wrong(what: &str) -> Result<(), Failure> {
    Err(Error::Unsupported(format!("the token did not give {what}")).into())
}

/// Test case 14 of the GCM specification where the token takes a key in clear; then a round trip with a key of its own,
/// and a wrong AAD.
fn gcm(conn: &Conn<'_>) -> Result<(), Failure> {
    const ANSWER: [u8; 32] = [
        0xCE, 0xA7, 0x40, 0x3D, 0x4D, 0x60, 0x6B, 0x6E, 0x07, 0x4E, 0xC5, 0xD3, 0xBA, 0xF3, 0x9D, 0x18, 0xD0, 0xD1,
        0xC8, 0xA7, 0x99, 0x99, 0x6B, 0xF0, 0x26, 0x5B, 0x98, 0xB5, 0xD4, 0x8A, 0xB9, 0x19,
    ];
    if let Ok(zero) = Trial::import(conn, &[0; 32]) {
        let mut iv = [0; 12];
        let sealed = gcm_seal(conn, zero.1, &mut iv, &[0; 16], b"")?;
        // A token that fills in the iv gives another answer.
        if iv == [0; 12] && sealed != ANSWER {
            return wrong("GCM's known answer");
        }
    }
    let key = Trial::generate(conn, false)?;
    let mut iv = [3; 12];
    let sealed = gcm_seal(conn, key.1, &mut iv, b"plaintext", b"aad")?;
    if gcm_open(conn, key.1, &iv, &sealed, b"aad")?.expose() != b"plaintext" {
        return wrong("back what it sealed");
    }
    if gcm_open(conn, key.1, &iv, &sealed, b"other").is_ok() {
        return wrong("an error for a wrong AAD");
    }
    Ok(())
}

/// Example 2 of RFC 4493 where the token takes a key in clear; else 16 bytes, the same twice.
fn mac(conn: &Conn<'_>) -> Result<(), Failure> {
    const KEY: [u8; 16] =
        [0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C];
    const TEXT: [u8; 16] =
        [0x6B, 0xC1, 0xBE, 0xE2, 0x2E, 0x40, 0x9F, 0x96, 0xE9, 0x3D, 0x7E, 0x11, 0x73, 0x93, 0x17, 0x2A];
    const ANSWER: [u8; 16] =
        [0x07, 0x0A, 0x16, 0xB4, 0x6B, 0x4D, 0x41, 0x44, 0xF7, 0x9B, 0xDD, 0x9D, 0xD0, 0x4A, 0x28, 0x7C];
    if let Ok(known) = Trial::macs(conn, Some(&KEY)) {
        return if cmac(conn, known.1, &TEXT)?.expose() == ANSWER { Ok(()) } else { wrong("CMAC's known answer") };
    }
    let key = Trial::macs(conn, None)?;
    let (one, two) = (cmac(conn, key.1, &TEXT)?, cmac(conn, key.1, &TEXT)?);
    if one.expose() == two.expose() { Ok(()) } else { wrong("the same CMAC twice") }
}

/// RFC 3394, 4.6, where the token takes keys in clear; else a round trip.
fn key_wrap(conn: &Conn<'_>) -> Result<(), Failure> {
    const ANSWER: [u8; 40] = [
        0x28, 0xC9, 0xF4, 0x04, 0xC4, 0xB8, 0x10, 0xF4, 0xCB, 0xCC, 0xB3, 0x5C, 0xFB, 0x87, 0xF8, 0x26, 0x3F, 0x57,
        0x86, 0xE2, 0xD8, 0x0E, 0xD3, 0x26, 0xCB, 0xC7, 0xF0, 0xE7, 0x1A, 0x99, 0xF4, 0x3B, 0xFB, 0x98, 0x8B, 0x9B,
        0x7A, 0x02, 0xDD, 0x21,
    ];
    if let (Ok(by), Ok(what)) = known_keys(conn)
        && wrapped(conn, Wrapping::AesKeyWrap, &by, &what)? != ANSWER
    {
        return wrong("RFC 3394's known answer");
    }
    padded(conn, Wrapping::AesKeyWrap)
}

type Tried<'a, 'b> = Result<Trial<'a, 'b>, Failure>;

/// The keys of RFC 3394, 4.6: the wrapping one and the other.
fn known_keys<'a, 'b>(conn: &'a Conn<'b>) -> (Tried<'a, 'b>, Tried<'a, 'b>) {
    let by: Vec<u8> = (0..32).collect();
    let mut what: Vec<u8> = (0..16).map(|n| n * 0x11).collect();
    what.extend(0..16);
    (Trial::import(conn, &by), Trial::import(conn, &what))
}

fn wrapped(conn: &Conn<'_>, how: Wrapping, by: &Trial<'_, '_>, what: &Trial<'_, '_>) -> Result<Vec<u8>, Failure> {
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    raw.wrap(session, (&mechanism, number), by.1, what.1, 4_096)
}

/// A key goes out and comes back the same: what it sealed before is opened after.
fn padded(conn: &Conn<'_>, how: Wrapping) -> Result<(), Failure> {
    let (by, what) = (Trial::generate(conn, false)?, Trial::generate(conn, true)?);
    let out = wrapped(conn, how, &by, &what)?;
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    let back = raw.unwrap(session, (&mechanism, number), by.1, &out, &Trial::template(false))?;
    let back = Trial::adopt(conn, back);
    let mut iv = [5; 12];
    let sealed = gcm_seal(conn, what.1, &mut iv, b"the same key", b"")?;
    match gcm_open(conn, back.1, &iv, &sealed, b"")?.expose() {
        b"the same key" => Ok(()),
        _ => wrong("back the key that it wrapped"),
    }
}

/// RFC 5649 with the keys of RFC 3394, 4.6 (computed with OpenSSL's `id-aes256-wrap-pad`: the RFC's own examples are no AES
/// keys, and SoftHSM fills those up with zeros before it wraps them). None where the token takes no keys in clear.
fn kwp_answer(conn: &Conn<'_>, how: Wrapping) -> Result<Option<bool>, Failure> {
    const ANSWER: [u8; 40] = [
        0x4A, 0x80, 0x29, 0x24, 0x30, 0x27, 0x35, 0x3B, 0x06, 0x94, 0xCF, 0x1B, 0xD8, 0xFC, 0x74, 0x5B, 0xB0, 0xCE,
        0x8A, 0x73, 0x9B, 0x19, 0xB1, 0x96, 0x0B, 0x12, 0x42, 0x6D, 0x4C, 0x39, 0xCF, 0xED, 0xA9, 0x26, 0xD1, 0x03,
        0xAB, 0x34, 0xE9, 0xF6,
    ];
    let (Ok(by), Ok(what)) = known_keys(conn) else { return Ok(None) };
    Ok(Some(wrapped(conn, how, &by, &what)? == ANSWER))
}

/// Whether CKM_AES_KEY_WRAP_PAD is CKM_AES_KEY_WRAP_KWP by another name, as in SoftHSM. Not where it cannot be known.
pub(crate) fn pad_is_kwp(conn: &Conn<'_>) -> Result<bool, Failure> {
    match kwp_answer(conn, Wrapping::AesKeyWrapPad) {
        Ok(answer) => Ok(answer == Some(true)),
        Err(Failure::Rv { rv, .. }) if rv::row_of(rv).means != Means::Unavailable => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn cbc(conn: &Conn<'_>) -> Result<(), Failure> {
    let key = Trial::generate(conn, false)?;
    let (raw, session) = conn.raw()?;
    let mechanism = Mechanism::AesCbcPad([8; 16]);
    let out = raw.encrypt(session, &mechanism, key.1, b"plaintext", 16)?;
    let back = zeroize::Zeroizing::new(raw.decrypt(session, &mechanism, key.1, &out)?);
    if **back == *b"plaintext" { Ok(()) } else { wrong("back what it encrypted") }
}

/// The two halves of an RSA pair of 2,048 bits.
fn pair<'a, 'b>(conn: &'a Conn<'b>) -> Result<(Trial<'a, 'b>, Trial<'a, 'b>), Failure> {
    let usage = Usage { encrypt: true, decrypt: true, ..Usage::default() };
    let key = KeyTemplate { algorithm: Algorithm::Rsa, id: None, usage, persistent: false, exportable: false };
    let (public, private) = (template::public(&key, 2_048, ""), template::key(&key, ""));
    let made = conn.session()?.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    Ok((Trial::adopt(conn, made.0), Trial::adopt(conn, made.1)))
}

fn round_trip(conn: &Conn<'_>, digest: Digest) -> Result<(), Failure> {
    let (public, private) = pair(conn)?;
    let (raw, session) = conn.raw()?;
    let out = raw.encrypt(session, &oaep(digest), public.1, b"plaintext", 512)?;
    let back = zeroize::Zeroizing::new(raw.decrypt(session, &oaep(digest), private.1, &out)?);
    if **back == *b"plaintext" { Ok(()) } else { wrong("back what it encrypted") }
}
