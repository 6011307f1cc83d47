//! The suite that every pair of backends passes between which keys move: `create-transport-key`, `seal-for-transport` and
//! `open-transport` of `keygate:crypto/backend`, as a migration uses them.

use keygate_core::backend::{
    Algorithm, BackendError, BackendKey, BackendResult, Call, CryptoBackend, KeyIdentity, KeyPair, KeySpec,
};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::secret::SecretBytes;

const CALL: Call<'static> = Call { request_id: "suite", timeout: None };
const AAD: &[u8] = b"additional data";

/// One side of a move.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The backend.
    pub backend: &'a dyn CryptoBackend,
    /// Whether root keys leave it: not those that are objects in a token.
    pub sends: bool,
    /// Whether it takes standard keys by transport. Where it does not, they are exported and imported.
    pub takes_standard: bool,
}

impl<'a> Side<'a> {
    /// One that does everything.
    pub fn of(backend: &'a dyn CryptoBackend) -> Self {
        Self { backend, sends: true, takes_standard: true }
    }

    fn real(&self) -> bool {
        self.backend.description().name != "fake"
    }

    async fn transport_key(&self, n: u8) -> KeyPair {
        assert!(self.backend.description().features.iter().any(|feature| feature == "transport"));
        self.backend.create_transport_key(CALL, identity(n)).await.expect("a transport key")
    }

    /// Opens what was sealed to the transport key that is number `opener`.
    async fn open(
        &self,
        (opener, pair): (u8, &KeyPair),
        n: u8,
        spec: KeySpec,
        sealed: &[u8],
    ) -> BackendResult<Vec<u8>> {
        self.backend.open_transport(CALL, key(opener, &pair.private), identity(n), spec, sealed).await
    }

    async fn wrap(&self, key: BackendKey<'_>, text: &[u8]) -> Vec<u8> {
        self.backend.wrap(CALL, key, &SecretBytes::new(text.to_vec()), AAD).await.expect("wraps")
    }

    async fn unwraps(&self, key: BackendKey<'_>, wrapped: &[u8], text: &[u8]) {
        let opened = self.backend.unwrap(CALL, key, wrapped, AAD).await.expect("unwraps");
        assert_eq!(opened.expose(), text);
    }

    async fn keeps(&self, key: BackendKey<'_>) {
        let kept = self.backend.export_key(CALL, key).await;
        assert!(matches!(kept, Err(BackendError::Unsupported(_))), "{kept:?}");
    }
}

fn identity(n: u8) -> KeyIdentity {
    KeyIdentity {
        instance: InstanceId::from_bytes([0xA0; 16]),
        key: KeyId::from_bytes([n; 16]),
        version: VersionId::from_bytes([n; 16]),
    }
}

fn key(n: u8, reference: &[u8]) -> BackendKey<'_> {
    BackendKey { identity: identity(n), reference }
}

fn spec(bits: u32, kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: Algorithm::Aes, bits, kind }
}

/// Runs every case, both ways.
pub async fn keys_between(a: Side<'_>, b: Side<'_>) {
    // Two pairs are all that is needed, and they take their time.
    let (to_a, to_b) = (a.transport_key(0xA).await, b.transport_key(0xB).await);
    let (to_a, to_b) = ((0xA, &to_a), (0xB, &to_b));
    for (from, to, there, back) in [(a, b, to_b, to_a), (b, a, to_a, to_b)] {
        roots_move_and_come_back(from, to, there, back).await;
        standard_keys_move(from, to, there).await;
        what_is_not_for_it_is_refused(from, to, there, back).await;
    }
    for (side, (n, pair)) in [(a, to_a), (b, to_b)] {
        side.backend.destroy_key(CALL, key(n, &pair.private)).await.expect("gone");
    }
}

/// What was wrapped before a move opens after it, at home and abroad, for keys of every size, made and imported.
async fn roots_move_and_come_back(from: Side<'_>, to: Side<'_>, there: (u8, &KeyPair), back: (u8, &KeyPair)) {
    for (at, bits) in [128, 192, 256].into_iter().enumerate() {
        for imported in [false, true] {
            // Names of their own: a token keeps what it has under a name.
            let n = 0x20 + at as u8 * 2 + u8::from(imported);
            let root = spec(bits, KeyKind::Root);
            let reference = if imported {
                let material = SecretBytes::new(vec![n; bits as usize / 8]);
                from.backend.import_key(CALL, identity(n), root, &material).await
            } else {
                from.backend.generate_key(CALL, identity(n), root).await
            };
            let reference = reference.expect("a root key");
            let at_home = key(n, &reference);
            let before = from.wrap(at_home, b"before the move").await;
            let sealed = from.backend.seal_for_transport(CALL, at_home, &there.1.public).await;
            if !from.sends {
                assert!(matches!(sealed, Err(BackendError::Unsupported(_))), "it leaves all the same: {sealed:?}");
                from.backend.destroy_key(CALL, at_home).await.expect("gone");
                continue;
            }
            let sealed = sealed.expect("seals");
            assert!(sealed.len() <= 1_024);
            let arrived = to.open(there, n, root, &sealed).await.expect("opens");
            let abroad = key(n, &arrived);
            to.unwraps(abroad, &before, b"before the move").await;
            to.keeps(abroad).await;
            let away = to.wrap(abroad, b"while it was away").await;
            to.unwraps(abroad, &away, b"while it was away").await;
            // An answer may get lost: the same again is the same key.
            let again = to.open(there, n, root, &sealed).await.expect("opens");
            to.unwraps(key(n, &again), &away, b"while it was away").await;
            // The one at home is not there any more when it comes back.
            from.backend.destroy_key(CALL, at_home).await.expect("gone");
            let returning = to.backend.seal_for_transport(CALL, abroad, &back.1.public).await;
            if to.sends {
                let returned = from.open(back, n, root, &returning.expect("seals")).await.expect("opens");
                let returned = key(n, &returned);
                from.unwraps(returned, &before, b"before the move").await;
                from.unwraps(returned, &away, b"while it was away").await;
                from.keeps(returned).await;
                let moved = from.backend.rewrap(CALL, returned, returned, &away, AAD, AAD).await.expect("rewraps");
                from.unwraps(returned, &moved, b"while it was away").await;
                from.backend.destroy_key(CALL, returned).await.expect("gone");
            } else {
                assert!(
                    matches!(returning, Err(BackendError::Unsupported(_))),
                    "it leaves all the same: {returning:?}"
                );
            }
            to.backend.destroy_key(CALL, abroad).await.expect("gone");
        }
    }
}

/// AES standard keys go sealed where they may, and in clear, as their owners read them, everywhere.
async fn standard_keys_move(from: Side<'_>, to: Side<'_>, there: (u8, &KeyPair)) {
    for bits in [128, 192, 256] {
        let standard = spec(bits, KeyKind::Standard);
        let reference = from.backend.generate_key(CALL, identity(0x30), standard).await.expect("a standard key");
        let material = from.backend.export_key(CALL, key(0x30, &reference)).await.expect("exports");
        let sealed =
            from.backend.seal_for_transport(CALL, key(0x30, &reference), &there.1.public).await.expect("seals");
        let arrived = to.open(there, 0x30, standard, &sealed).await;
        let arrived = if to.takes_standard {
            arrived.expect("opens")
        } else {
            assert!(matches!(arrived, Err(BackendError::Unsupported(_))), "{arrived:?}");
            to.backend.import_key(CALL, identity(0x30), standard, &material).await.expect("imports")
        };
        let back = to.backend.export_key(CALL, key(0x30, &arrived)).await.expect("exports");
        assert_eq!(back.expose(), material.expose());
    }
    // What is no AES key does not go sealed.
    let secret = KeySpec { algorithm: Algorithm::Secret, bits: 64, kind: KeyKind::Standard };
    let text = SecretBytes::new(b"a secret".to_vec());
    let reference = from.backend.import_key(CALL, identity(0x31), secret, &text).await.expect("imports");
    if from.real() {
        let sealed = from.backend.seal_for_transport(CALL, key(0x31, &reference), &there.1.public).await;
        assert!(matches!(sealed, Err(BackendError::Unsupported(_))), "{sealed:?}");
    }
}

/// Another recipient, another identity, another size, another kind of key, and what is damaged.
async fn what_is_not_for_it_is_refused(from: Side<'_>, to: Side<'_>, there: (u8, &KeyPair), back: (u8, &KeyPair)) {
    let root = spec(256, KeyKind::Root);
    let made = from.backend.generate_key(CALL, identity(0x40), root).await.expect("a root key");
    let made = key(0x40, &made);
    for wrong in [BackendKey { identity: identity(0x41), ..made }, key(back.0, &back.1.private)] {
        if from.real() || wrong.identity == identity(0x41) {
            let sealed = from.backend.seal_for_transport(CALL, wrong, &there.1.public).await;
            assert!(matches!(sealed, Err(BackendError::InvalidKeyRef { .. })), "{sealed:?}");
        }
    }
    if from.sends {
        if from.real() {
            for nobody in [&b""[..], b"nobody", &there.1.public[1..]] {
                let sealed = from.backend.seal_for_transport(CALL, made, nobody).await;
                assert!(matches!(sealed, Err(BackendError::InvalidInput(_))), "{sealed:?}");
            }
        }
        let wrapped = from.wrap(made, b"its own").await;
        let sealed = from.backend.seal_for_transport(CALL, made, &there.1.public).await.expect("seals");
        let elsewhere = from.backend.seal_for_transport(CALL, made, &back.1.public).await.expect("seals");
        let refused = to.open(there, 0x40, root, &elsewhere).await;
        assert_eq!(refused, Err(BackendError::AuthenticationFailed), "sealed to another transport key");
        let mut damaged = vec![elsewhere, sealed[..10].to_vec(), Vec::new()];
        for at in [2, sealed.len() - 1].into_iter().take(if to.real() { 2 } else { 1 }) {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x80;
            damaged.push(flipped);
        }
        for (n, bytes) in damaged.iter().enumerate() {
            let refused = to.open(there, 0x40, root, bytes).await;
            assert_eq!(refused, Err(BackendError::AuthenticationFailed), "damage number {n}");
        }
        let small = to.open(there, 0x40, spec(128, KeyKind::Root), &sealed).await;
        assert!(matches!(small, Err(BackendError::InvalidInput(_))), "{small:?}");
        let stranger = to.open((0x41, there.1), 0x40, root, &sealed).await;
        assert!(matches!(stranger, Err(BackendError::InvalidKeyRef { .. })), "{stranger:?}");
        // It becomes the key version that it is told, and opens nothing of another.
        let other = to.open(there, 0x42, root, &sealed).await.expect("opens");
        let refused = to.backend.unwrap(CALL, key(0x42, &other), &wrapped, AAD).await;
        assert_eq!(refused.err(), Some(BackendError::AuthenticationFailed));
        let stolen = to.backend.unwrap(CALL, key(0x40, &other), &wrapped, AAD).await;
        assert!(matches!(stolen, Err(BackendError::InvalidKeyRef { .. })), "{stolen:?}");
        // A root key is no transport key, nor the other way round.
        let pair = KeyPair { private: other.clone(), public: Vec::new() };
        let opened = to.open((0x42, &pair), 0x43, root, &sealed).await;
        assert!(matches!(opened, Err(BackendError::InvalidKeyRef { .. })), "{opened:?}");
        to.backend.destroy_key(CALL, key(0x42, &other)).await.expect("gone");
    }
    let wrapped = to.backend.wrap(CALL, key(there.0, &there.1.private), &SecretBytes::new(vec![1]), AAD).await;
    assert!(matches!(wrapped, Err(BackendError::InvalidKeyRef { .. })), "{wrapped:?}");
    let given = to.backend.export_key(CALL, key(there.0, &there.1.private)).await;
    assert!(matches!(given, Err(BackendError::InvalidKeyRef { .. })), "{given:?}");
    from.backend.destroy_key(CALL, made).await.expect("gone");
}
