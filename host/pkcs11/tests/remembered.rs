//! What is no secret is opened once, and remembered for as long as that is true.

mod lab;

use keygate_pkcs11::{Error, Key, Sealed};
use lab::{Lab, make, seal, soon};

fn open_public(key: &Key, sealed: &Sealed, aad: &[u8]) -> Result<Vec<u8>, Error> {
    key.open_public(sealed.clone(), aad.to_vec(), soon()).wait()
}

/// From here on nothing is decrypted, and the module says nothing else that would end the link.
const NONE: &str = "C_Decrypt rv=0x6";

#[test]
fn a_text_that_is_no_secret_takes_one_call_on_the_token_and_a_secret_one_each_time() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"wrapped").wait().unwrap();
    assert_eq!(open_public(&key, &sealed, b"aad").unwrap(), b"wrapped");
    lab.tell(NONE);
    assert_eq!(open_public(&key, &sealed, b"aad").unwrap(), b"wrapped");
    assert_eq!(open_public(&token.find_key(b"k", soon()).wait().unwrap(), &sealed, b"aad").unwrap(), b"wrapped");
    assert!(lab::open(&key, &sealed).is_err(), "a secret is not kept");
    lab.tell("");
    assert_eq!(lab::open(&key, &sealed).unwrap(), b"wrapped");
}

#[test]
fn another_text_aad_or_key_is_another_question() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"wrapped").wait().unwrap();
    open_public(&key, &sealed, b"aad").unwrap();
    let mut other = sealed.clone();
    other.ciphertext[0] ^= 1;
    assert_eq!(open_public(&key, &other, b"aad"), Err(Error::AuthenticationFailed));
    // The same bytes, cut elsewhere.
    let mut moved = sealed.clone();
    moved.ciphertext.push(b'a');
    assert_eq!(open_public(&key, &moved, b"ad"), Err(Error::AuthenticationFailed));
    assert_eq!(open_public(&key, &sealed, b"aae"), Err(Error::AuthenticationFailed));
    assert_eq!(open_public(&make(&token, b"l"), &sealed, b"aad"), Err(Error::AuthenticationFailed));
    assert!(matches!(open_public(&key, &Sealed { iv: vec![0; 11], ..sealed }, b"aad"), Err(Error::InvalidInput(_))));
}

#[test]
fn a_key_that_was_destroyed_opens_nothing_that_is_remembered_nor_does_one_of_its_name() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"wrapped").wait().unwrap();
    open_public(&key, &sealed, b"aad").unwrap();
    token.destroy_key(b"k", soon()).wait().unwrap();
    assert_eq!(open_public(&key, &sealed, b"aad"), Err(Error::NotFound));
    assert_eq!(open_public(&make(&token, b"k"), &sealed, b"aad"), Err(Error::AuthenticationFailed));
}

#[test]
fn nothing_is_remembered_beyond_a_login() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"wrapped").wait().unwrap();
    open_public(&key, &sealed, b"aad").unwrap();
    // CKR_TOKEN_NOT_PRESENT: the link is given up, and made anew.
    lab.tell("C_Encrypt rv=0xE0 times=1");
    seal(&key, b"text").wait().unwrap();
    lab.tell(NONE);
    assert!(open_public(&key, &sealed, b"aad").is_err());
}
