//! SoftHSM 2 for tests: a configuration and tokens of their own in a directory that goes with them.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The PIN of its tokens.
pub const PIN: &str = "geheim-4711";

/// Where distributions put the module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// Its settings of the plugin: SoftHSM 2.6.1 has no OAEP with SHA-256.
pub const SETTINGS: &str = r#"wrap = "aes-key-wrap-pad", import_keys = "sandbox""#;

/// A SoftHSM with tokens.
pub struct SoftHsm {
    directory: tempfile::TempDir,
}

impl SoftHsm {
    /// One with a token of each of these labels.
    pub fn new(labels: &[&str]) -> Self {
        let hsm = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::DirBuilder::new().mode(0o700).create(hsm.tokens()).expect("a directory for tokens");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", hsm.tokens().display());
        fs::write(hsm.conf(), text).expect("its configuration can be written");
        fs::write(hsm.pin(), format!("{PIN}\n")).expect("the PIN can be written");
        fs::set_permissions(hsm.pin(), fs::Permissions::from_mode(0o600)).expect("and made private");
        for label in labels {
            let made = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-geheim-4711"])
                .env("SOFTHSM2_CONF", hsm.conf())
                .output()
                .expect("softhsm2-util runs: `apt-get install softhsm2`");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        hsm
    }

    /// The module.
    pub fn module() -> PathBuf {
        let named = std::env::var_os("KEYGATE_TEST_SOFTHSM").map(PathBuf::from);
        let found = named.into_iter().chain(MODULES.map(PathBuf::from)).find(|path| path.exists());
        found.expect("SoftHSM 2 is installed: `apt-get install softhsm2` (or name its module in KEYGATE_TEST_SOFTHSM)")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where its tokens are.
    pub fn tokens(&self) -> PathBuf {
        self.path().join("tokens")
    }

    /// What `SOFTHSM2_CONF` has to be.
    pub fn conf(&self) -> PathBuf {
        self.path().join("softhsm2.conf")
    }

    /// A file with the PIN.
    pub fn pin(&self) -> PathBuf {
        self.path().join("pin")
    }

    /// From now on it is this process's. Call it before anything else happens in a test.
    // The environment is changed before the module is loaded, and nothing else in the tests of a process with a SoftHSM reads it
    // meanwhile.
    #[allow(unsafe_code)]
    pub fn enter(&self) {
        // SAFETY: see above.
        unsafe { std::env::set_var("SOFTHSM2_CONF", self.conf()) }
    }

    /// The entry of its token with this label under `[[tokens]]`, by the name `hsm`.
    pub fn entry(&self, label: &str) -> String {
        let (module, pin) = (Self::module(), self.pin());
        format!(
            "[[tokens]]\nname = \"hsm\"\nmodule = \"{}\"\nlabel = \"{label}\"\npin_file = \"{}\"\n",
            module.display(),
            pin.display()
        )
    }

    /// What `pkcs11-tool` lists of a token.
    pub fn list(&self, label: &str) -> String {
        let listed = self.tool(&["--token-label", label, "--login", "--pin", PIN, "--list-objects"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8(listed.stdout).expect("a text")
    }

    /// Runs `pkcs11-tool` on the module.
    pub fn tool(&self, arguments: &[&str]) -> Output {
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(Self::module()).args(arguments).env("SOFTHSM2_CONF", self.conf());
        tool.output().expect("pkcs11-tool runs: `apt-get install opensc`")
    }
}
