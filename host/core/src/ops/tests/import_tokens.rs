//! Import tokens: made, fetched as often as they may be, replaced.

use super::*;
use crate::backend::BackendError;
use crate::import_token::ImportToken;
use crate::ops::import_tokens::{self, NewToken};
use crate::ops::material::SealedMaterial;

fn make(world: &World, expiration: Option<u64>, max_retrievals: Option<u64>) -> Result<ImportToken, Error> {
    let input = NewToken { expiration, max_retrievals };
    block_on(import_tokens::create(&world.gateway, &cx(FIRST), Ok(input)))
}

fn fetch(world: &World) -> Result<ImportToken, Error> {
    block_on(import_tokens::fetch(&world.gateway, &cx(FIRST)))
}

fn stored(world: &World) -> ImportToken {
    block_on(world.gateway.store.import_token(FIRST)).unwrap().unwrap()
}

#[test]
fn a_token_holds_ten_minutes_and_for_one_retrieval_unless_said_otherwise() {
    let world = World::new();
    let token = make(&world, None, None).unwrap();
    assert_eq!(token.expires_at, token.created.at.plus(Duration::from_secs(600)));
    assert_eq!((token.max_retrievals, token.remaining_retrievals), (1, 1));
    assert_eq!((token.nonce.len(), token.created.by.as_str()), (12, "IBMid-1"));
    assert_eq!(stored(&world), token);
    let facts: Vec<_> = world.audit.events()[0].response.clone();
    let expires = token.expires_at.to_rfc3339();
    for fact in [("expirationDate", expires.as_str()), ("maxAllowedRetrievals", "1"), ("remainingRetrievals", "1")] {
        assert!(facts.iter().any(|(name, value)| (*name, value.as_str()) == fact), "{fact:?} is not in {facts:?}");
    }
}

#[test]
fn a_fetch_counts_before_it_is_told_and_the_last_one_is_the_last() {
    let world = World::new();
    assert_eq!(code(fetch(&world)), ReasonCode::ImportTokenNotFound);
    let made = make(&world, Some(300), Some(3)).unwrap();
    for remaining in [2, 1, 0] {
        let token = fetch(&world).unwrap();
        assert_eq!((token.remaining_retrievals, token.max_retrievals), (remaining, 3));
        assert_eq!((&token.public_key, &token.nonce), (&made.public_key, &made.nonce));
    }
    assert_eq!(code(fetch(&world)), ReasonCode::ImportTokenExpired);
    assert_eq!(stored(&world).remaining_retrievals, 0);
    let elsewhere = block_on(import_tokens::fetch(&world.gateway, &cx(SECOND)));
    assert_eq!(code(elsewhere), ReasonCode::ImportTokenNotFound, "tokens are their instance's");
}

#[test]
fn a_token_is_void_from_its_expiration_on() {
    let world = World::new();
    make(&world, Some(300), Some(500)).unwrap();
    world.clock.travel(Duration::from_millis(299_999));
    assert!(fetch(&world).is_ok());
    world.clock.travel(Duration::from_millis(1));
    assert_eq!(code(fetch(&world)), ReasonCode::ImportTokenExpired);
    assert_eq!(stored(&world).remaining_retrievals, 499, "a fetch that was refused does not count");
}

#[test]
fn what_a_token_is_asked_to_be_has_bounds_and_all_that_is_wrong_is_told() {
    let world = World::new();
    for (expiration, retrievals) in [(300, 1), (86_400, 500)] {
        assert!(make(&world, Some(expiration), Some(retrievals)).is_ok());
    }
    let before = stored(&world);
    for bad in [0, 299, 86_401, u64::MAX] {
        assert_eq!(code(make(&world, Some(bad), None)), ReasonCode::InvalidField, "{bad}");
    }
    for bad in [0, 501, 65_536 + 1, u64::MAX] {
        assert_eq!(code(make(&world, None, Some(bad))), ReasonCode::InvalidField, "{bad}");
    }
    let Err(Error::Refused(reasons)) = make(&world, Some(1), Some(0)) else { panic!("not refused") };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(stored(&world), before, "a request that was refused leaves the token before it alone");
    assert_eq!(world.backend.destroyed(), 1, "of the two that were made, the first");
}

#[test]
fn a_new_token_takes_the_place_of_the_old_and_destroys_its_key() {
    let world = World::new();
    let old = make(&world, None, Some(5)).unwrap();
    fetch(&world).unwrap();
    let new = make(&world, None, Some(7)).unwrap();
    assert_eq!(world.backend.destroyed(), 1);
    assert_eq!(new.revision, old.revision + 2);
    assert_ne!((&old.nonce, &old.pair, &old.public_key), (&new.nonce, &new.pair, &new.public_key));
    assert_eq!(fetch(&world).unwrap().remaining_retrievals, 6);
}

#[test]
fn pairs_are_made_ahead_and_each_is_used_once() {
    let mut world = World::new();
    world.gateway.limits.import_keys_ready = 2;
    let fill = |world: &World| block_on(import_tokens::fill(&world.gateway, "fake"));
    assert!(fill(&world).unwrap() && fill(&world).unwrap());
    assert!(!fill(&world).unwrap(), "there are two");
    world.backend.fail_with(Some(BackendError::Busy(None)));
    let (first, second) = (make(&world, None, None).unwrap(), make(&world, None, None).unwrap());
    assert_ne!(first.pair, second.pair);
    assert!(matches!(make(&world, None, None), Err(Error::Busy { .. })), "none is ready, and none can be made");
    assert_eq!(stored(&world), second);
    assert!(fill(&world).is_err());
    world.backend.fail_with(None);
    assert!(fill(&world).unwrap());
    assert!(block_on(import_tokens::fill(&world.gateway, "no-such-backend")).is_err());
}

#[test]
fn a_backend_without_import_tokens_says_so_and_is_not_asked_to_make_pairs() {
    let world = World::new();
    world.backend.fail_with(Some(BackendError::Unsupported("import tokens".to_owned())));
    assert_eq!(code(make(&world, None, None)), ReasonCode::NotSupported);
    assert!(!block_on(import_tokens::fill(&world.gateway, "fake")).unwrap());
}

#[test]
fn a_token_of_the_backend_before_is_as_good_as_none() {
    let mut world = World::new();
    make(&world, None, Some(9)).unwrap();
    let instance = (*world.gateway.instances.get(FIRST).unwrap()).clone();
    let moved = Instance { backend: "other".to_owned(), ..instance };
    world.gateway.instances = [moved].into_iter().collect();
    assert_eq!(code(fetch(&world)), ReasonCode::ImportTokenExpired);
    let both = FakeBackends::new(vec![world.backend.clone(), Arc::new(FakeBackend::new("other"))]);
    world.gateway.backends = Arc::new(both);
    assert_eq!(make(&world, None, None).unwrap().private_key.backend, "other");
    assert_eq!(world.backend.destroyed(), 1, "the old one's key is destroyed where it is");
    assert!(fetch(&world).is_ok());
}

#[test]
fn fetches_at_the_same_time_all_count() {
    let world = World::new();
    make(&world, None, Some(100)).unwrap();
    let fetched = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    match fetch(&world) {
                        Ok(token) => fetched.lock().unwrap().push(token.remaining_retrievals),
                        Err(error) => assert_eq!(error.reason_code(), Some(ReasonCode::ImportTokenExpired)),
                    }
                }
            });
        }
    });
    let mut fetched = fetched.into_inner().unwrap();
    fetched.sort_unstable();
    assert_eq!(fetched, (0..100).collect::<Vec<u16>>());
}

#[test]
fn of_tokens_made_at_the_same_time_one_is_left_and_one_key() {
    let world = World::new();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Err(error) = make(&world, None, None) {
                    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
                    std::thread::yield_now();
                }
            });
        }
    });
    assert_eq!((stored(&world).revision, world.backend.destroyed()), (6, 5));
}

#[test]
fn a_backend_makes_one_pair_at_a_time_and_who_comes_meanwhile_comes_again() {
    let world = World::new();
    let pairs = &world.gateway.import_keys;
    let making = pairs.make("fake").unwrap();
    assert!(pairs.make("fake").is_none() && pairs.make("other").is_some(), "each backend is by itself");
    let Err(Error::Busy { retry_after }) = make(&world, None, None) else { panic!("two at once") };
    assert_eq!(retry_after, Duration::from_secs(5));
    assert!(!block_on(import_tokens::fill(&world.gateway, "fake")).unwrap());
    assert_eq!(pairs.count("fake"), 0);
    drop(making);
    assert!(block_on(import_tokens::fill(&world.gateway, "fake")).unwrap());
    let making = pairs.make("fake").unwrap();
    assert!(make(&world, None, None).is_ok(), "there is one ready");
    assert!(matches!(make(&world, None, None), Err(Error::Busy { .. })));
    drop(making);
    assert!(make(&world, None, None).is_ok());
}

#[test]
fn pairs_are_thrown_away_all_at_once_and_those_that_are_being_made_then_too() {
    let world = World::new();
    let pairs = &world.gateway.import_keys;
    assert!(block_on(import_tokens::fill(&world.gateway, "fake")).unwrap());
    let pair = pairs.take("fake").unwrap();
    let making = pairs.make("fake").unwrap();
    assert!(making.put(pair.clone()) && pairs.count("fake") == 1);
    pairs.clear();
    assert_eq!(pairs.count("fake"), 0);
    assert!(!making.put(pair.clone()), "it was begun before");
    assert_eq!(pairs.count("fake"), 0);
    drop(making);
    assert!(pairs.make("fake").unwrap().put(pair), "it was begun after");
}

#[test]
fn the_rules_are_told_of_no_ring_because_the_token_is_the_whole_instances() {
    /// Lets in what names no ring.
    struct NoRing;
    impl PolicyGate for NoRing {
        fn decide<'a>(&'a self, question: &'a Question, _: Option<Duration>) -> BoxFuture<'a, Decision> {
            assert_eq!(question.target.key_ring, None);
            Box::pin(std::future::ready(Decision {
                verdict: Verdict::Allow(Vec::new()),
                generation: 0,
                trail: Vec::new(),
            }))
        }
    }
    let gateway = Gateway { gate: Arc::new(NoRing), ..World::new().twin() };
    let cx = in_ring("default");
    assert!(block_on(import_tokens::create(&gateway, &cx, Ok(NewToken::default()))).is_ok());
    assert!(block_on(import_tokens::fetch(&gateway, &cx)).is_ok());
}

#[test]
fn a_token_that_is_shown_shows_neither_nonce_nor_keys() {
    let world = World::new();
    let token = ImportToken { nonce: vec![222; 12], public_key: vec![223; 4], ..make(&world, None, None).unwrap() };
    let shown = format!("{token:?}");
    assert!(shown.contains("max_retrievals: 1") && shown.contains("\"fake\""), "{shown}");
    assert!(!shown.contains("222") && !shown.contains("223"), "{shown}");
}

/// What a client makes of 32 bytes of material and a token.
fn sealed(token: &ImportToken, nonce: &[u8]) -> CreateKey {
    let (material, iv) = ([0x5A; 32], vec![9; 12]);
    let sealed = SealedMaterial {
        algorithm: "RSAES_OAEP_SHA_256".to_owned(),
        encrypted_key: FakeBackend::encrypt_key(&token.public_key, &material),
        encrypted_nonce: FakeBackend::encrypt_nonce(&material, &iv, nonce),
        iv,
    };
    CreateKey { payload: Some(Material::UnderToken(sealed)), ..root("imported") }
}

#[test]
fn material_comes_under_a_token_until_that_expires_however_often_it_was_fetched() {
    let world = World::new();
    make(&world, Some(600), None).unwrap();
    let token = fetch(&world).unwrap();
    assert_eq!(token.remaining_retrievals, 0);
    for _ in 0..3 {
        let key = world.create(sealed(&token, &token.nonce)).unwrap().key;
        assert!(key.imported);
        assert_eq!(key.bits, 256);
        assert!(world.wrap(&key, b"data key", &[]).is_ok());
    }
    let facts = [
        ("import-token", "true"),
        ("new-key.imported", "true"),
        ("new-key.kind", "root"),
        ("new-key.returned", "false"),
    ];
    world.create(sealed(&token, &token.nonce)).unwrap();
    assert_eq!(world.gate.facts(), facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    world.clock.travel(Duration::from_secs(600));
    assert_eq!(code(world.create(sealed(&token, &token.nonce))), ReasonCode::ImportTokenExpired);
}

#[test]
fn material_under_another_token_or_nonce_is_refused() {
    let world = World::new();
    let lost = make(&world, None, None).unwrap();
    let elsewhere = block_on(create::create(&world.gateway, &cx(SECOND), false, Ok(sealed(&lost, &lost.nonce))));
    assert_eq!(code(elsewhere), ReasonCode::ImportTokenNotFound);
    let token = make(&world, None, None).unwrap();
    assert_eq!(code(world.create(sealed(&lost, &lost.nonce))), ReasonCode::IncorrectNonceIv);
    assert_eq!(code(world.create(sealed(&token, &lost.nonce))), ReasonCode::IncorrectNonce);
    assert!(world.create(sealed(&token, &token.nonce)).is_ok());
}
