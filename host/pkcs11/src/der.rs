//! SubjectPublicKeyInfo of RSA keys (RFC 5280, RFC 8017), written and read: the only ASN.1 here.

/// `SEQUENCE { OID rsaEncryption, NULL }`.
const RSA: &[u8] = &[0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = value.len();
    match len {
        0..0x80 => out.push(len as u8),
        0x80..0x100 => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(value);
    out
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len().saturating_sub(1));
    let bytes = bytes.get(start..).unwrap_or_default();
    let mut value = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_none_or(|b| b & 0x80 != 0) {
        value.push(0);
    }
    value.extend(bytes);
    tlv(0x02, &value)
}

/// Writes a public key. Both numbers are big-endian.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[integer(modulus), integer(exponent)].concat());
    let bits = [vec![0], key].concat();
    tlv(0x30, &[RSA.to_vec(), tlv(0x03, &bits)].concat())
}

/// Takes one value with this tag from the front.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let [found, first, rest @ ..] = *input else { return None };
    if *found != tag {
        return None;
    }
    let (len, rest) = match (*first, rest) {
        (len @ 0..=0x7F, rest) => (usize::from(len), rest),
        (0x81, [len, rest @ ..]) if *len >= 0x80 => (usize::from(*len), rest),
        (0x82, [high, low, rest @ ..]) if *high > 0 => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    let value = rest.get(..len)?;
    *input = rest.get(len..)?;
    Some(value)
}

fn unsigned(input: &mut &[u8]) -> Option<Vec<u8>> {
    match take(input, 0x02)? {
        [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Some(rest.to_vec()),
        bytes if bytes.first().is_some_and(|b| (1..0x80).contains(b)) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// Reads a public key: modulus and exponent. Strict: nothing may follow, no length longer than need be.
pub(crate) fn parse_rsa(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut input = der;
    let mut outer = take(&mut input, 0x30)?;
    outer = outer.strip_prefix(RSA)?;
    let mut bits = take(&mut outer, 0x03)?.strip_prefix(&[0])?;
    let mut key = take(&mut bits, 0x30)?;
    let (modulus, exponent) = (unsigned(&mut key)?, unsigned(&mut key)?);
    [input, outer, bits, key].iter().all(|rest| rest.is_empty()).then_some((modulus, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_as_it_was_written() {
        for len in [1, 126, 127, 128, 256, 512] {
            for first in [0x01, 0x7F, 0x80, 0xFF] {
                let mut modulus = vec![0xA5; len];
                modulus[0] = first;
                let der = rsa(&modulus, &[1, 0, 1]);
                assert_eq!(parse_rsa(&der), Some((modulus.clone(), vec![1, 0, 1])));
                for cut in 0..der.len() {
                    assert_eq!(parse_rsa(&der[..cut]), None);
                }
                assert_eq!(parse_rsa(&[der, vec![0]].concat()), None);
            }
        }
    }

    #[test]
    fn leading_zeros_of_a_token_are_cut() {
        assert_eq!(rsa(&[0, 0, 0x80, 1], &[0, 1, 0, 1]), rsa(&[0x80, 1], &[1, 0, 1]));
    }
}
