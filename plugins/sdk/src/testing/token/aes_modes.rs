//! What a token does with AES: GCM, CBC with PKCS#7 padding, and key wrapping (RFC 3394, RFC 5649).

use aes::cipher::array::Array;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

/// Why something did not open: one cause for all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

type Opened = Result<Vec<u8>, Closed>;

/// The initial value of RFC 3394.
const KW_IV: [u8; 8] = [0xA6; 8];
/// The first half of that of RFC 5649.
const KWP_IV: [u8; 4] = [0xA6, 0x59, 0x59, 0xA6];

/// One block, either way.
fn block(key: &[u8], block: [u8; 16], encrypt: bool) -> Result<[u8; 16], Closed> {
    fn run<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt>(
        key: &[u8],
        bytes: [u8; 16],
        encrypt: bool,
    ) -> Result<[u8; 16], Closed> {
        let cipher = C::new_from_slice(key).map_err(|_| Closed)?;
        let mut block = Array::try_from(bytes.as_slice()).map_err(|_| Closed)?;
        if encrypt {
            cipher.encrypt_block(&mut block);
        } else {
            cipher.decrypt_block(&mut block);
        }
        block.as_slice().try_into().map_err(|_| Closed)
    }
    match key.len() {
        16 => run::<Aes128>(key, block, encrypt),
        24 => run::<Aes192>(key, block, encrypt),
        32 => run::<Aes256>(key, block, encrypt),
        _ => Err(Closed),
    }
}

/// AES-GCM with an iv of 12 bytes and the tag behind the ciphertext.
pub(super) fn gcm(key: &[u8], iv: &[u8], bytes: &[u8], aad: &[u8], seal: bool) -> Opened {
    fn run<C: KeyInit + Aead<NonceSize = U12>>(
        key: &[u8],
        iv: [u8; 12],
        payload: Payload<'_, '_>,
        seal: bool,
    ) -> Opened {
        let cipher = C::new_from_slice(key).map_err(|_| Closed)?;
        let iv = Array::from(iv);
        let outcome = if seal { cipher.encrypt(&iv, payload) } else { cipher.decrypt(&iv, payload) };
        outcome.map_err(|_| Closed)
    }
    let iv = iv.try_into().map_err(|_| Closed)?;
    let payload = Payload { msg: bytes, aad };
    match key.len() {
        16 => run::<Aes128Gcm>(key, iv, payload, seal),
        24 => run::<AesGcm<Aes192, U12>>(key, iv, payload, seal),
        32 => run::<Aes256Gcm>(key, iv, payload, seal),
        _ => Err(Closed),
    }
}

/// AES-CMAC (NIST SP 800-38B).
pub(super) fn cmac(key: &[u8], text: &[u8]) -> Opened {
    let double = |block: [u8; 16]| {
        let value = u128::from_be_bytes(block);
        ((value << 1) ^ ((value >> 127) * 0x87)).to_be_bytes()
    };
    let whole = double(block(key, [0; 16], true)?);
    let (body, last) = text.split_at(text.len().saturating_sub(1) / 16 * 16);
    let mut end = [0; 16];
    for (byte, given) in end.iter_mut().zip(last) {
        *byte = *given;
    }
    let mask = if last.len() == 16 {
        whole
    } else {
        end[last.len()] = 0x80;
        double(whole)
    };
    let mut state = [0; 16];
    let masked = end.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>();
    for part in body.chunks(16).chain([masked.as_slice()]) {
        for (byte, next) in state.iter_mut().zip(part) {
            *byte ^= next;
        }
        state = block(key, state, true)?;
    }
    Ok(state.to_vec())
}

/// AES-CBC, PKCS#7.
pub(super) fn cbc_open(key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Opened {
    let mut previous: [u8; 16] = iv.try_into().map_err(|_| Closed)?;
    let mut out = Vec::with_capacity(ciphertext.len());
    for part in ciphertext.chunks(16) {
        let part: [u8; 16] = part.try_into().map_err(|_| Closed)?;
        let opened = block(key, part, false)?;
        out.extend(opened.iter().zip(previous).map(|(byte, mask)| byte ^ mask));
        previous = part;
    }
    let padding = usize::from(*out.last().ok_or(Closed)?);
    let keep = out.len().checked_sub(padding).filter(|_| (1..=16).contains(&padding)).ok_or(Closed)?;
    if out[keep..].iter().any(|byte| usize::from(*byte) != padding) {
        return Err(Closed);
    }
    out.truncate(keep);
    Ok(out)
}

/// RFC 3394. `plain` has a multiple of 8 bytes, 16 or more.
pub(super) fn kw(key: &[u8], plain: &[u8]) -> Opened {
    if plain.len() < 16 || !plain.len().is_multiple_of(8) {
        return Err(Closed);
    }
    spin(key, KW_IV, plain)
}

/// RFC 3394, back.
pub(super) fn kw_open(key: &[u8], wrapped: &[u8]) -> Opened {
    let (iv, plain) = unspin(key, wrapped)?;
    if iv == KW_IV { Ok(plain) } else { Err(Closed) }
}

/// RFC 5649.
pub(super) fn kwp(key: &[u8], plain: &[u8]) -> Opened {
    let size = u32::try_from(plain.len()).map_err(|_| Closed)?.to_be_bytes();
    let iv: [u8; 8] = [KWP_IV, size].concat().try_into().map_err(|_| Closed)?;
    let mut padded = plain.to_vec();
    padded.resize(plain.len().next_multiple_of(8), 0);
    match <[u8; 8]>::try_from(padded.as_slice()) {
        Ok(half) => {
            let whole: [u8; 16] = [iv, half].concat().try_into().map_err(|_| Closed)?;
            block(key, whole, true).map(|sealed| sealed.to_vec())
        }
        Err(_) if padded.is_empty() => Err(Closed),
        Err(_) => spin(key, iv, &padded),
    }
}

/// RFC 5649, back.
pub(super) fn kwp_open(key: &[u8], wrapped: &[u8]) -> Opened {
    let (iv, mut plain) = match <[u8; 16]>::try_from(wrapped) {
        Ok(single) => {
            let opened = block(key, single, false)?;
            let (iv, half) = opened.split_at(8);
            (iv.try_into().map_err(|_| Closed)?, half.to_vec())
        }
        Err(_) => unspin(key, wrapped)?,
    };
    let (magic, size) = iv.split_at(4);
    let size = u32::from_be_bytes(size.try_into().map_err(|_| Closed)?) as usize;
    if magic != KWP_IV || size == 0 || size.next_multiple_of(8) != plain.len() || plain[size..].iter().any(|b| *b != 0)
    {
        return Err(Closed);
    }
    plain.truncate(size);
    Ok(plain)
}

/// The six rounds of RFC 3394, section 2.2.1.
fn spin(key: &[u8], iv: [u8; 8], plain: &[u8]) -> Opened {
    let mut a = iv;
    let mut rest = plain.to_vec();
    let mut step = 0_u64;
    for _ in 0..6 {
        for part in rest.chunks_exact_mut(8) {
            step += 1;
            let sealed = block(key, [&a, &*part].concat().try_into().map_err(|_| Closed)?, true)?;
            let (high, low) = sealed.split_at(8);
            a = (u64::from_be_bytes(high.try_into().map_err(|_| Closed)?) ^ step).to_be_bytes();
            part.copy_from_slice(low);
        }
    }
    Ok([a.as_slice(), &rest].concat())
}

/// And back: section 2.2.2.
fn unspin(key: &[u8], wrapped: &[u8]) -> Result<([u8; 8], Vec<u8>), Closed> {
    if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
        return Err(Closed);
    }
    let (a, rest) = wrapped.split_first_chunk::<8>().ok_or(Closed)?;
    let (mut a, mut rest) = (*a, rest.to_vec());
    let mut step = (rest.len() / 8 * 6) as u64;
    for _ in 0..6 {
        for part in rest.chunks_exact_mut(8).rev() {
            let mixed = (u64::from_be_bytes(a) ^ step).to_be_bytes();
            let opened = block(key, [&mixed, &*part].concat().try_into().map_err(|_| Closed)?, false)?;
            let (high, low) = opened.split_at(8);
            a = high.try_into().map_err(|_| Closed)?;
            part.copy_from_slice(low);
            step -= 1;
        }
    }
    Ok((a, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn wraps_as_the_rfcs_do() {
        // RFC 3394, sections 4.1 and 4.6.
        let data = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
        let key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let short = hex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
        assert_eq!(kw(&key[..16], &data[..16]).unwrap(), short);
        assert_eq!(kw_open(&key[..16], &short).unwrap(), data[..16]);
        let long = hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
        assert_eq!(kw(&key, &data).unwrap(), long);
        assert_eq!(kw_open(&key, &long).unwrap(), data);
        assert_eq!(kw_open(&key, &short), Err(Closed));
        // RFC 5649, section 6.
        let key = hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
        for (data, wrapped) in [
            (
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
            ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
        ] {
            assert_eq!(kwp(&key, &hex(data)).unwrap(), hex(wrapped));
            assert_eq!(kwp_open(&key, &hex(wrapped)).unwrap(), hex(data));
            let mut bad = hex(wrapped);
            bad[3] ^= 1;
            assert_eq!(kwp_open(&key, &bad), Err(Closed));
        }
    }

    #[test]
    fn cmacs_are_those_of_rfc_4493() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let text = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411\
             e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
        for (len, mac) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            assert_eq!(cmac(&key, &text[..len]).unwrap(), hex(mac), "of {len} bytes");
        }
    }

    #[test]
    fn cbc_opens_what_nist_sealed() {
        // SP 800-38A, F.2.1, first block; its padding is none, so it does not open. With a block of padding it does.
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        assert_eq!(cbc_open(&key, &iv, &hex("7649abac8119b246cee98e9b12e9197d")), Err(Closed));
        let mut padded = [0x10; 16];
        for (byte, mask) in padded.iter_mut().zip(&iv) {
            *byte ^= mask;
        }
        let sealed = block(&key, padded, true).unwrap();
        assert_eq!(cbc_open(&key, &iv, &sealed).unwrap(), b"");
        assert_eq!(cbc_open(&key, &iv, b""), Err(Closed));
        assert_eq!(cbc_open(&key, &iv, &sealed[..15]), Err(Closed));
    }
}
