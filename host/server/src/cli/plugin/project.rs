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
    /// As in `plugins.toml`: settings that stand in files of the project.
    #[serde(default)]
    settings_files: Map<String, Value>,
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
    settings_files: Map<String, Value>,
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
        let Contents { name, world, lang, source, cases, grants, limits, settings, settings_files } =
            toml::from_str(&text).with_context(|| file.display().to_string())?;
        let cases = cases.map(|cases| dir.join(cases));
        let dir = dir.to_owned();
        let project = Self { dir, name, world, lang, cases, source, grants, limits, settings, settings_files };
        // What is wrong with the rest shows before anything is built.
        project.entry(&project.component(), None)?;
        Ok(project)
    }

    /// What stands in for a project where there is a component alone.
    pub(super) fn alone(dir: &Path, name: &str, world: &str) -> Self {
        let none = Map::new;
        let (dir, name, world) = (dir.to_owned(), name.to_owned(), world.to_owned());
        let (lang, cases, source) = (Lang::Rust, None, None);
        let (grants, limits, settings, settings_files) = (none(), none(), none(), none());
        Self { dir, name, world, lang, cases, source, grants, limits, settings, settings_files }
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
        let base = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        PluginManifest::parse(&self.value(component, settings.unwrap_or(&self.settings)), &base)
            .map_err(|errors| Problems(errors.into_iter().map(Problem::from).collect()))
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
        let mut value = self.value(&self.component(), &self.settings);
        // The configuration of dev mode is somewhere else.
        let base = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        for files in value["settings_files"].as_object_mut().into_iter().flat_map(Map::values_mut) {
            for file in files.as_array_mut().into_iter().flatten() {
                if let Some(name) = file.as_str() {
                    *file = base.join(name).to_string_lossy().into();
                }
            }
        }
        Ok(value)
    }

    fn value(&self, component: &Path, settings: &Map<String, Value>) -> Value {
        let Self { name, world, grants, limits, settings_files, .. } = self;
        let file = std::path::absolute(component).unwrap_or_else(|_| component.to_owned());
        json!({
            "name": name, "file": file, "world": world, "grants": grants, "limits": limits, "settings": settings,
            "settings_files": settings_files,
        })
    }
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
    fn files_of_settings_are_the_projects() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "name = \"x\"\nworld = \"policy-rule\"\nlang = \"rust\"\nsettings_files = { policies = [\"r/*.cedar\"] }";
        fs::create_dir(dir.path().join("r")).unwrap();
        for (file, text) in [(FILE, text), ("r/a.cedar", "")] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let project = Project::read(dir.path()).unwrap();
        let read = project.entry(Path::new("/x.wasm"), None).unwrap().settings_files.paths();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [dir.path().join("r/a.cedar")]);
        let dev = project.rule().unwrap();
        assert_eq!(dev["settings_files"]["policies"][0], dir.path().join("r/*.cedar").to_str().unwrap());
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
