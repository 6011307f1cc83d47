//! The backend suite on every backend: the fake in the process, the software backend in its sandbox, and the toy that the
//! hostile guest is until it misbehaves.

use std::path::Path;
use std::sync::Arc;

use keygate::system::{OsEntropy, SystemClock};
use keygate_core::fakes::backend::FakeBackend;
use keygate_core::secret::SecretBytes;
use keygate_runtime::manifest::{BackendManifest, Manifest, PluginManifest};
use keygate_runtime::{HostServices, NoTokens, Runtime, RuntimeConfig, Secret, SecretError, SecretSource};
use keygate_tests::backends::{self, Client, standard_client};
use keygate_tests::configured::component;
use serde_json::json;

/// The KEK, and nothing else.
struct Kek;

impl SecretSource for Kek {
    fn current(&self, name: &str) -> Result<Secret, SecretError> {
        self.version(name, 1)
    }

    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError> {
        match (name, version) {
            ("kek", 1) => Ok(Secret { version, value: SecretBytes::new(vec![0x42; 32]) }),
            ("kek", _) => Err(SecretError::NoSuchVersion),
            _ => Err(SecretError::NotFound),
        }
    }

    fn exists(&self, name: &str) -> bool {
        name == "kek"
    }
}

async fn sandboxed(file: &str, grants: serde_json::Value) -> Runtime {
    let services = HostServices {
        secrets: Arc::new(Kek),
        tokens: Arc::new(NoTokens),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    };
    let runtime = Runtime::new(RuntimeConfig { max_sandboxes: 4, ..RuntimeConfig::default() }, services).unwrap();
    let entry = json!({"name": "plugin", "file": component(file), "world": "software-backend", "grants": grants});
    let manifest = Manifest {
        plugins: vec![PluginManifest::parse(&entry, Path::new("/")).unwrap()],
        backends: vec![BackendManifest { name: "backend".to_owned(), plugin: "plugin".to_owned() }],
        ..Manifest::default()
    };
    let generation = runtime.load(&manifest).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    runtime.activate(generation);
    runtime
}

#[tokio::test]
async fn the_fake_passes() {
    let backend = FakeBackend::new("fake");
    backends::run_all(&backend).await;
    let (encrypt_key, encrypt_nonce) = (FakeBackend::encrypt_key, FakeBackend::encrypt_nonce);
    backends::imports_under_a_token(&backend, Client { encrypt_key, encrypt_nonce }).await;
}

#[tokio::test]
async fn the_software_backend_passes() {
    let runtime = sandboxed("aes-gcm.wasm", json!({"log": true, "random": true, "secrets": ["kek"]})).await;
    let backend = runtime.backends().backend("backend").unwrap();
    backends::run_all(backend.as_ref()).await;
    backends::imports_under_a_token(backend.as_ref(), standard_client()).await;
}

#[tokio::test]
async fn the_toy_passes() {
    let runtime = sandboxed("test/hostile-backend.wasm", json!({"log": true, "random": true})).await;
    let backend = runtime.backends().backend("backend").unwrap();
    backends::describes_and_probes(backend.as_ref()).await;
    backends::wraps_and_unwraps_every_size(backend.as_ref()).await;
    backends::binds_aad_and_identity(backend.as_ref()).await;
    backends::rewraps_without_a_plaintext(backend.as_ref()).await;
}
