//! NSS softokn, a PKCS#11 module that is not SoftHSM, with a database of its own in a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The PIN of its token.
pub const PIN: &str = "geheim-4711";

/// The label that it gives to the token of a database.
pub const LABEL: &str = "NSS Certificate DB";

/// Where distributions put the module.
const MODULES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
    "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
    "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
    "/usr/lib64/libsoftokn3.so",
    "/opt/homebrew/lib/libsoftokn3.dylib",
];

/// Its settings of the plugin: it pads as RFC 5649 says with CKM_AES_KEY_WRAP_KWP.
pub const SETTINGS: &str = r#"wrap = "aes-key-wrap-kwp", import_keys = "wrapped""#;

/// A database of NSS.
#[derive(Clone, Debug)]
pub struct Softokn {
    directory: PathBuf,
}

impl Softokn {
    /// Makes one in this directory, which must be there and stay.
    pub fn new(directory: &Path) -> Self {
        let softokn = Self { directory: directory.to_owned() };
        fs::write(softokn.pin(), format!("{PIN}\n")).expect("the PIN can be written");
        fs::set_permissions(softokn.pin(), fs::Permissions::from_mode(0o600)).expect("and made private");
        fs::create_dir(directory.join("nss")).expect("a directory for the database");
        let place = softokn.place();
        let made = Command::new("certutil").args(["-N", "-d", &place, "-f"]).arg(softokn.pin()).output();
        let made = made.expect("certutil runs: `apt-get install libnss3-tools`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        softokn
    }

    /// The module.
    pub fn module() -> PathBuf {
        let named = std::env::var_os("KEYGATE_TEST_SOFTOKN").map(PathBuf::from);
        let found = named.into_iter().chain(MODULES.map(PathBuf::from)).find(|path| path.exists());
        found.expect(
            "NSS is installed: `apt-get install libnss3-tools` (or name libsoftokn3.so in KEYGATE_TEST_SOFTOKN)",
        )
    }

    fn place(&self) -> String {
        format!("sql:{}", self.directory.join("nss").display())
    }

    /// A file with the PIN.
    pub fn pin(&self) -> PathBuf {
        self.directory.join("nss-pin")
    }

    /// What it has to be told at C_Initialize.
    pub fn parameters(&self) -> String {
        format!("configdir='{}' flags=passwordRequired", self.place())
    }

    /// The entry of its token under `[[tokens]]`, by the name `nss`.
    pub fn entry(&self) -> String {
        let (module, pin) = (Self::module(), self.pin());
        format!(
            "[[tokens]]\nname = \"nss\"\nmodule = \"{}\"\nmodule_parameters = \"{}\"\nlabel = \"{LABEL}\"\npin_file = \"{}\"\n",
            module.display(),
            self.parameters(),
            pin.display()
        )
    }
}
