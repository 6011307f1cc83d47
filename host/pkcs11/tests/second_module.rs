//! The same door to a module that is not SoftHSM: NSS softokn, by settings only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lab;

use std::path::{Path, PathBuf};
use std::process::Command;

use keygate_pkcs11::{Digest, Error, Find, Key, Outcome, Padding, Token, TokenConfig, Wrapping};
use lab::{Lab, aes, make, open, rsa, seal, secret, session_aes, soon};

const SOFTOKN: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
    "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
    "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
    "/usr/lib64/libsoftokn3.so",
];

fn softokn() -> PathBuf {
    let named = std::env::var_os("KEYGATE_TEST_SOFTOKN").map(PathBuf::from);
    let found = named.into_iter().chain(SOFTOKN.map(PathBuf::from)).find(|path| path.exists());
    found.expect(
        "NSS is not installed: `apt-get install libnss3-tools` (or name its libsoftokn3.so in KEYGATE_TEST_SOFTOKN)",
    )
}

fn config(lab: &Lab) -> TokenConfig {
    let database = lab.dir.path().join("nss");
    std::fs::create_dir(&database).unwrap();
    let place = format!("sql:{}", Path::display(&database));
    let made = Command::new("certutil").args(["-N", "-d", &place, "-f"]).arg(lab.dir.path().join("pin")).status();
    assert!(made.expect("certutil is not installed: `apt-get install libnss3-tools`").success());
    let mut config = lab.config();
    config.module = softokn();
    config.module_parameters = Some(format!("configdir='{place}' flags=passwordRequired"));
    config.find = Find::Label("NSS Certificate DB".into());
    config
}

fn round_trip(key: &Key) {
    let sealed = seal(key, b"text").wait().unwrap();
    assert_eq!(sealed.ciphertext.len(), 20, "with its tag");
    assert_eq!(open(key, &sealed).unwrap(), b"text");
    let mut flipped = sealed;
    flipped.ciphertext[0] ^= 1;
    assert_eq!(open(key, &flipped), Err(Error::AuthenticationFailed));
}

#[test]
fn softokn_does_all_that_its_probe_says() {
    let lab = Lab::new();
    let token: Token = lab.start(config(&lab));
    let probe = token.probe(soon()).wait().unwrap();
    for name in [
        "CKM_AES_KEY_GEN",
        "CKM_AES_GCM",
        "CKM_AES_CMAC",
        "CKM_AES_KEY_WRAP",
        "CKM_AES_KEY_WRAP_KWP",
        "CKM_RSA_PKCS_OAEP",
    ] {
        assert_eq!(probe.mechanism(name), &Outcome::Works, "{name}");
    }
    assert!(probe.oaep.iter().all(|(_, outcome)| outcome.works()), "{:?}", probe.oaep);
    assert_eq!((probe.padding, probe.token_iv), (Some(Padding::Other), false));
    let kek = make(&token, b"kek");
    round_trip(&kek);
    for how in [Wrapping::AesKeyWrap, Wrapping::AesKeyWrapKwp] {
        let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
        let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
        round_trip(&kek.unwrap_key(how, wrapped, &session_aes(false), soon()).wait().unwrap());
    }
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap();
    assert_eq!(pair.public_key(soon()).wait().unwrap().len(), 294);
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let how = Wrapping::RsaOaep(Digest::Sha256);
    let wrapped = pair.wrap_key(how, &key, soon()).wait().unwrap();
    round_trip(&pair.unwrap_key(how, wrapped, &session_aes(false), soon()).wait().unwrap());
    token.destroy_key(b"kek", soon()).wait().unwrap();
    assert_eq!(token.find_key(b"kek", soon()).wait().err(), Some(Error::NotFound));
    assert!(token.health().is_ready());
}

#[test]
fn a_key_from_outside_wraps_no_other_although_softokn_says_cka_local_of_none() {
    let lab = Lab::new();
    let token = lab.start(config(&lab));
    let kek = make(&token, b"kek");
    let target = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &target, soon()).wait().unwrap();
    let brought = token.import_key(&aes(b"brought"), secret(&[3; 32]), soon()).wait().unwrap();
    let unwrapped = kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &aes(b"unwrapped"), soon()).wait().unwrap();
    for key in [brought, unwrapped] {
        let refused = key.wrap_key(Wrapping::AesKeyWrap, &target, soon()).wait();
        assert!(matches!(refused, Err(Error::InvalidInput(_))), "{refused:?}");
    }
}
