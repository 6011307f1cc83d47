//! The exports of a component, called as the bindings call them.

use super::*;

/// A backend whose answers show what it was asked.
struct Echo {
    prefix: String,
}

impl Backend for Echo {
    fn configure(settings: &str) -> core::result::Result<Self, SettingsError> {
        if settings.is_empty() {
            return Err(SettingsError::new("prefix", "expected a text"));
        }
        Ok(Self { prefix: settings.to_owned() })
    }

    fn describe(&self) -> Description {
        Description {
            name: self.prefix.clone(),
            version: "1".into(),
            algorithms: vec![],
            max_plaintext: 4_096,
            max_material: 32,
            features: vec![],
        }
    }

    fn probe(&self, _: &Call) -> Result<()> {
        Err(Error::Unavailable("\u{20ac}".repeat(1_000)))
    }

    fn generate_key(&self, _: &Call, identity: &KeyIdentity, _: &KeySpec) -> Result<KeyRef> {
        Ok(identity.key_id.clone().into_bytes())
    }

    fn import_key(&self, _: &Call, _: &KeyIdentity, _: &KeySpec, material: &[u8]) -> Result<KeyRef> {
        Ok(material.to_vec())
    }

    fn export_key(&self, _: &Call, key: &Key) -> Result<SecretBytes> {
        Ok(SecretBytes::new(key.reference.clone()))
    }

    fn wrap(&self, _: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        Ok([&key.reference, plaintext, aad].concat())
    }

    fn generate_data_key(&self, _: &Call, _: &Key, len: u32, _: &[u8]) -> Result<DataKey> {
        Ok(DataKey { plaintext: SecretBytes::new(vec![7; len as usize]), wrapped: vec![8] })
    }

    fn unwrap(&self, _: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
        let rest = wrapped.strip_prefix(key.reference.as_slice()).and_then(|rest| rest.strip_suffix(aad));
        rest.map(|rest| SecretBytes::new(rest.to_vec())).ok_or(Error::AuthenticationFailed)
    }

    fn destroy_key(&self, _: &Call, _: &Key) -> Result<()> {
        Ok(())
    }

    fn reseal_key(&self, _: &Call, _: &Key) -> Result<Option<KeyRef>> {
        Ok(None)
    }

    fn random(&self, _: &Call, len: u32) -> Result<SecretBytes> {
        Ok(crate::host::random::bytes(len))
    }
}

/// A second type with a slot of its own, never configured.
struct Forgotten;

macro_rules! delegate_to_echo {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl Backend for Forgotten {
            fn configure(_: &str) -> core::result::Result<Self, SettingsError> { Ok(Self) }
            fn describe(&self) -> Description { Echo { prefix: "x".into() }.describe() }
            $(fn $name(&self, $($arg: $type),*) -> $out { Echo { prefix: "x".into() }.$name($($arg),*) })*
        }
    };
}

delegate_to_echo! {
    probe(call: &Call) -> Result<()>;
    generate_key(call: &Call, identity: &KeyIdentity, spec: &KeySpec) -> Result<KeyRef>;
    import_key(call: &Call, identity: &KeyIdentity, spec: &KeySpec, material: &[u8]) -> Result<KeyRef>;
    export_key(call: &Call, key: &Key) -> Result<SecretBytes>;
    wrap(call: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>>;
    generate_data_key(call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey>;
    unwrap(call: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes>;
    destroy_key(call: &Call, key: &Key) -> Result<()>;
    reseal_key(call: &Call, key: &Key) -> Result<Option<KeyRef>>;
    random(call: &Call, len: u32) -> Result<SecretBytes>;
}

impl Exported for Echo {
    fn slot() -> &'static Slot<Self> {
        static SLOT: Slot<Echo> = Slot::new();
        &SLOT
    }
}

impl Exported for Forgotten {
    fn slot() -> &'static Slot<Self> {
        static SLOT: Slot<Forgotten> = Slot::new();
        &SLOT
    }
}

type Exports = Component<Echo>;

fn call() -> Call {
    Call { request_id: "r".into(), deadline_ms: 1_000 }
}

fn identity() -> KeyIdentity {
    KeyIdentity { instance_id: "i".into(), key_id: "k".into(), version_id: "v".into() }
}

fn key(reference: &[u8]) -> Key {
    Key { identity: identity(), reference: reference.to_vec() }
}

#[test]
fn exports_reach_the_configured_plugin() {
    let refused = Exports::configure(String::new()).unwrap_err();
    assert_eq!((refused.path.as_str(), refused.message.as_str()), ("prefix", "expected a text"));
    Exports::configure("echo".into()).unwrap();
    assert!(Exports::configure("again".into()).is_err());

    assert_eq!(Exports::describe().name, "echo");
    let spec = KeySpec { algorithm: "AES".into(), bits: 256, kind: KeyKind::Root };
    assert_eq!(Exports::generate_key(call(), identity(), spec.clone()).unwrap(), b"k");
    assert_eq!(Exports::import_key(call(), identity(), spec.clone(), vec![1, 2]).unwrap(), [1, 2]);
    assert_eq!(Exports::export_key(call(), key(b"ref")).unwrap(), b"ref");
    assert_eq!(Exports::wrap(call(), key(b"ref"), b"p".to_vec(), b"a".to_vec()).unwrap(), b"refpa");
    assert_eq!(Exports::unwrap(call(), key(b"ref"), b"refpa".to_vec(), b"a".to_vec()).unwrap(), b"p");
    let moved = Exports::rewrap(call(), key(b"ref"), key(b"new"), b"refpa".to_vec(), b"a".to_vec(), b"b".to_vec());
    assert_eq!(moved.unwrap(), b"newpb", "rewrap is unwrap and wrap, in one call");
    let made = Exports::generate_data_key(call(), key(b"ref"), 16, vec![]).unwrap();
    assert_eq!((made.plaintext, made.wrapped), (vec![7; 16], vec![8]));
    assert_eq!(Exports::random(call(), 5).unwrap().len(), 5);
    Exports::destroy_key(call(), key(b"ref")).unwrap();

    let Err(Error::Unavailable(text)) = Exports::probe(call()) else { panic!("not the backend's own error") };
    assert_eq!(text.len(), 1_023, "cut at a character, within the 1,024 bytes of the contract");
}

#[test]
fn what_is_not_written_is_unsupported() {
    let echo = Echo { prefix: String::new() };
    let is_unsupported = |error: Error| matches!(error, Error::Unsupported(_));
    let spec = KeySpec { algorithm: "AES".into(), bits: 256, kind: KeyKind::Root };
    let envelope = ImportEnvelope {
        algorithm: "RSAES_OAEP_SHA_256".into(),
        encrypted_key: vec![],
        encrypted_nonce: vec![],
        iv: vec![],
        expected_nonce: vec![],
    };
    assert!(echo.create_import_key(&call(), &identity(), "RSA-4096").is_err_and(is_unsupported));
    assert!(echo.open_import(&call(), &key(b"r"), &identity(), &spec, &envelope).is_err_and(is_unsupported));
    assert!(echo.create_transport_key(&call(), &identity()).is_err_and(is_unsupported));
    assert!(echo.seal_for_transport(&call(), &key(b"r"), &[]).is_err_and(is_unsupported));
    assert!(echo.open_transport(&call(), &key(b"r"), &identity(), &spec, &[]).is_err_and(is_unsupported));
}

#[test]
fn nothing_works_before_configure() {
    let wrapped = Component::<Forgotten>::wrap(call(), key(b"ref"), vec![], vec![]);
    assert!(matches!(wrapped, Err(Error::Internal(text)) if text.contains("configure")));
}

#[test]
#[should_panic(expected = "must call `configure` first")]
fn describe_before_configure_says_why_it_traps() {
    Component::<Forgotten>::describe();
}
