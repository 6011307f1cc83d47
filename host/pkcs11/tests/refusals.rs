//! What a refusal of the token is told as: a wrong input, a key that is gone, or trouble.

#![allow(clippy::panic)]

mod lab;

use cryptoki::object::Attribute;
use keygate_pkcs11::Error;
use lab::{Lab, make, open, seal, session_aes, soon};

fn detail<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Unavailable { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_moments_trouble_is_never_told_as_a_damaged_ciphertext() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"text").wait().unwrap();
    let mut damaged = sealed.clone();
    damaged.ciphertext[0] ^= 1;
    // Trouble while it is learned how the token refuses: nothing is learned from that.
    lab.tell("C_Decrypt after rv=0x30 times=2");
    assert!(matches!(open(&key, &damaged), Err(Error::Rejected(_))));
    lab.tell("");
    assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    for rv in ["5", "6", "30", "80000042"] {
        for times in 1..=6 {
            lab.tell(&format!("C_Decrypt after rv=0x{rv} times={times}"));
            let opened = open(&key, &sealed);
            assert!(matches!(opened, Ok(_) | Err(Error::Rejected(_))), "0x{rv}, {times} times: {opened:?}");
        }
        lab.tell("");
        assert_eq!(open(&key, &sealed).unwrap(), b"text");
        assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    }
    // SoftHSM's own way to refuse, from a token that is well: the second time it is asked, it opens.
    lab.tell("C_Decrypt after rv=0x5 times=1");
    assert_eq!(open(&key, &sealed).unwrap(), b"text");
}

#[test]
fn a_key_of_a_size_that_the_token_does_not_take_is_not_told_as_damaged() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let kek = make(&token, b"kek");
    let how = keygate_pkcs11::Wrapping::AesKeyWrap;
    for bits in [128, 256] {
        let key = token.generate_key(&session_aes(true), bits, soon()).wait().unwrap();
        let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
        // Whatever it is given: no key of that size goes through.
        lab.tell("C_UnwrapKey rv=0x62");
        let refused = kek.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait();
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
        // This one, where others do.
        lab.tell("C_UnwrapKey rv=0x62 times=1");
        let refused = kek.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait();
        assert_eq!(refused.err(), Some(Error::AuthenticationFailed));
        lab.tell("");
        kek.unwrap_key(how, wrapped, &session_aes(false), soon()).wait().unwrap();
    }
    assert!(token.health().is_ready());
}

#[test]
fn wrong_ciphertexts_cost_the_token_no_new_key_each() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let mut damaged = seal(&key, b"text").wait().unwrap();
    damaged.ciphertext[0] ^= 1;
    assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    lab.tell("C_GenerateKey rv=0x30\nC_Encrypt rv=0x30");
    for _ in 0..5 {
        assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    }
    // What they are tried with is gone: another is made.
    lab.tell("");
    let (_module, session) = lab.somebody();
    let tried = || session.find_objects(&[Attribute::Token(false)]).unwrap();
    for object in tried() {
        session.destroy_object(object).unwrap();
    }
    assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    assert_eq!(tried().len(), 1);
    assert_eq!(open(&key, &damaged), Err(Error::AuthenticationFailed));
    assert_eq!(tried().len(), 1, "and kept");
    token.stop();
}

#[test]
fn a_search_that_fails_is_no_key_that_is_gone() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"text").wait().unwrap();
    for function in ["C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue", "C_DestroyObject"] {
        for rv in ["60", "82"] {
            // Nothing is remembered of it.
            lab.tell("C_DecryptInit rv=0x60 times=1");
            assert_eq!(open(&key, &sealed).unwrap(), b"text");
            lab.tell(&format!("C_DecryptInit rv=0x60 times=1\n{function} rv=0x{rv}"));
            if function != "C_DestroyObject" {
                assert!(detail(open(&key, &sealed)).contains(function), "{function} {rv}");
                assert!(detail(token.find_key(b"k", soon()).wait()).contains(function), "{function} {rv}");
            }
            assert!(detail(token.destroy_key(b"k", soon()).wait()).contains(function), "{function} {rv}");
            lab.tell("");
            assert_eq!(open(&key, &sealed).unwrap(), b"text", "it is there");
        }
    }
}
