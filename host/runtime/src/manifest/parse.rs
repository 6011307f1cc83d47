//! Reads a plugin's entry.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    DigestSource, Grants, Mode, PluginLimits, PluginManifest, SettingsFiles, World, parse_duration, parse_size,
};
use crate::load_error::{LoadError, LoadStep, list, nearest};

const KEYS: [&str; 13] = [
    "name",
    "file",
    "sha256",
    "sha256_file",
    "signed_by",
    "signature_file",
    "described_as",
    "world",
    "grants",
    "limits",
    "mode",
    "settings",
    "settings_files",
];
const WORLDS: [World; 3] = [World::SoftwareBackend, World::HsmBackend, World::PolicyRule];
const GRANTS: [&str; 7] = ["log", "random", "secrets", "clock", "pkcs11", "pkcs11-transport", "wasi-minimal"];
const LIMITS: [&str; 5] = ["deadline", "slow_deadline", "memory", "output", "concurrency"];

/// The longest deadline that a plugin can be given.
const MAX_DEADLINE: Duration = Duration::from_secs(600);
/// A page of linear memory: less than one is no memory.
const PAGE: usize = 65_536;

impl PluginManifest {
    /// Reads an entry of `plugins.toml`, given as JSON. `base` is the directory that relative paths start from.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(value: &Value, base: &Path) -> Result<Self, Vec<LoadError>> {
        let name = value.get("name").and_then(Value::as_str).unwrap_or("(without a name)");
        let mut reader = Reader { plugin: name, problems: Vec::new() };
        let Some(entry) = value.as_object() else {
            reader.problem("the entry is not a table", "write it as `[[plugins]]`");
            return Err(reader.problems);
        };
        let manifest = reader.entry(entry, base);
        match manifest {
            Some(manifest) if reader.problems.is_empty() => Ok(manifest),
            _ => Err(reader.problems),
        }
    }
}

struct Reader<'a> {
    plugin: &'a str,
    problems: Vec<LoadError>,
}

impl Reader<'_> {
    fn problem(&mut self, problem: impl Into<String>, mend: impl Into<String>) {
        self.problems.push(LoadError::new(self.plugin, LoadStep::Manifest, problem, mend));
    }

    fn entry(&mut self, entry: &Map<String, Value>, base: &Path) -> Option<PluginManifest> {
        self.known_keys(entry, "", &KEYS);
        let name = self.name(entry);
        let file = self.text(entry, "file", true).map(|file| base.join(file));
        let digest = self.digest(entry, base);
        let signed_by = self.signed_by(entry);
        let signature_file = self.text(entry, "signature_file", false).map(|file| base.join(file));
        if signature_file.is_some() && signed_by.is_empty() {
            self.problem("`signature_file` is given without `signed_by`", "add `signed_by = [\"NAME\"]`");
        }
        let described_as = self.text(entry, "described_as", false);
        let world = self.world(entry);
        let grants = self.grants(entry, world);
        let limits = self.limits(entry);
        let mode = self.mode(entry, world);
        let settings = self.settings(entry, world);
        let settings_files = self.settings_files(entry, base);
        Some(PluginManifest {
            name: name?,
            file: file?,
            digest: digest?,
            signed_by,
            signature_file,
            described_as,
            world: world?,
            grants,
            limits,
            mode,
            settings: settings?,
            settings_files,
        })
    }

    fn known_keys(&mut self, table: &Map<String, Value>, path: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(format!("`{path}{key}` is not a known key"), nearest(key, known));
        }
    }

    fn text(&mut self, table: &Map<String, Value>, key: &str, required: bool) -> Option<String> {
        match table.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(_) => {
                self.problem(format!("`{key}` is not a text"), "write it in quotes");
                None
            }
            None => {
                if required {
                    self.problem(format!("`{key}` is missing"), format!("add `{key} = \"...\"`"));
                }
                None
            }
        }
    }

    fn table<'t>(&mut self, entry: &'t Map<String, Value>, key: &str) -> Option<&'t Map<String, Value>> {
        match entry.get(key)? {
            Value::Object(table) => Some(table),
            _ => {
                self.problem(format!("`{key}` is not a table"), format!("write `{key} = {{ ... }}`"));
                None
            }
        }
    }

    fn name(&mut self, entry: &Map<String, Value>) -> Option<String> {
        let name = self.text(entry, "name", true)?;
        let fits = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !fits {
            self.problem("`name` cannot be a plugin's name", "use 1 to 64 letters, digits, `-`, `_` and `.`");
        }
        fits.then_some(name)
    }

    fn digest(&mut self, entry: &Map<String, Value>, base: &Path) -> Option<DigestSource> {
        let known = self.problems.len();
        let digest = self.text(entry, "sha256", false);
        let file = self.text(entry, "sha256_file", false);
        if self.problems.len() > known {
            return None;
        }
        match (digest, file) {
            (Some(_), Some(_)) => {
                self.problem("`sha256` and `sha256_file` are both given", "keep one of the two");
                None
            }
            (Some(digest), None) => {
                if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                    Some(DigestSource::Sha256(digest.to_ascii_lowercase()))
                } else {
                    self.problem("`sha256` is not 64 hexadecimal digits", "copy it from the output of `sha256sum`");
                    None
                }
            }
            (None, Some(file)) => Some(DigestSource::File(base.join(file))),
            (None, None) => Some(DigestSource::Absent),
        }
    }

    fn signed_by(&mut self, entry: &Map<String, Value>) -> Vec<String> {
        let Some(value) = entry.get("signed_by") else { return Vec::new() };
        match texts(value).filter(|names| !names.is_empty()) {
            Some(names) => names,
            None => {
                self.problem("`signed_by` is not a list of names of trusted keys", "write `signed_by = [\"NAME\"]`");
                Vec::new()
            }
        }
    }

    fn settings_files(&mut self, entry: &Map<String, Value>, base: &Path) -> SettingsFiles {
        let mut files = SettingsFiles { base: base.to_owned(), ..SettingsFiles::default() };
        let Some(table) = self.table(entry, "settings_files") else { return files };
        for (key, value) in table {
            if entry.get("settings").and_then(|settings| settings.get(key)).is_some() {
                let problem = format!("`{key}` is in `settings` and in `settings_files`");
                self.problem(problem, "keep one of the two");
            }
            match texts(value).filter(|names| !names.is_empty() && names.iter().all(|name| !name.is_empty())) {
                Some(names) => drop(files.lists.insert(key.clone(), names)),
                None => self.problem(
                    format!("`settings_files.{key}` is not a list of files"),
                    format!("write `{key} = [\"a.txt\", \"more/*.txt\"]`"),
                ),
            }
        }
        files
    }

    fn world(&mut self, entry: &Map<String, Value>) -> Option<World> {
        let text = self.text(entry, "world", true)?;
        let world = WORLDS.into_iter().find(|world| world.as_str() == text);
        if world.is_none() {
            self.problem(format!("`{text}` is not a known world"), nearest(&text, &WORLDS.map(World::as_str)));
        }
        world
    }

    fn grants(&mut self, entry: &Map<String, Value>, world: Option<World>) -> Grants {
        let Some(table) = self.table(entry, "grants") else { return Grants::default() };
        for name in table.keys().filter(|name| !GRANTS.contains(&name.as_str())) {
            self.problem(format!("`{name}` is not a known grant"), nearest(name, &GRANTS));
        }
        let grants = Grants {
            log: self.flag(table, "log"),
            random: self.flag(table, "random"),
            clock: self.flag(table, "clock"),
            wasi_minimal: self.flag(table, "wasi-minimal"),
            secrets: self.names(table, "secrets"),
            pkcs11: self.names(table, "pkcs11"),
            pkcs11_transport: self.flag(table, "pkcs11-transport"),
        };
        if let Some(world) = world {
            for name in GRANTS.into_iter().filter(|name| grants.has(name) && !world.grantable().contains(name)) {
                self.problem(
                    format!("a plugin of world `{}` cannot be granted `{name}`", world.as_str()),
                    format!("take the grant away; possible are {}", list(world.grantable())),
                );
            }
        }
        if grants.pkcs11_transport && grants.pkcs11.is_empty() {
            self.problem(
                "`pkcs11-transport` is granted without `pkcs11`",
                "add `pkcs11 = [\"TOKEN\"]`, or take `pkcs11-transport` away",
            );
        }
        grants
    }

    fn flag(&mut self, table: &Map<String, Value>, key: &str) -> bool {
        match table.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.problem(format!("the grant `{key}` is neither true nor false"), format!("write `{key} = true`"));
                false
            }
        }
    }

    fn names(&mut self, table: &Map<String, Value>, key: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let names: Option<Vec<String>> = value.as_array().and_then(|names| {
            names.iter().map(|name| name.as_str().filter(|n| (1..=64).contains(&n.len())).map(str::to_owned)).collect()
        });
        names.unwrap_or_else(|| {
            self.problem(
                format!("the grant `{key}` is not a list of names of 1 to 64 bytes"),
                format!("write `{key} = [\"NAME\"]`"),
            );
            Vec::new()
        })
    }

    fn limits(&mut self, entry: &Map<String, Value>) -> PluginLimits {
        let mut limits = PluginLimits::default();
        let Some(table) = self.table(entry, "limits") else { return limits };
        self.known_keys(table, "limits.", &LIMITS);
        for (key, limit) in [("deadline", &mut limits.deadline), ("slow_deadline", &mut limits.slow_deadline)] {
            let Some(deadline) = self.limit(table, key, parse_duration) else { continue };
            if deadline < Duration::from_millis(1) || deadline > MAX_DEADLINE {
                self.problem(format!("`limits.{key}` is out of bounds"), "use 1ms to 10m");
            }
            *limit = deadline;
        }
        if let Some(memory) = self.limit(table, "memory", parse_size) {
            if memory < PAGE {
                self.problem("`limits.memory` is less than a page of memory", "use 64KiB or more");
            }
            limits.memory = memory;
        }
        if let Some(output) = self.limit(table, "output", parse_size) {
            if output < 1024 {
                self.problem("`limits.output` is too little for any answer", "use 1KiB or more");
            }
            limits.output = output;
        }
        if let Some(value) = table.get("concurrency") {
            limits.concurrency = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
            if limits.concurrency.is_none() {
                self.problem("`limits.concurrency` is not a number of calls", "use 1 or more");
            }
        }
        limits
    }

    fn limit<T>(&mut self, table: &Map<String, Value>, key: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let value = table.get(key)?;
        let parsed = match value {
            Value::String(text) => parse(text),
            other => Err(format!("`{other}` has no unit")),
        };
        parsed.map_err(|problem| self.problem(format!("`limits.{key}`: {problem}"), "write a number and a unit")).ok()
    }

    fn mode(&mut self, entry: &Map<String, Value>, world: Option<World>) -> Mode {
        let Some(text) = self.text(entry, "mode", false) else { return Mode::Enforce };
        if world.is_some_and(World::is_backend) {
            self.problem("`mode` is for rules", "take it out of this backend's entry");
        }
        match text.as_str() {
            "enforce" => Mode::Enforce,
            "monitor" => Mode::Monitor,
            other => {
                self.problem(format!("`{other}` is not a known mode"), nearest(other, &["enforce", "monitor"]));
                Mode::Enforce
            }
        }
    }

    fn settings(&mut self, entry: &Map<String, Value>, world: Option<World>) -> Option<Value> {
        let settings = entry.get("settings").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        if !settings.is_object() {
            self.problem("`settings` is not a table", "write it as `[plugins.settings]`");
            return None;
        }
        let most = world.map_or(usize::MAX, World::max_settings);
        let size = settings.to_string().len();
        if size > most {
            self.problem(format!("`settings` has {size} bytes as JSON"), format!("use at most {most}"));
            return None;
        }
        Some(settings)
    }
}

/// A list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
