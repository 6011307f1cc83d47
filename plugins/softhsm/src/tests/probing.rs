//! The probe: what a token cannot do is told before the first request, with the setting that mends it.

use keygate_plugin_sdk::host::pkcs11::{Digest, Usage};

use super::*;

#[test]
fn a_token_that_can_do_everything_passes_and_nothing_is_left_behind() {
    for settings in [
        r#""keep":"token""#,
        r#""keep":"wrapped""#,
        r#""keep":"wrapped","wrap":"aes-key-wrap-pad","import_keys":"wrapped","iv":"token""#,
        r#""keep":"token","wrap":"aes-key-wrap-kwp","import_keys":"sandbox","transport":"sha256""#,
        r#""import_keys":"off","oaep":[]"#,
    ] {
        let (backend, token) = rig(settings);
        backend.probe(&call()).unwrap();
        assert!(token.objects().is_empty(), "{settings}");
        root(&backend, 32);
        let before = token.objects();
        backend.probe(&call()).unwrap();
        assert_eq!(token.objects(), before, "{settings}");
    }
}

#[test]
fn a_missing_mechanism_is_named_with_the_setting_that_goes_without_it() {
    for (settings, mechanism, mend, mended) in [
        ("", "CKM_AES_GCM", "no setting", None),
        ("", "CKM_AES_KEY_GEN", "no setting", None),
        ("", "CKM_AES_KEY_WRAP", "`wrap`", Some(r#""wrap":"aes-key-wrap-pad""#)),
        (r#""wrap":"aes-key-wrap-kwp""#, "CKM_AES_KEY_WRAP_KWP", "`wrap`", Some("")),
        ("", "CKM_RSA_PKCS_KEY_PAIR_GEN", "sandbox", Some(r#""import_keys":"sandbox""#)),
        ("", "CKM_RSA_PKCS_OAEP", "sandbox", Some(r#""import_keys":"off""#)),
        (r#""wrap":"aes-key-wrap-kwp","transport":"sha256""#, "CKM_AES_CMAC", "`transport` to `off`", Some("")),
        ("", "CKM_AES_CBC_PAD", "`oaep`", Some(r#""oaep":["sha256"]"#)),
    ] {
        let (backend, token) = rig(settings);
        token.without(mechanism);
        let text = unavailable(backend.probe(&call()));
        assert!(text.contains(mechanism) && text.contains(mend) && text.contains("`hsm`"), "{text}");
        if let Some(settings) = mended {
            configured(settings).probe(&call()).unwrap();
        }
    }
    // All at once, not one at a time.
    let (backend, token) = rig("");
    token.without("CKM_RSA_PKCS_OAEP");
    token.without("CKM_AES_KEY_WRAP");
    let text = unavailable(backend.probe(&call()));
    assert!(text.contains("CKM_RSA_PKCS_OAEP") && text.contains("CKM_AES_KEY_WRAP"), "{text}");
    configured(r#""keep":"token","import_keys":"sandbox""#).probe(&call()).unwrap();
}

#[test]
fn softhsm_is_asked_for_its_hashes() {
    let (backend, token) = rig("");
    token.set_manufacturer("SoftHSM project");
    token.set_oaep(&[Digest::Sha1]);
    let text = unavailable(backend.probe(&call()));
    assert!(text.contains("sha256") && text.contains("`import_keys` to `sandbox`"), "{text}");
    assert!(token.objects().is_empty());
    for mended in [r#""import_keys":"sandbox""#, r#""oaep":["sha1"]"#, r#""import_keys":"off""#] {
        configured(mended).probe(&call()).unwrap();
    }
    // A version that can do it passes.
    token.set_oaep(&[Digest::Sha1, Digest::Sha256]);
    backend.probe(&call()).unwrap();
}

#[test]
fn wrapping_keys_that_must_be_there_are_asked_for() {
    let (backend, token) = rig(r#""make_wrapping_keys":false"#);
    assert!(unavailable(backend.probe(&call())).contains("keygate/seal/1"));
    let maker = configured("");
    secret(&maker, b"x");
    assert!(unavailable(backend.probe(&call())).contains("keygate/wrap/1"));
    configured(r#""make_wrapping_keys":false,"keep":"token""#).probe(&call()).unwrap();
    root(&maker, 32);
    backend.probe(&call()).unwrap();
    token.clear();
    assert!(unavailable(backend.probe(&call())).contains("keygate/seal/1"));
    maker.probe(&call()).unwrap();
}

#[test]
fn a_token_that_takes_no_key_in_clear_passes_and_is_told_of() {
    let (backend, token) = rig("");
    token.fail("import-key", keygate_plugin_sdk::host::pkcs11::Error::Unsupported("C_CreateObject".into()));
    backend.probe(&call()).unwrap();
    assert!(testing::take_log().iter().any(|line| line.message.contains("no key in clear")));
}

#[test]
fn a_key_that_may_both_wrap_and_decrypt_is_refused() {
    // As tools make them: whatever is not said may be done.
    let all = Usage::ENCRYPT | Usage::DECRYPT | Usage::WRAP | Usage::UNWRAP;
    for (id, what) in [("keygate/wrap/1", "decrypt"), ("keygate/seal/1", "wrap")] {
        let (backend, token) = rig("");
        let template = crate::hsm::lasting("AES", all, id.as_bytes());
        backend.hsm().unwrap().token().generate_key(&template, 256).unwrap();
        let text = unavailable(backend.probe(&call()));
        assert!(text.contains(id) && text.contains(&format!("may {what} as well")), "{text}");
        assert_eq!(token.objects(), token.persistent());
    }
}
