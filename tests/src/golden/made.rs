//! Values that a golden file writes by how they are made: dates that lie some time from a kept one, and material under an
//! import token.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use keygate_core::clock::Timestamp;
use keygate_core::encoding::{decode, encode};

/// Puts values that are made into a text: for `{{NAME+4h}}` and `{{NAME-1d}}` a date that lies so far from the kept one,
/// for `{{oaep:NAME:BASE64}}` material for the public key of a token that was kept, for `{{gcm:NAME:BASE64}}` the kept
/// nonce under the material. What is none of these stays.
pub(super) fn fill(text: &str, kept: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        match after.split_once("}}").and_then(|(inner, end)| Some((make(inner, kept)?, end))) {
            Some((made, end)) => {
                filled.push_str(&made);
                rest = end;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn make(inner: &str, kept: &BTreeMap<String, String>) -> Option<String> {
    if let Some((kind @ ("oaep" | "gcm"), rest)) = inner.split_once(':') {
        let (name, material) = rest.split_once(':')?;
        let (kept, material) = (kept.get(name)?, decode(material).expect("material in base64"));
        return Some(encode(&if kind == "oaep" { oaep(kept, &material) } else { gcm(kept, &material) }));
    }
    let (name, by) = inner.split_at(inner.find(['+', '-'])?);
    let from = Timestamp::parse_rfc3339(kept.get(name)?).ok()?;
    let by_ms = u64::try_from(duration(&by[1..])?.as_millis()).ok()?;
    let ms = if by.starts_with('+') { from.unix_ms() + by_ms } else { from.unix_ms() - by_ms };
    Some(Timestamp::from_unix_ms(ms).to_rfc3339())
}

/// `20s`, `4h`, `90d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}

/// RSAES-OAEP with SHA-256, to the key that a token's payload is: base64 of PEM.
fn oaep(payload: &str, material: &[u8]) -> Vec<u8> {
    let pem = String::from_utf8(decode(payload).expect("a payload in base64")).expect("PEM is text");
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = PublicEncryptingKey::from_der(&decode(&der).expect("DER in base64")).expect("an RSA key");
    let key = OaepPublicEncryptingKey::new(key).expect("an RSA key");
    let mut sealed = vec![0; key.ciphertext_size()];
    let sealed = key.encrypt(&OAEP_SHA256_MGF1SHA256, material, &mut sealed, None).expect("it is encrypted");
    sealed.to_vec()
}

/// AES-GCM with an IV of twelve zero bytes, `AAAAAAAAAAAAAAAA`: once under each material, as tests never need it twice.
fn gcm(nonce: &str, material: &[u8]) -> Vec<u8> {
    let algorithm = match material.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, material).expect("an AES key"));
    let mut sealed = decode(nonce).expect("a nonce in base64");
    let iv = Nonce::assume_unique_for_key([0; 12]);
    key.seal_in_place_append_tag(iv, Aad::empty(), &mut sealed).expect("it is encrypted");
    sealed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_lie_where_they_should_and_the_rest_stays() {
        let kept = BTreeMap::from([("d".to_owned(), "2026-01-31T23:59:30Z".to_owned())]);
        let text = "{{d+30s}} {{d-1d}} {{d}} {{uuid:x}} {{other+1h}} {\"a\": {\"b\": 1}} {{";
        let filled = "2026-02-01T00:00:00Z 2026-01-30T23:59:30Z {{d}} {{uuid:x}} {{other+1h}} {\"a\": {\"b\": 1}} {{";
        assert_eq!(fill(text, &kept), filled);
    }
}
