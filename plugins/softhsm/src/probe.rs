//! Shows that the token can do what the settings promise: mechanisms first, then known answers, then the plugin's own keys.
//!
//! All keys of the probe are session objects: nothing is left behind. The slow thing, an RSA pair, is made only in tokens
//! that are software and known to lack something (SoftHSM); in the others OAEP is tried with each pair that is made, ahead
//! of the import that needs it.

use keygate_plugin_sdk::backend::{Error, Result};
use keygate_plugin_sdk::host::log;
use keygate_plugin_sdk::host::pkcs11::{self, Sealed, TokenInfo, Usage, Wrapping};

use crate::backend::SoftHsm;
use crate::errors::is_missing;
use crate::foreign;
use crate::hsm::{Helper, Hsm, session, usage};
use crate::import;
use crate::keyref::{IV, TAG};
use crate::settings::{Hash, ImportKeys, Keep, Mechanism, Settings, Transport};
use crate::spec::Purpose;

/// GCM's own test case 16 (McGrew, Viega: The Galois/Counter Mode of Operation): AES-256 with additional data.
const GCM_KEY: [u8; 32] = *b"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08\
    \xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
const GCM_IV: [u8; 12] = *b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
const GCM_AAD: [u8; 20] = *b"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2";
const GCM_PLAINTEXT: &[u8] = b"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\x86\xa7\xa9\x53\x15\x34\
    \xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\xb1\x6a\xed\
    \xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";
const GCM_SEALED: &[u8] = b"\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\x64\x3a\x8c\xdc\xbf\xe5\xc0\
    \xc9\x75\x98\xa2\xbd\x25\x55\xd1\xaa\x8c\xb0\x8e\x48\x59\x0d\xbb\x3d\xa7\xb0\x8b\x10\x56\x82\x88\x38\xc5\xf6\x1e\x63\
    \x93\xba\x7a\x0a\xbc\xc9\xf6\x62\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b";

/// The key-encryption key of RFC 3394, section 4.6, the key that is wrapped there, and with what outcome.
const KEK: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31,
];
const KW_WRAPPED: [u8; 40] =
    *b"\x28\xc9\xf4\x04\xc4\xb8\x10\xf4\xcb\xcc\xb3\x5c\xfb\x87\xf8\x26\x3f\x57\x86\xe2\xd8\x0e\
    \xd3\x26\xcb\xc7\xf0\xe7\x1a\x99\xf4\x3b\xfb\x98\x8b\x9b\x7a\x02\xdd\x21";
/// The same key under the same key-encryption key with RFC 5649, made with another implementation (pyca/cryptography).
const KWP_WRAPPED: [u8; 40] =
    *b"\x4a\x80\x29\x24\x30\x27\x35\x3b\x06\x94\xcf\x1b\xd8\xfc\x74\x5b\xb0\xce\x8a\x73\x9b\x19\
    \xb1\x96\x0b\x12\x42\x6d\x4c\x39\xcf\xed\xa9\x26\xd1\x03\xab\x34\xe9\xf6";
/// `keygate` under the key that is wrapped, with the iv of above and the additional data `softhsm`, by the same.
const UNDER_WRAPPED: &[u8] =
    b"\xdb\xab\xa2\x83\x95\x84\x83\xfa\x31\x55\x29\x65\xe4\x0c\x50\x9c\x9b\x3e\x7c\x2e\xf3\xdf\xfc";

/// A published test vector of XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>): its key is derived with CMACs.
const XAES_KEY: [u8; 32] = [3; 32];
const XAES_AAD: &[u8] = b"c2sp.org/XAES-256-GCM";
const XAES_PLAINTEXT: &[u8] = b"XAES-256-GCM";
/// The nonce, and what was sealed under it.
const XAES_SEALED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWX\x98\x6e\xc1\x83\x25\x93\xdf\x54\x43\xa1\x79\x43\x7f\xd0\x83\xbf\
    \x3f\xdb\x41\xab\xd7\x40\xa2\x1f\x71\xeb\x76\x9d";

/// Runs everything.
pub(crate) fn run(backend: &SoftHsm) -> Result<()> {
    let hsm = backend.hsm()?;
    let settings = backend.settings();
    let info = hsm.token().info().map_err(|error| hsm.explain("to ask what it is", error))?;
    check_mechanisms(settings, &info)?;
    known_answers(&hsm)?;
    seals_and_opens(&hsm)?;
    check_helpers(&hsm, settings)?;
    if settings.import_keys.in_token() && info.manufacturer.contains("SoftHSM") {
        let pair = hsm.token().generate_key_pair(&session("RSA", usage(Purpose::Import), false), 2_048);
        let pair = pair.map_err(|error| hsm.explain("to make an RSA key pair", error))?;
        import::check_oaep(&hsm, &pair, Purpose::Import)?;
    }
    Ok(())
}

/// What the settings need, and which setting goes without it.
fn check_mechanisms(settings: &Settings, info: &TokenInfo) -> Result<()> {
    let in_token = settings.import_keys.in_token();
    let transport = settings.transport != Transport::Off;
    let wraps = settings.keep == Keep::Wrapped || in_token || transport;
    let another = "set `wrap` to another (aes-key-wrap, aes-key-wrap-pad, aes-key-wrap-kwp), or, where there is none, \
                   `keep` to `token`, `import_keys` to `sandbox` and `transport` to `off`";
    let sandbox = "set `import_keys` to `sandbox` or `off`, and `transport` to `off`";
    let needs = [
        (true, "CKM_AES_GCM", "no setting goes without it: this plugin cannot use the token"),
        (true, "CKM_AES_KEY_GEN", "no setting goes without it: this plugin cannot use the token"),
        (wraps, settings.wrap.name(), another),
        (in_token || transport, "CKM_RSA_PKCS_KEY_PAIR_GEN", sandbox),
        (in_token || transport, "CKM_RSA_PKCS_OAEP", sandbox),
        (transport, "CKM_AES_CMAC", "set `transport` to `off`"),
        (settings.takes(Hash::Sha1), "CKM_AES_CBC_PAD", "take `sha1` out of `oaep`, or set `import_keys` to `off`"),
    ];
    let missing = needs.iter().filter(|(needed, name, _)| *needed && !info.mechanisms.iter().any(|has| has == name));
    let missing: Vec<String> = missing.map(|(_, name, mend)| format!("{name} ({mend})")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (token, maker, model) = (&settings.token, &info.manufacturer, &info.model);
    Err(Error::Unavailable(format!("token `{token}` ({maker}, {model}) lacks {}", missing.join("; "))))
}

/// Opens what others sealed and wrapped.
fn known_answers(hsm: &Hsm<'_>) -> Result<()> {
    let failed = |error| hsm.explain("to give a known answer", error);
    let key = match hsm.token().import_key(&session("AES", usage(Purpose::Root), false), &GCM_KEY) {
        Ok(key) => key,
        Err(error) if is_missing(&error) => {
            log::warn(
                "the token takes no key in clear: known answers are not tried, and imports work under an import token \
                 with `import_keys` in the token only",
                &[("token", &hsm.settings().token)],
            );
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    let sealed = Sealed { iv: GCM_IV.to_vec(), ciphertext: GCM_SEALED.to_vec() };
    opens(key.open(&sealed, &GCM_AAD), GCM_PLAINTEXT, "AES-GCM does not give its known answer").map_err(failed)??;
    refuses(key.open(&sealed, b"other"), "AES-GCM opens with another AAD").map_err(failed)??;

    if hsm.settings().transport != Transport::Off {
        let key = hsm.token().import_key(&session("AES", Usage::MAC, false), &XAES_KEY).map_err(failed)?;
        if foreign::open(&key, XAES_SEALED, XAES_AAD).map_err(failed)?.is_none_or(|opened| *opened != XAES_PLAINTEXT) {
            return Err(broken("AES-CMAC does not give its known answer"));
        }
    }

    let wrapped = match hsm.settings().wrap {
        Mechanism::Kw => KW_WRAPPED,
        Mechanism::Kwp => KWP_WRAPPED,
        // Modules mean different things by it.
        Mechanism::KwPad => return Ok(()),
    };
    if hsm.settings().keep == Keep::Token && !hsm.settings().import_keys.in_token() {
        return Ok(());
    }
    let how = hsm.settings().wrap.wrapping();
    let kek = hsm.token().import_key(&session("AES", Usage::UNWRAP, false), &KEK).map_err(failed)?;
    let template = session("AES", usage(Purpose::Root), false);
    let key = kek.unwrap_key(&how, &wrapped, &template).map_err(failed)?;
    let sealed = Sealed { iv: GCM_IV.to_vec(), ciphertext: UNDER_WRAPPED.to_vec() };
    opens(key.open(&sealed, b"softhsm"), b"keygate", "key unwrapping does not give its known answer")
        .map_err(failed)??;
    let mut damaged = wrapped;
    damaged[20] ^= 1;
    match kek.unwrap_key(&how, &damaged, &template) {
        Ok(_) => Err(broken("it unwraps a damaged key")),
        Err(_) => Ok(()),
    }
}

/// Seals with a key of its own, under ivs of the kind that is set.
fn seals_and_opens(hsm: &Hsm<'_>) -> Result<()> {
    let failed = |error| hsm.explain("to seal and open", error);
    let key = hsm.token().generate_key(&session("AES", usage(Purpose::Root), false), 256).map_err(failed)?;
    let seal = || {
        key.seal(hsm.iv(), GCM_PLAINTEXT, b"aad").map_err(|error| {
            if is_missing(&error) && hsm.settings().iv == crate::settings::Iv::Token {
                return Error::Unavailable("the token makes no ivs for CKM_AES_GCM: set `iv` to `host`".to_owned());
            }
            hsm.explain("to seal with CKM_AES_GCM (`iv`: some modules want `token`)", error)
        })
    };
    let (one, two) = (seal()?, seal()?);
    if one.iv == two.iv || !IV.contains(&one.iv.len()) || one.ciphertext.len() != GCM_PLAINTEXT.len() + TAG {
        return Err(broken("it seals twice under the same iv, or gives a ciphertext of a wrong size"));
    }
    opens(key.open(&one, b"aad"), GCM_PLAINTEXT, "it does not open what it sealed").map_err(failed)??;
    refuses(key.open(&one, b"other"), "it opens under another AAD").map_err(failed)?
}

/// The plugin's own keys, if they are there; if not, whether they may be made.
fn check_helpers(hsm: &Hsm<'_>, settings: &Settings) -> Result<()> {
    let version = settings.wrapping_key_version;
    let (sealing, wrapping) = (hsm.look_for(Helper::Sealing, version)?, hsm.look_for(Helper::Wrapping, version)?);
    let needs_wrapping = settings.keep == Keep::Wrapped || settings.import_keys == ImportKeys::Wrapped;
    if !settings.make_wrapping_keys {
        for (key, helper, needed) in [(&sealing, Helper::Sealing, true), (&wrapping, Helper::Wrapping, needs_wrapping)]
        {
            if needed && key.is_none() {
                return Err(hsm.missing(helper, version));
            }
        }
    }
    let wraps_at_all = needs_wrapping || settings.import_keys.in_token() || settings.transport != Transport::Off;
    let failed = |error| hsm.explain("to use the plugin's own keys", error);
    let too_much = |helper, what: &str| {
        Err(Error::Unavailable(format!(
            "key `{}` in token `{}` may {what} as well: a key that may wrap and decrypt gives away what it wraps. Destroy it if \
             nothing was kept with it, and let the plugin make it (`make_wrapping_keys`)",
            hsm.helper_id(helper, version),
            settings.token
        )))
    };
    if let Some(key) = &wrapping {
        // One that may not decrypt does not get as far as to say that these bytes are wrong.
        let nonsense = Sealed { iv: GCM_IV.to_vec(), ciphertext: GCM_SEALED.to_vec() };
        if matches!(key.open(&nonsense, b""), Err(pkcs11::Error::AuthenticationFailed) | Ok(_)) {
            return too_much(Helper::Wrapping, "decrypt");
        }
    }
    if let Some(key) = sealing {
        if wraps_at_all {
            let passing = hsm.token().generate_key(&session("AES", usage(Purpose::Root), true), 128).map_err(failed)?;
            if key.wrap_key(&settings.wrap.wrapping(), &passing).is_ok() {
                return too_much(Helper::Sealing, "wrap");
            }
        }
        let sealed = key.seal(hsm.iv(), GCM_PLAINTEXT, b"aad").map_err(failed)?;
        opens(key.open(&sealed, b"aad"), GCM_PLAINTEXT, "the sealing key does not open what it sealed")
            .map_err(failed)??;
    }
    if !needs_wrapping {
        return Ok(());
    }
    let key = match wrapping {
        Some(key) => key,
        None => {
            let template = session("AES", Usage::WRAP | Usage::UNWRAP, false);
            hsm.token().generate_key(&template, 256).map_err(failed)?
        }
    };
    wraps(hsm, &key, &settings.wrap.wrapping())
}

/// Wraps a key and unwraps it again: it is the same.
fn wraps(hsm: &Hsm<'_>, key: &pkcs11::Key, how: &Wrapping) -> Result<()> {
    let failed = |error| hsm.explain("to wrap a key and unwrap it", error);
    let passing = hsm.token().generate_key(&session("AES", usage(Purpose::Root), true), 256).map_err(failed)?;
    let sealed = passing.seal(hsm.iv(), GCM_PLAINTEXT, b"aad").map_err(failed)?;
    let wrapped = key.wrap_key(how, &passing).map_err(failed)?;
    let again = key.unwrap_key(how, &wrapped, &session("AES", usage(Purpose::Root), false)).map_err(failed)?;
    opens(again.open(&sealed, b"aad"), GCM_PLAINTEXT, "it unwraps another key than it wrapped").map_err(failed)?
}

type Outcome = core::result::Result<Result<()>, pkcs11::Error>;

/// The outer failure is the token's, the inner one says that it works wrongly.
fn opens<B: AsRef<[u8]>>(answer: pkcs11::Result<B>, expected: &[u8], wrong: &str) -> Outcome {
    match answer {
        Ok(opened) if opened.as_ref() == expected => Ok(Ok(())),
        Ok(_) | Err(pkcs11::Error::AuthenticationFailed) => Ok(Err(broken(wrong))),
        Err(error) => Err(error),
    }
}

fn refuses<B>(answer: pkcs11::Result<B>, wrong: &str) -> Outcome {
    match answer {
        Ok(_) => Ok(Err(broken(wrong))),
        Err(pkcs11::Error::AuthenticationFailed) => Ok(Ok(())),
        Err(error) => Err(error),
    }
}

fn broken(what: &str) -> Error {
    Error::Unavailable(format!("the token is not to be trusted with keys: {what}"))
}
