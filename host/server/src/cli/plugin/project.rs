//! `keygate-plugin.toml`: what an author's project says of its plugin, so that no command needs flags.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use keygate_runtime::manifest::PluginManifest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::problem::{Problem, Problems};

/// The file that makes a directory a project.
pub(super) const FILE: &str = "keygate-plugin.toml";

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lang {
    /// The smallest and fastest.
    Rust,
    /// By componentize-py.
    Python,
    /// By ComponentizeJS.
    #[serde(alias = "js")]
    #[value(alias = "js")]
    Javascript,
}

impl Lang {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
        }
    }
}

/// The file's contents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    name: String,
    world: String,
    lang: Lang,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    cases: Option<PathBuf>,
    #[serde(default)]
    grants: Map<String, Value>,
    #[serde(default)]
    limits: Map<String, Value>,
    #[serde(default)]
    settings: Map<String, Value>,
}

/// A project.
#[derive(Debug)]
pub(super) struct Project {
    /// Where it is.
    pub(super) dir: PathBuf,
    /// The plugin's name, and its files'.
    pub(super) name: String,
    /// Its world: a name of `wit/`.
    pub(super) world: String,
    /// What it is written in.
    pub(super) lang: Lang,
    /// Its test cases.
    pub(super) cases: Option<PathBuf>,
    source: Option<String>,
    grants: Map<String, Value>,
    limits: Map<String, Value>,
    settings: Map<String, Value>,
}

impl Project {
    /// Reads the project in a directory.
    ///
    /// # Errors
    /// There is none, or its file is not sound.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "{} is no plugin project: it has no {FILE}; name a project's directory, or make one with `keygate plugin new`",
                dir.display()
            ),
            Err(error) => return Err(error).context(file.display().to_string()),
        };
        let Contents { name, world, lang, source, cases, grants, limits, settings } =
            toml::from_str(&text).with_context(|| file.display().to_string())?;
        let cases = cases.map(|cases| dir.join(cases));
        let project = Self { dir: dir.to_owned(), name, world, lang, cases, source, grants, limits, settings };
        // What is wrong with the rest shows before anything is built.
        project.entry(&project.component(), None)?;
        Ok(project)
    }

    /// What stands in for a project where there is a component alone.
    pub(super) fn alone(dir: &Path, name: &str, world: &str) -> Self {
        let none = Map::new;
        let (dir, name, world) = (dir.to_owned(), name.to_owned(), world.to_owned());
        let (lang, cases, source) = (Lang::Rust, None, None);
        Self { dir, name, world, lang, cases, source, grants: none(), limits: none(), settings: none() }
    }

    /// Adds a grant: its name, or `secrets=NAME`. Whether there is such a grant shows when the entry is read.
    pub(super) fn grant(&mut self, grant: &str) {
        match grant.split_once('=') {
            None => drop(self.grants.insert(grant.to_owned(), Value::Bool(true))),
            Some((list, name)) => match self.grants.entry(list).or_insert_with(|| json!([])) {
                Value::Array(names) => names.push(name.into()),
                other => *other = json!([name]),
            },
        }
    }

    /// Sets a limit.
    pub(super) fn limit(&mut self, name: &str, value: &str) {
        let value = value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from);
        self.limits.insert(name.to_owned(), value);
    }

    /// Where `plugin build` leaves the component.
    pub(super) fn component(&self) -> PathBuf {
        let file = format!("{}.wasm", self.name);
        // Not `./NAME.wasm`: it is shown.
        if self.dir == Path::new(".") { PathBuf::from(file) } else { self.dir.join(file) }
    }

    /// The file or module that a component is made of; of languages where there is one.
    pub(super) fn source(&self) -> &str {
        match (&self.source, self.lang) {
            (Some(source), _) => source,
            (None, Lang::Javascript) if self.is_backend() => "backend.js",
            (None, Lang::Javascript) => "rule.js",
            (None, Lang::Python) => "app",
            (None, Lang::Rust) => "src/lib.rs",
        }
    }

    /// Whether it may use WASI.
    pub(super) fn has_wasi(&self) -> bool {
        self.grants.get("wasi-minimal").and_then(Value::as_bool).unwrap_or(false)
    }

    fn is_backend(&self) -> bool {
        self.world != "policy-rule"
    }

    /// What would stand in `plugins.toml`, with these settings in place of its own where they are given.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn entry(
        &self,
        component: &Path,
        settings: Option<&Map<String, Value>>,
    ) -> Result<PluginManifest, Problems> {
        entry(&self.value(component, settings.unwrap_or(&self.settings)))
    }

    /// A rule as dev mode loads it, with the project's own settings.
    ///
    /// # Errors
    /// It is a backend.
    pub(super) fn rule(&self) -> anyhow::Result<Value> {
        if self.is_backend() {
            bail!(
                "{} is a backend, and dev mode takes rules beside its own plugins; try it with `keygate plugin test`",
                self.name
            );
        }
        Ok(self.value(&self.component(), &self.settings))
    }

    fn value(&self, component: &Path, settings: &Map<String, Value>) -> Value {
        let Self { name, world, grants, limits, .. } = self;
        let file = std::path::absolute(component).unwrap_or_else(|_| component.to_owned());
        json!({
            "name": name, "file": file, "world": world, "grants": grants, "limits": limits, "settings": settings,
        })
    }
}

/// Reads an entry as the gateway does.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn entry(value: &Value) -> Result<PluginManifest, Problems> {
    PluginManifest::parse(value, Path::new(""))
        .map_err(|errors| Problems(errors.into_iter().map(Problem::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Project> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        Project::read(dir.path())
    }

    #[test]
    fn a_project_says_what_plugins_toml_would() {
        let project = read(
            "name = \"x\"\nworld = \"policy-rule\"\nlang = \"js\"\ngrants = { log = true }\nlimits = { memory = \"64MiB\" }",
        )
        .unwrap();
        assert_eq!((project.lang, project.source(), project.has_wasi()), (Lang::Javascript, "rule.js", false));
        let settings = serde_json::from_str("{\"a\": 1}").unwrap();
        let entry = project.entry(Path::new("/x.wasm"), Some(&settings)).unwrap();
        assert_eq!((entry.limits.memory, entry.grants.log), (64 << 20, true));
        assert_eq!(entry.settings, json!({"a": 1}));
    }

    #[test]
    fn mistakes_are_named_before_anything_is_built() {
        for (text, told) in [
            ("name = \"x\"\nworld = \"policy-rule\"\nlang = \"cobol\"", "unknown variant `cobol`"),
            ("name = \"x\"\nworld = \"policy-rul\"\nlang = \"rust\"", "did you mean `policy-rule`?"),
            ("name = \"x\"\nworld = \"policy-rule\"\nlang = \"rust\"\ngrants = { logg = true }", "did you mean `log`?"),
            ("name = \"x\"\nworld = \"policy-rule\"\nlang = \"rust\"\nsetings = {}", "unknown field `setings`"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
        let nowhere = Project::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(nowhere.contains("keygate plugin new"), "{nowhere}");
    }
}
