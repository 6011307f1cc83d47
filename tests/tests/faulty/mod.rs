//! A gateway on SoftHSM behind the module that fails as it is told.

pub mod clients;
pub mod seen;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use keygate_tests::Gateway;
use keygate_tests::configured::{Place, builtin, component, entry};
use keygate_tests::gateway::{Client, reply};
use keygate_tests::softhsm::{SETTINGS, SoftHsm};
use serde_json::Value;

/// What is played on.
pub struct Scene {
    hsm: SoftHsm,
    place: Place,
    gateway: Option<Gateway>,
}

/// The module, which Cargo puts beside the tests.
fn module() -> PathBuf {
    let here = std::env::current_exe().expect("a test knows where it is");
    let module = here.with_file_name("libkeygate_pkcs11_faults.so");
    assert!(module.exists(), "{} is not there: `cargo build -p keygate-pkcs11-faults`", module.display());
    module
}

impl Scene {
    /// One with this way of keeping keys.
    pub async fn new(keep: &str) -> Self {
        let (hsm, place) = (SoftHsm::new(&["keygate"]), Place::new());
        let plugin = entry("softhsm", &component("softhsm.wasm"), "hsm-backend", "{ log = true, pkcs11 = [\"hsm\"] }");
        let settings = format!(
            "settings = {{ token = \"hsm\", keep = \"{keep}\", {SETTINGS} }}\nlimits = {{ deadline = \"5s\" }}\n"
        );
        // Patience that is short, so that the test is.
        let token =
            hsm.entry("keygate").replace(&SoftHsm::module().display().to_string(), &module().display().to_string());
        let patience = "sessions = 3\nhang = \"600ms\"\n\
                        breaker = { failures = 3, open_for = \"200ms\", open_at_most = \"3s\", slow = \"500ms\" }\n";
        let file =
            place.write(&[plugin, settings, builtin("access"), token, patience.to_owned()].concat(), r#"["access"]"#);
        let text = fs::read_to_string(&file).unwrap().replace("plugin = \"aes-gcm\"", "plugin = \"softhsm\"");
        fs::write(&file, text).unwrap();
        let mut scene = Self { hsm, place, gateway: None };
        scene.tell("");
        scene.start().await;
        scene
    }

    async fn start(&mut self) {
        let (conf, real, file) = (self.hsm.conf(), SoftHsm::module(), self.file());
        let environment = [
            ("SOFTHSM2_CONF", conf.to_str().unwrap()),
            ("KEYGATE_FAULTS_MODULE", real.to_str().unwrap()),
            ("KEYGATE_FAULTS_FILE", file.to_str().unwrap()),
            ("KEYGATE__LIMITS__IMPORT_KEYS_READY", "0"),
        ];
        let config = self.place.path().join("plugins.toml");
        self.gateway = Some(Gateway::start_configured_with(&config, &environment).await);
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("faults")
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    /// With SIGKILL, and with the same directory.
    pub async fn kill_and_start(&mut self) {
        self.gateway.take().expect("it runs").kill().await;
        self.start().await;
    }

    /// A Manager.
    pub async fn client(&self) -> Client {
        self.gateway().client_with(&self.place.api_key, 0).await
    }

    /// What the module is to do from now on. Whole or not at all, and never the same text twice, so that `times` begins
    /// anew.
    pub fn tell(&self, rules: &str) {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        let draft = self.place.path().join("faults.new");
        fs::write(&draft, format!("{rules}\n# {}\n", TOLD.fetch_add(1, Ordering::SeqCst))).unwrap();
        fs::rename(draft, self.file()).unwrap();
    }

    /// The status of `/readyz`, and what it says of the token.
    pub async fn ready(&self) -> (u16, Value) {
        let ready = reply(reqwest::Client::new().get(format!("{}/readyz", self.gateway().ready.url))).await;
        (ready.status, ready.body["tokens"][0].clone())
    }

    fn aside(&self) -> PathBuf {
        self.hsm.tokens().with_file_name("aside")
    }

    /// The token's files are gone.
    pub fn take_away(&self) {
        fs::rename(self.hsm.tokens(), self.aside()).unwrap();
        fs::create_dir(self.hsm.tokens()).unwrap();
    }

    /// And there again.
    pub fn bring_back(&self) {
        fs::remove_dir(self.hsm.tokens()).unwrap();
        fs::rename(self.aside(), self.hsm.tokens()).unwrap();
    }
}
