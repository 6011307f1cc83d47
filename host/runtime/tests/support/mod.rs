//! What the tests of this crate have in common: services that are the same each time, and manifests in short.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keygate_core::backend::{Algorithm, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::ports::{Clock, Entropy, EntropyError};
use keygate_core::secret::SecretBytes;
use keygate_runtime::manifest::{BackendManifest, ChainEntry, Manifest, PluginManifest};
use keygate_runtime::{HostServices, LoadError, Runtime, RuntimeConfig, Secret, SecretError, SecretSource};
use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

/// Secrets in memory, by name and version.
pub struct Secrets(pub BTreeMap<String, Vec<[u8; 32]>>);

impl SecretSource for Secrets {
    fn current(&self, name: &str) -> Result<Secret, SecretError> {
        let versions = self.0.get(name).ok_or(SecretError::NotFound)?;
        self.version(name, u32::try_from(versions.len()).unwrap())
    }

    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError> {
        let versions = self.0.get(name).ok_or(SecretError::NotFound)?;
        let value = versions.get((version as usize).wrapping_sub(1)).ok_or(SecretError::NoSuchVersion)?;
        Ok(Secret { version, value: SecretBytes::new(value.to_vec()) })
    }

    fn exists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Bytes that are never the same twice, and the same in every run.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A clock that stands still.
pub struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }
}

/// Services with the KEK `kek`.
pub fn services() -> HostServices {
    HostServices {
        tokens: Arc::new(keygate_runtime::NoTokens),
        secrets: Arc::new(Secrets(BTreeMap::from([("kek".to_owned(), vec![[0x42; 32]])]))),
        entropy: Arc::new(Counting::default()),
        clock: Arc::new(Stopped),
    }
}

/// A runtime with few sandboxes and no cache.
pub fn runtime() -> Runtime {
    runtime_with(RuntimeConfig { max_sandboxes: 16, ..RuntimeConfig::default() })
}

/// A runtime with these settings.
pub fn runtime_with(config: RuntimeConfig) -> Runtime {
    Runtime::new(config, services()).unwrap()
}

/// The component of a plugin of this repository.
pub fn built(name: &str) -> PathBuf {
    // Beside the profile's directory that this test was built into: target/debug/deps/TEST -> target/plugins.
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let path = target.join("plugins").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not there: run `cargo xtask plugins` first", path.display());
    path
}

/// An entry.
pub fn plugin(entry: &Value) -> PluginManifest {
    PluginManifest::parse(entry, Path::new("/")).unwrap()
}

/// The entry of the software backend.
pub fn aes_gcm() -> Value {
    json!({
        "name": "aes-gcm", "file": built("aes-gcm"), "world": "software-backend",
        "grants": { "log": true, "random": true, "secrets": ["kek"] },
    })
}

/// A manifest of these plugins. Each is also a backend of its own name, or a rule of the chain.
pub fn manifest(entries: &[Value]) -> Manifest {
    let plugins: Vec<_> = entries.iter().map(plugin).collect();
    let mut manifest = Manifest::default();
    for plugin in &plugins {
        if plugin.world.is_backend() {
            manifest.backends.push(BackendManifest { name: plugin.name.clone(), plugin: plugin.name.clone() });
        } else {
            manifest.policy.chain.push(ChainEntry::everywhere(&plugin.name));
        }
    }
    manifest.plugins = plugins;
    manifest
}

/// Loads these plugins and makes them live.
pub async fn load(runtime: &Runtime, entries: &[Value]) {
    let generation = runtime.load(&manifest(entries)).await.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    runtime.activate(generation);
}

/// What is wrong with a manifest, a line each.
pub async fn refused(runtime: &Runtime, manifest: &Manifest) -> String {
    match runtime.load(manifest).await {
        Ok(_) => panic!("it was loaded"),
        Err(errors) => lines(&errors),
    }
}

/// Errors, a line each.
pub fn lines(errors: &[LoadError]) -> String {
    errors.iter().map(|e| format!("{e}\n")).collect()
}

/// The backend of this name.
pub fn backend(runtime: &Runtime, name: &str) -> Arc<dyn CryptoBackend> {
    runtime.backends().backend(name).unwrap_or_else(|| panic!("no backend {name}"))
}

/// The circumstances of a call.
pub const CALL: Call<'static> = Call { request_id: "test", timeout: None };

/// A root key of 256 bits.
pub const ROOT: KeySpec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
/// A standard key of 256 bits.
pub const STANDARD: KeySpec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Standard };

/// One of several key versions.
pub fn identity(n: u8) -> KeyIdentity {
    KeyIdentity {
        instance: InstanceId::from_bytes([1; 16]),
        key: KeyId::from_bytes([n; 16]),
        version: VersionId::from_bytes([n; 16]),
    }
}

/// A key as a call names it.
pub fn key(identity: KeyIdentity, reference: &[u8]) -> BackendKey<'_> {
    BackendKey { identity, reference }
}

/// Secret bytes.
pub fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

/// A component that does nothing, for the world `guest` of a text that may use the packages of `wit/`.
pub fn component(dir: &Path, text: &str) -> PathBuf {
    encoded(dir, packages(), text)
}

/// The packages of `wit/`.
fn packages() -> Resolve {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    for package in ["host", "crypto", "policy"] {
        resolve.push_path(wit.join(package)).unwrap();
    }
    resolve
}

/// The same, of a text that stands alone.
pub fn component_of_its_own(dir: &Path, text: &str) -> PathBuf {
    encoded(dir, Resolve::default(), text)
}

/// A rule that says that it is called `told` and has something to say to these actions. It takes any settings.
pub fn rule_for(dir: &Path, actions: &[&str]) -> PathBuf {
    // `describe` answers with what lies at 64: the addresses and lengths of name, version and list.
    let mut texts = String::from("told1");
    let mut list = Vec::new();
    for action in actions {
        list.extend([4_096 + texts.len(), action.len()]);
        texts.push_str(action);
    }
    let record = [4_096, 4, 4_100, 1, 1_024, actions.len()];
    let words = |words: &[usize]| {
        words
            .iter()
            .flat_map(|n| u32::try_from(*n).unwrap().to_le_bytes())
            .map(|b| format!("\\{b:02x}"))
            .collect::<String>()
    };
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 16384))
            (data (i32.const 64) "{record}") (data (i32.const 1024) "{list}") (data (i32.const 4096) "{texts}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (local.get 3))))
            (func (export "keygate:policy/rule@0.1.0#describe") (result i32) (i32.const 64))
            (func (export "keygate:policy/rule@0.1.0#configure") (param i32 i32) (result i32) (i32.const 128))
            (func (export "keygate:policy/rule@0.1.0#evaluate") (param i32) (result i32) unreachable))"#,
        record = words(&record),
        list = words(&list),
    );
    let mut resolve = packages();
    let world = world(&mut resolve, "package test:guest; world guest { export keygate:policy/rule@0.1.0; }");
    made(dir, &resolve, world, wat::parse_str(&module).unwrap())
}

fn encoded(dir: &Path, mut resolve: Resolve, text: &str) -> PathBuf {
    let world = world(&mut resolve, text);
    let module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    made(dir, &resolve, world, module)
}

fn world(resolve: &mut Resolve, text: &str) -> WorldId {
    let package = resolve.push_str("test.wit", text).unwrap();
    resolve.select_world(&[package], Some("guest")).unwrap()
}

fn made(dir: &Path, resolve: &Resolve, world: WorldId, mut module: Vec<u8>) -> PathBuf {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, true).unwrap();
    let path = dir.join("x.wasm");
    std::fs::write(&path, ComponentEncoder::default().module(&module).unwrap().encode().unwrap()).unwrap();
    path
}
