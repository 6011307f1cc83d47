//! What dev mode keeps keys in: the software backend, a SoftHSM token of its own, or what a file names.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use keygate_core::secret::SecretText;
use keygate_pkcs11::{NewToken, provision};
use serde_json::{Value, json};

use super::{Dev, Seed, make_private_dir};
use crate::config::Environment;
use crate::files::{PrivateFileError, read_private, write_private_new};
use crate::problem::{Problem, nearest};

/// The variable that tells SoftHSM where its configuration is.
const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";

/// The names of the token and the backend on it, and of the plugin between them: none that a guide tells anybody to use, for a
/// file of theirs (`--backend FILE.toml`) may stand beside.
const TOKEN: &str = "dev-token";
const PLUGIN: &str = "dev-softhsm";

/// The token's label.
const LABEL: &str = "keygate-dev";

const NAMES: [&str; 2] = ["aes-gcm", "softhsm"];

/// Where packages put the module; `*` is any directory.
const MODULES: [&str; 8] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/opt/local/lib/softhsm/libsofthsm2.so",
];

/// What `--backend` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The software backend.
    #[default]
    AesGcm,
    /// A token of SoftHSM in the data directory.
    SoftHsm,
    /// Somebody's own: a TOML file with `[[tokens]]`, `[[plugins]]` and `[[backends]]`, as in `plugins.toml`. Both instances are
    /// on the first backend in it. Paths in it should be absolute.
    File(PathBuf),
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "aes-gcm" => Ok(Self::AesGcm),
            "softhsm" => Ok(Self::SoftHsm),
            file if Path::new(file).extension().is_some_and(|ending| ending == "toml") => Ok(Self::File(file.into())),
            other => {
                let hint = nearest(other, NAMES).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
                Err(format!("{hint}There are {}, and files NAME.toml with a backend of yours", NAMES.join(" and ")))
            }
        }
    }
}

/// Where the token's root keys are, as in the settings of the plugin `softhsm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// Each key is an object of the token.
    Token,
    /// In the store, wrapped by a key of the token.
    #[default]
    Wrapped,
}

impl Keep {
    const fn text(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Wrapped => "wrapped",
        }
    }
}

/// Where a data directory has its token's configuration, for a process in whose environment that must be.
fn conf(data: &Path) -> PathBuf {
    std::path::absolute(data).unwrap_or_else(|_| data.to_owned()).join("softhsm2.conf")
}

/// Whether a gateway on this directory works with a token in it: because that is asked for, or because a gateway before it had
/// keys there.
pub fn wants_token(data: &Path, choice: &BackendChoice) -> bool {
    *choice == BackendChoice::SoftHsm || conf(data).exists()
}

/// SoftHSM knows its directory from the environment only, and that cannot be changed once there are threads: the process
/// becomes this program anew, with the same arguments and `more`, unless the variable says it already. Comes back only then.
///
/// # Errors
/// When the program cannot be run, or the variable says something else on which a file of `choice` may rely.
pub fn enter(data: &Path, choice: &BackendChoice, environment: &Environment, more: &[OsString]) -> Result<(), Problem> {
    let conf = conf(data);
    let there = environment.get(SOFTHSM_CONF).map(Path::new);
    if there == Some(&conf) {
        return Ok(());
    }
    if let (BackendChoice::File(file), Some(there)) = (choice, there) {
        let (file, there, conf) = (file.display(), there.display(), conf.display());
        let problem = format!("{SOFTHSM_CONF} is {there}, and the token with keys in this directory needs {conf}");
        let mend = format!(
            "SoftHSM has one configuration in a process: give {file} a data directory of its own, with --data, or unset \
             {SOFTHSM_CONF} if {file} has no token of SoftHSM"
        );
        return Err(Problem::new("dev", problem, mend));
    }
    if conf.to_str().is_none() {
        let problem = format!("{}: SoftHSM and this program need a name in UTF-8", conf.display());
        return Err(Problem::new("dev", problem, "choose another directory, with --data"));
    }
    let problem = |error| {
        let mend = format!("set {SOFTHSM_CONF}={} and start again", conf.display());
        Problem::new("dev", format!("this program cannot be run with {SOFTHSM_CONF} set: {error}"), mend)
    };
    let program = std::env::current_exe().map_err(problem)?;
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).args(more).env(SOFTHSM_CONF, &conf);
    Err(problem(again.exec()))
}

/// SoftHSM's module: the one that is named, or the first that is in one of the usual places.
///
/// # Errors
/// There is none: says what to install.
pub fn find_module(named: Option<&Path>) -> Result<PathBuf, Problem> {
    let found = match named {
        Some(named) => Some(named.to_owned()).filter(|path| path.is_file()),
        None => MODULES.iter().flat_map(|place| expand(place)).find(|path| path.is_file()),
    };
    let module = found.ok_or_else(|| {
        let looked = named.map_or_else(|| MODULES.join(", "), |path| path.display().to_string());
        let problem = format!("SoftHSM 2 is not installed: there is no module at {looked}");
        let mend = "apt-get install softhsm2 (Fedora: dnf install softhsm; macOS: brew install softhsm), or name \
                    libsofthsm2.so with --module";
        Problem::new("dev", problem, mend)
    })?;
    Ok(std::path::absolute(&module).unwrap_or(module))
}

fn expand(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once("*/") else { return vec![place.into()] };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(before).into_iter().flatten().flatten().map(|entry| entry.path().join(after)).collect();
    found.sort();
    found
}

/// Makes the token in the data directory, or finds it there: its configuration, the directory that it is in, and the file
/// with its PIN.
pub(super) fn make_token(data: &Path, module: &Path) -> Result<(), Problem> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let mend = "choose a directory that you can write to, with --data";
    let io = |error: std::io::Error| Problem::new("dev", format!("{}: {error}", data.display()), mend);
    let private = |error: PrivateFileError| Problem::new("dev", error.to_string(), error.mend());
    let tokens = data.join("tokens");
    make_private_dir(&tokens).map_err(io)?;
    // Two that start at once would each see no token, and make one. The lock ends with this function, or the process.
    let lock = File::create(data.join("token-lock")).map_err(io)?;
    lock.lock().map_err(io)?;
    // Anew each time: the directory may have been moved.
    let text = format!(
        "# SoftHSM's, by `keygate serve --dev --backend softhsm`. To look into the token, with its PIN in the file token-pin:\n\
         # SOFTHSM2_CONF={} pkcs11-tool --module {} --token-label {LABEL} --login --list-objects\n\
         directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        conf(&data).display(),
        module.display(),
        tokens.display()
    );
    let draft = data.join("softhsm2.conf.new");
    std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, conf(&data))).map_err(io)?;
    let seed = Seed::open_or_create(&data.join("dev-seed")).map_err(private)?;
    let pin = |purpose: &str| SecretText::new(URL_SAFE_NO_PAD.encode(&seed.derive(purpose)[..24]));
    let (so_pin, pin) = (pin("token's security officer"), pin("token's user"));
    let file = data.join("token-pin");
    if let Err(PrivateFileError::Missing(_)) = read_private(&file) {
        write_private_new(&file, pin.expose().as_bytes()).map_err(private)?;
    }
    provision(module, &NewToken { label: LABEL, so_pin: &so_pin, pin: &pin }).map(|_| ()).map_err(|error| {
        let mend = "see that SoftHSM 2 is whole, or begin with another directory, with --data";
        Problem::new("dev", error.to_string(), mend)
    })
}

impl Dev {
    /// The same with the data directory's token, a plugin on it and a backend. `serves`: the instances are on that then.
    #[must_use]
    pub fn with_token(mut self, module: &Path, plugins: &Path, keep: Keep, serves: bool) -> Self {
        let token = json!({"name": TOKEN, "module": module, "label": LABEL, "pin_file": "token-pin"});
        let plugin = json!({
            "name": PLUGIN,
            "file": super::plugins_path(plugins).join("softhsm.wasm"),
            "world": "hsm-backend",
            // Sent out of the token as well: moving keys is a thing to try.
            "grants": {"log": true, "pkcs11": [TOKEN], "pkcs11-transport": true},
            // SoftHSM takes 0.1 s and more to make an object, and a laptop's disk may have its days.
            "limits": {"deadline": "10s"},
            // SoftHSM 2.6.1 has no OAEP with SHA-256.
            "settings": {
                "token": TOKEN,
                "keep": keep.text(),
                "wrap": "aes-key-wrap-pad",
                "import_keys": "sandbox",
                "transport": "sha1",
            },
        });
        self.tree["tokens"] = json!([token]);
        self.push("/plugins", plugin);
        self.push("/backends", json!({"name": TOKEN, "plugin": PLUGIN}));
        if serves {
            self.serve_from(TOKEN);
        }
        self
    }

    /// The same with what a file has of tokens, plugins and backends. The instances are on the first backend in it.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has no backend, or has what dev mode makes by itself.
    pub fn with_file(mut self, file: &Path) -> Result<Self, Problem> {
        let mend = "give it [[tokens]], [[plugins]] and [[backends]] as in plugins.toml, and nothing else";
        let fails = |problem: String| Problem::new("dev", format!("{}: {problem}", file.display()), mend);
        let text = std::fs::read_to_string(file).map_err(|error| fails(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error| fails(format!("{error}")))?;
        let lists = serde_json::to_value(table).map_err(|error| fails(error.to_string()))?;
        let first = lists["backends"][0]["name"].as_str().map(str::to_owned);
        for (name, list) in lists.as_object().into_iter().flatten() {
            match (name.as_str(), list) {
                ("tokens" | "plugins" | "backends", Value::Array(entries)) => {
                    if self.tree.get(name).is_none() {
                        self.tree[name.as_str()] = json!([]);
                    }
                    entries.iter().for_each(|entry| self.push(&format!("/{name}"), entry.clone()));
                }
                _ => return Err(fails(format!("`{name}` does not belong there"))),
            }
        }
        self.serve_from(&first.ok_or_else(|| fails("it has no backend".to_owned()))?);
        Ok(self)
    }

    fn serve_from(&mut self, backend: &str) {
        for instance in self.tree["instances"].as_array_mut().into_iter().flatten() {
            instance["backend"] = backend.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    fn dev() -> (tempfile::TempDir, Dev) {
        let dir = tempfile::tempdir().unwrap();
        let dev = Dev::open(dir.path(), Path::new("/plugins")).unwrap();
        (dir, dev)
    }

    fn backends(dev: &Dev) -> Vec<String> {
        let loaded = load(&dev.source(), &Environment::new(), &Flags::default());
        assert_eq!(loaded.problems, []);
        loaded.config.unwrap().instances.iter().map(|instance| instance.backend.clone()).collect()
    }

    #[test]
    fn a_backend_has_a_name_or_a_file_and_a_bad_one_is_told_which_there_are() {
        assert_eq!("softhsm".parse(), Ok(BackendChoice::SoftHsm));
        assert_eq!("aes-gcm".parse(), Ok(BackendChoice::AesGcm));
        assert_eq!("my/hsm.toml".parse(), Ok(BackendChoice::File("my/hsm.toml".into())));
        let refused = "sofhsm".parse::<BackendChoice>().unwrap_err();
        for words in ["did you mean `softhsm`?", "aes-gcm and softhsm", "NAME.toml"] {
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn both_instances_are_served_from_the_token_if_it_is_asked_for() {
        for (serves, expected) in [(true, "dev-token"), (false, "software")] {
            let (_dir, dev) = dev();
            let dev = dev.with_token(Path::new("/softhsm.so"), Path::new("/plugins"), Keep::Token, serves);
            assert_eq!(backends(&dev), [expected, expected]);
            assert_eq!(dev.tree["plugins"][2]["settings"]["keep"], "token");
        }
    }

    #[test]
    fn a_file_brings_a_backend_and_nothing_that_is_not_its_own() {
        let (dir, dev) = dev();
        let file = dir.path().join("mine.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("[[backends]]\nname = \"mine\"\nplugin = \"aes-gcm\"\n");
        assert_eq!(backends(&dev.with_file(&file).unwrap()), ["mine", "mine"]);
        let fresh = || Dev::open(dir.path(), Path::new("/plugins")).unwrap();
        for (text, words) in [
            ("[[plugins]]\nname = \"x\"\n", "no backend"),
            ("[server]\nlisten = \"0.0.0.0:1\"\n", "`server` does not belong there"),
            ("nonsense", "mine.toml"),
        ] {
            write(text);
            let problem = fresh().with_file(&file).err().unwrap();
            assert!(problem.problem.contains(words), "{problem}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(fresh().with_file(&file).is_err());
    }

    #[test]
    fn a_file_stands_beside_the_token_of_before_under_the_names_of_the_guide() {
        let (dir, dev) = dev();
        let file = dir.path().join("my-hsm.toml");
        let text = "[[tokens]]\nname = \"hsm\"\nmodule = \"/their.so\"\nlabel = \"theirs\"\npin_file = \"/pin\"\n\
                    [[plugins]]\nname = \"softhsm\"\nfile = \"/plugins/softhsm.wasm\"\nworld = \"hsm-backend\"\n\
                    grants = { pkcs11 = [\"hsm\"] }\nsettings = { token = \"hsm\" }\n\
                    [[backends]]\nname = \"hsm\"\nplugin = \"softhsm\"\n";
        std::fs::write(&file, text).unwrap();
        let dev = dev.with_token(Path::new("/softhsm.so"), Path::new("/plugins"), Keep::Wrapped, false);
        assert_eq!(backends(&dev.with_file(&file).unwrap()), ["hsm", "hsm"]);
    }

    #[test]
    fn another_configuration_of_softhsm_is_not_replaced_under_somebodys_file() {
        let environment: Environment = [(SOFTHSM_CONF.to_owned(), "/theirs.conf".to_owned())].into_iter().collect();
        let choice = BackendChoice::File("my-hsm.toml".into());
        let problem = enter(Path::new("/data"), &choice, &environment, &[]).unwrap_err();
        assert!(
            problem.problem.contains("/theirs.conf") && problem.problem.contains("/data/softhsm2.conf"),
            "{problem}"
        );
        assert!(problem.mend.contains("--data"), "{problem}");
    }

    #[test]
    fn a_module_that_is_not_there_is_told_with_what_to_install() {
        let problem = find_module(Some(Path::new("/nowhere/libsofthsm2.so"))).unwrap_err();
        assert!(
            problem.problem.contains("/nowhere/libsofthsm2.so") && problem.mend.contains("apt-get install softhsm2")
        );
    }
}
