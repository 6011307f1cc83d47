//! Known answers. Those with AES-128 and AES-192 were made with another implementation (CMAC and AES-GCM of Python's
//! `cryptography`), which gives the published ones for AES-256.

use super::*;
use crate::probe::{KNOWN_ANSWERS, NONCE as NONCE_BYTES, PLAINTEXT};

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn sealed(key: &[u8], nonce: &[u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut out = plaintext.to_vec();
    seal(key, nonce, aad, &mut out, 0).unwrap();
    out
}

#[test]
fn published_vectors() {
    let published = [
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
    ];
    for (answer, published) in KNOWN_ANSWERS.iter().zip(published) {
        assert_eq!(answer.sealed, unhex(published));
        let key = [answer.key_byte; 32];
        assert_eq!(sealed(&key, NONCE_BYTES, answer.aad, PLAINTEXT), answer.sealed);
        assert_eq!(*open(&key, NONCE_BYTES, answer.aad, answer.sealed).unwrap(), PLAINTEXT);
    }
}

#[test]
fn smaller_keys() {
    for (size, byte, aad, expected) in [
        (16, 1, "", "b90e0704fd3e890c1017ccba8716e7d579e86561d9bf6587fd2c5374"),
        (16, 3, "c2sp.org/XAES-256-GCM", "de0d4fdf89c6187ed389ab788afc98277e6725a6fc4b57307b2579ef"),
        (24, 1, "", "64a403fee6608f3572514347aaf6d592926fd13e39f6d7e4eb0b94ac"),
        (24, 3, "c2sp.org/XAES-256-GCM", "91b6ac1a4707bcb8afc6c713fa04586e72b94dd0e57f39d5eb13e509"),
    ] {
        let key = vec![byte; size];
        assert_eq!(sealed(&key, NONCE_BYTES, aad.as_bytes(), PLAINTEXT), unhex(expected), "{size} {byte}");
    }
}

#[test]
fn doubling_reduces() {
    let mut block = Block::from([0x80; 16]);
    double(&mut block);
    assert_eq!(block[..2], [0x01, 0x01]);
    assert_eq!(block[15], 0x87, "the bit that fell out came back as the polynomial");
    let mut block = Block::from([0x40; 16]);
    double(&mut block);
    assert_eq!(block, Block::from([0x80; 16]));
}

#[test]
fn any_change_is_refused() {
    let key = [7; 32];
    let good = sealed(&key, NONCE_BYTES, b"aad", b"a few bytes of plaintext");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key, NONCE_BYTES, b"aad", &bad).is_err(), "bit {bit}");
    }
    for bit in 0..NONCE * 8 {
        let mut nonce = *NONCE_BYTES;
        nonce[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key, &nonce, b"aad", &good).is_err(), "bit {bit} of the nonce");
    }
    for len in 0..good.len() {
        assert!(open(&key, NONCE_BYTES, b"aad", &good[..len]).is_err(), "{len} bytes");
    }
    assert!(open(&key, NONCE_BYTES, b"aa", &good).is_err());
    assert!(open(&[8; 32], NONCE_BYTES, b"aad", &good).is_err());
    assert!(open(&key, NONCE_BYTES, b"aad", &good).is_ok());
}

#[test]
fn other_key_sizes_are_refused() {
    for size in (0..40).filter(|size| ![16, 24, 32].contains(size)) {
        assert_eq!(seal(&vec![1; size], NONCE_BYTES, b"", &mut vec![0; 8], 0), Err(Failed), "{size}");
        assert!(open(&vec![1; size], NONCE_BYTES, b"", &[0; 32]).is_err(), "{size}");
    }
}

#[test]
fn seals_from_where_it_is_told() {
    let mut out = b"head".to_vec();
    out.extend_from_slice(PLAINTEXT);
    seal(&[1; 32], NONCE_BYTES, b"", &mut out, 4).unwrap();
    assert_eq!(&out[..4], b"head");
    assert_eq!(&out[4..], KNOWN_ANSWERS[0].sealed);
    assert_eq!(seal(&[1; 32], NONCE_BYTES, b"", &mut vec![0; 3], 4), Err(Failed));
}
