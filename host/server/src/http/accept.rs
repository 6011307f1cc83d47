//! `Accept`: a client that takes none of the API's types is told so, rather than sent one that it does not take.

use http::header::ACCEPT;
use http::{HeaderMap, Method};
use keygate_core::error::{Reason, ReasonCode};

/// Whether the client takes an answer of this API. A header that cannot be read is no objection: clients send many, and
/// nobody looks at them.
///
/// # Errors
/// `NOT_ACCEPTABLE_ERR` when it takes no JSON of any kind.
pub(super) fn accepts(method: &Method, headers: &HeaderMap) -> Result<(), Reason> {
    // An answer to HEAD has no body, and so no type.
    if method == Method::HEAD || !headers.contains_key(ACCEPT) {
        return Ok(());
    }
    let mut ranges = headers.get_all(ACCEPT).iter().flat_map(|value| match value.to_str() {
        Ok(list) => list.split(',').collect(),
        Err(_) => vec!["*/*"],
    });
    if ranges.any(admits) {
        return Ok(());
    }
    let text =
        "The answers of this API are of the types application/vnd.ibm.kms.*+json; accept application/json or */*";
    Err(Reason::new(ReasonCode::NotAcceptable, text).header("Accept"))
}

fn admits(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
    // `q=0` takes it out; whatever else stands there, it is not taken out.
    if weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0)) {
        return false;
    }
    // What is no type at all, such as the bare `*` of Java's clients, or nothing.
    !name.contains('/')
        || name.starts_with("*/")
        || name.starts_with("application/*")
        || name == "application/json"
        || name.starts_with("application/vnd.ibm.kms.")
        || name.starts_with("application/vnd.keygate.")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_taken(values: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_bytes(value).unwrap());
        }
        let method = |method: Method| accepts(&method, &headers).is_ok();
        assert!(method(Method::HEAD), "an answer without a body has no type");
        assert_eq!(method(Method::GET), method(Method::POST));
        method(Method::GET)
    }

    #[test]
    fn every_way_to_take_json_is_one() {
        assert!(is_taken(&[]));
        for value in [
            &b""[..],
            b"*/*",
            b"application/json",
            b"application/*",
            b"application/*+json",
            b"Application/JSON; charset=utf-8",
            b"application/vnd.ibm.kms.key+json",
            b"application/vnd.ibm.kms.error+json;q=0.1",
            b"application/vnd.keygate.lifecycle_event+json",
            b"text/html, */*;q=0.1",
            b"text/html, image/gif, image/jpeg, *; q=.2",
            b"text/html,application/json",
            b"\xff",
            b"application/json;q=x",
            b"application/json ; q = 0.001",
            b"application/json;q=1.000",
            b"nonsense",
        ] {
            assert!(is_taken(&[value]), "{}", String::from_utf8_lossy(value));
        }
        assert!(is_taken(&[b"text/html", b"application/json"]));
    }

    #[test]
    fn who_takes_something_else_only_is_told() {
        for value in [
            &b"text/html"[..],
            b"text/*",
            b"application/xml",
            b"image/png, text/plain;q=0.5",
            b"application/vnd.ibm.other+json",
            b"application/vnd.keygates+json",
            b"application/json;q=0",
            b"*/*; q=0.000",
            b"application/json;Q = 0, text/html",
            b"application/jsonp",
        ] {
            assert!(!is_taken(&[value]), "{}", String::from_utf8_lossy(value));
        }
        assert!(!is_taken(&[b"text/html", b"text/xml"]));
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/html"))]);
        let reason = accepts(&Method::GET, &headers).unwrap_err();
        assert_eq!(reason.code, ReasonCode::NotAcceptable);
    }
}
