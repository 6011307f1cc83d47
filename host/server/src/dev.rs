//! Dev mode: two instances, nine identities and a KEK out of nothing, for trying Keygate and for tests. Never for
//! production: whoever can read the directory has every key.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_core::ids::InstanceId;
use keygate_core::ports::Entropy;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::Source;
use crate::files::{PrivateFileError, read_private, write_private_new};
use crate::iam::ApiKey;
use crate::problem::Problem;
use crate::system::OsEntropy;

mod backend;

pub use backend::{BackendChoice, Keep, enter, find_module, wants_token};

/// The variable that names the directory of the plugins.
pub const PLUGIN_DIR: &str = "KEYGATE_PLUGIN_DIR";

/// The plugins that dev mode loads.
const PLUGINS: [&str; 2] = ["aes-gcm.wasm", "access.wasm"];

/// The identities, in the order in which they are printed.
pub const IDENTITIES: [&str; 9] =
    ["manager", "manager2", "writer", "reader_plus", "reader", "purger", "nobody", "administrator", "service"];

const ACCOUNT: &str = "keygate-dev";
const REGION: &str = "us-south";

/// What everything that must stay the same from start to start is derived from. API keys are not kept, but made anew
/// from it each time.
struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    fn open_or_create(path: &Path) -> Result<Self, PrivateFileError> {
        match read_private(path) {
            Ok(text) => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                match STANDARD.decode_slice(text.trim_ascii(), seed.as_mut_slice()) {
                    Ok(32) => Ok(Self(seed)),
                    _ => Err(PrivateFileError::NotAFile(path.display().to_string())),
                }
            }
            Err(PrivateFileError::Missing(_)) => {
                write_private_new(path, random_base64()?.as_bytes())?;
                Self::open_or_create(path)
            }
            Err(error) => Err(error),
        }
    }

    /// 32 bytes for one purpose. They say nothing of those for another.
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let context = format!("keygate 2026-11-22 dev mode: {purpose}");
        Zeroizing::new(blake3::derive_key(&context, self.0.as_slice()))
    }

    fn api_key(&self, name: &str) -> ApiKey {
        ApiKey::from_bytes(*self.derive(&format!("api key of {name}")))
    }

    fn uuid(&self, purpose: &str) -> uuid::Uuid {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.derive(purpose);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// 32 random bytes in base64, on a line of their own.
fn random_base64() -> Result<Zeroizing<String>, PrivateFileError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    OsEntropy.fill(bytes.as_mut_slice()).map_err(|error| PrivateFileError::Io {
        file: "the operating system's generator".to_owned(),
        error: std::io::Error::other(error.0),
    })?;
    let mut text = Zeroizing::new(String::with_capacity(48));
    STANDARD.encode_string(bytes.as_slice(), &mut text);
    text.push('\n');
    Ok(text)
}

/// A gateway for development.
pub struct Dev {
    instances: [InstanceId; 2],
    keys: Vec<(&'static str, ApiKey)>,
    tree: Value,
    data: PathBuf,
}

impl Dev {
    /// Makes one whose state is in `data`, or finds it there. `plugins` is the directory of the plugins.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be used.
    pub fn open(data: &Path, plugins: &Path) -> Result<Self, Problem> {
        let problem = |error: PrivateFileError| Problem::new("dev", error.to_string(), error.mend());
        make_private_dir(data).map_err(|error| {
            let mend = "choose a directory that you can write to, with --data";
            Problem::new("dev", format!("{}: {error}", data.display()), mend)
        })?;
        let seed = Seed::open_or_create(&data.join("dev-seed")).map_err(problem)?;
        let kek = data.join("kek-1");
        if let Err(PrivateFileError::Missing(_)) = read_private(&kek) {
            write_private_new(&kek, random_base64().map_err(problem)?.as_bytes()).map_err(problem)?;
        }
        let instances = ["instance 1", "instance 2"].map(|purpose| InstanceId::from_uuid(seed.uuid(purpose)));
        let keys: Vec<_> = IDENTITIES.into_iter().map(|name| (name, seed.api_key(name))).collect();
        let service_id = format!("iam-ServiceId-{}", seed.uuid("service id"));
        let identities: Vec<Value> =
            keys.iter().map(|(name, key)| identity(name, key, &instances, &service_id)).collect();
        let tree = tree(&instances, &identities, &plugins_path(plugins));
        Ok(Self { instances, keys, tree, data: data.to_owned() })
    }

    /// The same with one more rule: its entry, as it would stand in `[[plugins]]`. It comes last in the chain. The files are
    /// watched then, because somebody is at work on the rule.
    #[must_use]
    pub fn with_rule(mut self, entry: Value) -> Self {
        let name = entry["name"].clone();
        self.push("/plugins", entry);
        self.push("/policy/chain", name);
        self.tree["server"]["watch"] = "1s".into();
        self
    }

    fn push(&mut self, list: &str, value: Value) {
        if let Some(Value::Array(list)) = self.tree.pointer_mut(list) {
            list.push(value);
        }
    }

    /// Makes the token in a data directory, or finds it there. Before any token is started: the module begins and ends here.
    ///
    /// # Errors
    /// When the directory cannot be used, or the module refuses.
    pub fn make_token(&self, module: &Path) -> Result<(), Problem> {
        backend::make_token(&self.data, module)
    }

    /// The configuration, as if somebody had written it. The environment and flags still have their say.
    pub fn source(&self) -> Source {
        Source::Made { tree: self.tree.clone(), base: self.data.clone() }
    }

    /// The two instances.
    pub const fn instances(&self) -> &[InstanceId; 2] {
        &self.instances
    }

    /// The API key of each identity, in the order of [`IDENTITIES`].
    pub fn keys(&self) -> &[(&'static str, ApiKey)] {
        &self.keys
    }
}

/// Dev mode runs from anywhere, and a path in its configuration is relative to the data directory.
fn plugins_path(plugins: &Path) -> PathBuf {
    std::path::absolute(plugins).unwrap_or_else(|_| plugins.to_owned())
}

fn make_private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn identity(name: &str, key: &ApiKey, instances: &[InstanceId; 2], service_id: &str) -> Value {
    let [first, second] = instances.map(|id| id.to_string());
    let on = |role: &str, instance: &str| json!({"roles": [role], "instance": instance});
    let roles = match name {
        "manager" => vec![on("Manager", &first), on("Manager", &second)],
        "manager2" => [&first, &second].map(|i| json!({"roles": ["Manager", "KeyPurge"], "instance": i})).to_vec(),
        "writer" => vec![on("Writer", &first)],
        "purger" => vec![on("KeyPurge", &first)],
        "reader_plus" => vec![on("ReaderPlus", &first)],
        // Of the gateway itself, and of no instance.
        "administrator" => vec![json!({"roles": ["Administrator"]})],
        "reader" | "service" => vec![on("Reader", &first)],
        _ => Vec::new(),
    };
    let mut identity = json!({
        "id": format!("IBMid-dev-{}", name.replace('_', "-")),
        "name": name,
        "kind": "user",
        "api_key_hashes": [key.hash().to_string()],
        "roles": roles,
    });
    if name == "service" {
        identity["id"] = service_id.into();
        identity["kind"] = "service".into();
        identity["service"] = "cloud-object-storage".into();
    }
    identity
}

fn tree(instances: &[InstanceId; 2], identities: &[Value], plugins: &Path) -> Value {
    let instances: Vec<Value> = instances
        .iter()
        .enumerate()
        .map(|(i, id)| {
            json!({
                "id": id.to_string(),
                "name": format!("dev-{}", i + 1),
                "region": REGION,
                "account": ACCOUNT,
                "backend": "software",
            })
        })
        .collect();
    json!({
        // The public endpoint listens where it always does, and there is a private one beside it.
        "server": {"private_listen": "127.0.0.1:0"},
        "store": {"path": "keygate.redb"},
        "audit": {"file": "audit.jsonl"},
        "runtime": {"cache_dir": "compiled"},
        "iam": {
            "account": ACCOUNT,
            "signing_key_file": "iam-signing-key.pem",
            "identities": identities,
        },
        "instances": instances,
        "secrets": [{"name": "kek", "versions": [{"version": 1, "file": "kek-1"}]}],
        "plugins": [
            {
                "name": "aes-gcm",
                "file": plugins.join("aes-gcm.wasm"),
                "world": "software-backend",
                "grants": {"log": true, "random": true, "secrets": ["kek"]},
                // Keys can move to a backend that is tried, and back.
                "settings": {"kek": "kek", "transport": "sha1"},
            },
            {
                "name": "access",
                "file": plugins.join("access.wasm"),
                "world": "policy-rule",
                "grants": {"log": true},
            },
        ],
        "backends": [{"name": "software", "plugin": "aes-gcm"}],
        "policy": {"chain": ["access"]},
    })
}

/// The directory that has the plugins.
///
/// # Errors
/// When none has them: says where they were looked for.
pub fn find_plugins(variable: Option<&str>, exe: Option<&Path>) -> Result<PathBuf, Problem> {
    let mut places = Vec::new();
    places.extend(variable.filter(|dir| !dir.is_empty()).map(PathBuf::from));
    if let Some(dir) = exe.and_then(Path::parent) {
        places.extend(["plugins", "../plugins", "../share/keygate/plugins"].map(|place| dir.join(place)));
    }
    let complete = |dir: &PathBuf| PLUGINS.iter().all(|plugin| dir.join(plugin).is_file());
    if let Some(found) = places.iter().find(|dir| complete(dir)) {
        return Ok(found.clone());
    }
    let looked: Vec<String> = places.iter().map(|dir| dir.display().to_string()).collect();
    Err(Problem::new(
        "dev",
        format!("{} are not together in any of: {}", PLUGINS.join(" and "), looked.join(", ")),
        format!("build them with `cargo xtask plugins`, or name their directory in {PLUGIN_DIR}"),
    ))
}

#[cfg(test)]
mod tests;
