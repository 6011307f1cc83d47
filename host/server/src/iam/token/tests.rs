use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keygate_core::access::RoleAssignment;
use serde_json::{Value, json};

use super::*;
use crate::config::IdentityParams;
use crate::iam::{TokenRefusal, TokenResponse, token_request};
use crate::system::OsEntropy;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_500);
const HOUR: Duration = Duration::from_secs(3600);

fn identity(id: &str, key: u8) -> IdentityParams {
    IdentityParams {
        id: id.to_owned(),
        name: Some("Ann".to_owned()),
        kind: PrincipalKind::User,
        account: "acct".to_owned(),
        api_key_hashes: vec![ApiKey::from_bytes([key; 32]).hash()],
        assignments: vec![RoleAssignment { roles: vec!["Reader".to_owned()], ..RoleAssignment::default() }],
    }
}

fn key(byte: u8) -> SecretText {
    ApiKey::from_bytes([byte; 32]).text()
}

fn service_in(dir: &std::path::Path) -> TokenService {
    let signing = SigningKey::open_or_create(&dir.join("key.pem")).unwrap();
    let identities = [identity("ann", 1), identity("bob", 2)].iter().collect();
    TokenService::new(signing, "https://kg".to_owned(), HOUR, identities, Arc::new(OsEntropy))
}

fn service() -> TokenService {
    service_in(tempfile::tempdir().unwrap().path())
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn b64(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn a_key_becomes_a_token_and_the_token_its_owner() {
    let service = service();
    let token = service.exchange(key(2).expose(), NOW).unwrap();
    let principal = service.authenticate(token.access_token.expose(), NOW).unwrap();
    assert_eq!(principal.id, "bob");
    assert_eq!(token.owner, principal);
    assert_eq!(principal.assignments[0].roles, ["Reader"]);
    assert_eq!(token.expires.unix_seconds(), 1_800_003_600);
}

#[test]
fn the_claims_are_those_that_clients_and_gateway_read() {
    let service = service();
    let token = service.exchange(key(1).expose(), NOW).unwrap();
    let claims = part(token.access_token.expose(), 1);
    assert_eq!(claims["iam_id"], "ann");
    assert_eq!(claims["sub"], "ann");
    assert_eq!(claims["sub_type"], "User");
    assert_eq!(claims["account"], json!({"bss": "acct"}));
    assert_eq!(claims["iat"], 1_800_000_000);
    assert_eq!(claims["exp"], 1_800_003_600);
    assert_eq!(claims["iss"], "https://kg");
    assert_eq!(claims["scope"], "ibm openid");
    assert_eq!(claims["grant_type"], API_KEY_GRANT);
    let header = part(token.access_token.expose(), 0);
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["kid"], service.jwks()["keys"][0]["kid"]);
    let other = service.exchange(key(1).expose(), NOW).unwrap();
    assert_ne!(claims["jti"], part(other.access_token.expose(), 1)["jti"]);
}

#[test]
fn wrong_keys_get_nothing() {
    let service = service();
    for bad in ["", "kg_", "x", key(3).expose()] {
        assert_eq!(service.exchange(bad, NOW).unwrap_err(), IamError::UnknownKey);
    }
}

#[test]
fn a_token_ends_at_its_second_by_the_injected_clock() {
    let service = service();
    let token = service.exchange(key(1).expose(), NOW).unwrap();
    let token = token.access_token.expose();
    assert!(service.authenticate(token, Timestamp::from_unix_ms(1_800_003_599_999)).is_ok());
    assert_eq!(service.authenticate(token, Timestamp::from_unix_ms(1_800_003_600_000)), Err(AuthError::Expired));
    assert_eq!(service.authenticate(token, Timestamp::from_unix_ms(1_700_000_000_000)), Err(AuthError::NotYet));
}

#[test]
fn another_algorithm_is_refused_whatever_it_is_signed_with() {
    let service = service();
    let good = service.exchange(key(1).expose(), NOW).unwrap();
    let good = good.access_token.expose();
    let claims = part(good, 1);
    let kid = part(good, 0)["kid"].clone();
    // With no signature at all.
    for alg in ["none", "None", "NONE"] {
        let none = format!("{}.{}.", b64(&json!({"alg": alg, "typ": "JWT", "kid": kid})), b64(&claims));
        assert!(service.authenticate(&none, NOW).is_err(), "{alg}");
    }
    // HMAC under what everybody can see: the public key.
    let jwk = &service.jwks()["keys"][0];
    let mut point = vec![4];
    for half in ["x", "y"] {
        point.extend(URL_SAFE_NO_PAD.decode(jwk[half].as_str().unwrap()).unwrap());
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.as_str().unwrap().to_owned());
    for secret in [point.as_slice(), jwk.to_string().as_bytes()] {
        let forged = jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(service.authenticate(&forged, NOW), Err(AuthError::Signature));
    }
    // The right name of the algorithm over the wrong signature.
    let hmac = jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(&point)).unwrap();
    let signature = hmac.rsplit('.').next().unwrap();
    let mixed = format!("{}.{}.{signature}", good.split('.').next().unwrap(), b64(&claims));
    assert_eq!(service.authenticate(&mixed, NOW), Err(AuthError::Signature));
}

#[test]
fn a_changed_token_is_refused() {
    let service = service();
    let token = service.exchange(key(1).expose(), NOW).unwrap();
    let token = token.access_token.expose();
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut claims = part(token, 1);
    claims["iam_id"] = json!("bob");
    parts[1] = b64(&claims);
    assert_eq!(service.authenticate(&parts.join("."), NOW), Err(AuthError::Signature));
    for bad in ["", "a", "a.b", "a.b.c", &token[..token.len() - 20], &"x".repeat(5000)] {
        assert!(service.authenticate(bad, NOW).is_err(), "{bad:?}");
    }
}

#[test]
fn a_token_of_another_gateway_or_issuer_is_refused() {
    let (one, other) = (service(), service());
    let foreign = other.exchange(key(1).expose(), NOW).unwrap();
    assert_eq!(one.authenticate(foreign.access_token.expose(), NOW), Err(AuthError::Signature));

    // The same key, another issuer.
    let dir = tempfile::tempdir().unwrap();
    let here = service_in(dir.path());
    let signing = SigningKey::open(&dir.path().join("key.pem")).unwrap();
    let identities = [identity("ann", 1)].iter().collect();
    let elsewhere = TokenService::new(signing, "https://elsewhere".to_owned(), HOUR, identities, Arc::new(OsEntropy));
    let token = elsewhere.exchange(key(1).expose(), NOW).unwrap();
    assert_eq!(here.authenticate(token.access_token.expose(), NOW), Err(AuthError::Signature));
}

#[test]
fn who_is_removed_has_no_access_whatever_their_token_says_and_roles_are_those_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let restarted = |identity: IdentityParams| {
        let signing = SigningKey::open(&dir.path().join("key.pem")).unwrap();
        let identities = [identity].iter().collect();
        TokenService::new(signing, "https://kg".to_owned(), HOUR, identities, Arc::new(OsEntropy))
    };
    let service = service_in(dir.path());
    let token = service.exchange(key(1).expose(), NOW).unwrap();
    let token = token.access_token.expose();
    let mut promoted = identity("ann", 1);
    promoted.assignments[0].roles = vec!["Manager".to_owned()];
    let service = restarted(promoted);
    assert_eq!(service.authenticate(token, NOW).unwrap().assignments[0].roles, ["Manager"]);
    let service = restarted(identity("bob", 2));
    assert_eq!(service.authenticate(token, NOW), Err(AuthError::UnknownIdentity));
    assert_eq!(service.exchange(key(1).expose(), NOW).unwrap_err(), IamError::UnknownKey);
}

#[test]
fn the_endpoint_answers_in_the_shapes_that_the_clients_read() {
    let service = service();
    let api_key = key(1);
    let token = token_request(&service, Some(API_KEY_GRANT), Some(api_key.expose()), NOW).unwrap();
    let body = serde_json::to_value(TokenResponse::from(&token)).unwrap();
    assert_eq!(body["access_token"], token.access_token.expose());
    assert_eq!(body["refresh_token"], "not_supported");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body["expiration"], 1_800_003_600);
    assert_eq!(body["scope"], "ibm openid");

    let refused = |grant, key| token_request(&service, grant, key, NOW).unwrap_err();
    assert_eq!(refused(None, Some("k")), TokenRefusal::Missing("grant_type"));
    assert_eq!(refused(Some("password"), Some("k")), TokenRefusal::GrantType);
    assert_eq!(refused(Some(API_KEY_GRANT), Some(" ")), TokenRefusal::Missing("apikey"));
    let unknown = refused(Some(API_KEY_GRANT), Some("kg_nobody"));
    assert_eq!(unknown.status(), 400);
    assert_eq!(
        unknown.body("r1"),
        json!({
            "errorCode": "BXNIM0415E",
            "errorMessage": "Provided API key could not be found.",
            "context": {"requestId": "r1"},
        })
    );
}
