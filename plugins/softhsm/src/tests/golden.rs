//! Bytes that were written down when the formats were made. If one of these fails, stored keys are lost.
//!
//! Made with another implementation (pyca/cryptography), from the crate's documentation: the sealing key is 32 times 0x4b,
//! the wrapping key 32 times 0x57, the root key the numbers from 0 to 31.

use keygate_plugin_sdk::host::pkcs11::Usage;

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

const ROOT_KW: &str = "c2010101000000010c4142434445464748494a4b4cd31a9163bbcab8d0bc109e4c90a821b8e97120806a51720baa22b6\
     171e4c1c9da93ce3edec5a19c4f1ff2d877f30f5307d58ee97889afc76";
const ROOT_KWP: &str = "c2010103000000010c4142434445464748494a4b4cca126c9afb48b091ce403806342c8b9276926b228463ebcf1acc34\
     78976a21e4dece2654081ae32cd21248019be54cc68c7760a270aaf609";
const STANDARD: &str = "c2020200000000010c4142434445464748494a4b4cce35f750cb0c5eef539ec31f4ac0df5d088e94ab31b89a17";
const CIPHERTEXT: &str = "d10c4c4b4a494847464544434241cb97dcbf2820034bca4ae39d1b26a034ab37a3805eb0e89c6f60";
/// Under 2,000 bytes of AAD, which are hashed.
const CIPHERTEXT_LONG_AAD: &str = "d10c4c4b4a494847464544434241cb97dcbf2820034bca4abe08677d0ac259d776d4efd1aa1659e2";

#[test]
fn format_1_stays_readable() {
    let (backend, _token) = rig("");
    let hsm = backend.hsm().unwrap();
    let give = |id: &str, usage, byte| {
        hsm.token().import_key(&crate::hsm::lasting("AES", usage, id.as_bytes()), &[byte; 32]).unwrap();
    };
    give("keygate/seal/1", Usage::ENCRYPT | Usage::DECRYPT, 0x4b);
    give("keygate/wrap/1", Usage::WRAP | Usage::UNWRAP, 0x57);
    for reference in [ROOT_KW, ROOT_KWP] {
        let root = key(unhex(reference));
        for (wrapped, aad) in [(CIPHERTEXT, b"additional data".as_slice()), (CIPHERTEXT_LONG_AAD, &[7; 2_000])] {
            assert_eq!(*backend.unwrap(&call(), &root, &unhex(wrapped), aad).unwrap(), b"plaintext");
        }
    }
    assert_eq!(*backend.export_key(&call(), &key(unhex(STANDARD))).unwrap(), b"a secret");
}

#[test]
fn format_1_of_an_object_stays_what_it_is() {
    let (backend, token) = keeping("token");
    let key = root(&backend, 32);
    let id = "4b4731010101201111111111114111811111111111111122222222222242228222222222222222\
              33333333333343338333333333333333";
    assert_eq!(key.reference, unhex(&format!("c1{id}")));
    assert_eq!(kept(&token)[0].id, Some(unhex(id)));
}
