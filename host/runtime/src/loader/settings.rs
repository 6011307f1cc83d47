//! `settings_files`: settings that stand in files of their own, read when the plugin is loaded and put in as texts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::files;
use crate::load_error::{LoadError, LoadStep};
use crate::manifest::{PluginManifest, SettingsFiles};

/// The most files of one plugin.
const MAX_FILES: usize = 256;

impl SettingsFiles {
    /// The files that loading would read now, for whoever watches them. A name without a `*` is among them whether or not
    /// there is such a file; a pattern that nothing fits, or that cannot be followed, means none. Waits for the disk.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        let patterns = self.lists.values().flatten();
        // Of more than that nothing is loaded; that there are more is enough to know.
        let found = patterns
            .flat_map(|pattern| expanded(&self.base, pattern).unwrap_or_default().into_iter().take(MAX_FILES + 1));
        found.map(|file| self.base.join(file)).collect()
    }
}

/// The settings of an entry with its files put in, as JSON text.
pub(super) fn read(manifest: &PluginManifest) -> Result<String, Vec<LoadError>> {
    let most = manifest.world.max_settings();
    let mut settings = manifest.settings.clone();
    let mut errors = Vec::new();
    let mut error = |problem: String, mend: &str| {
        errors.push(LoadError::new(&manifest.name, LoadStep::Manifest, problem, mend));
    };
    for (key, patterns) in &manifest.settings_files.lists {
        let mut texts = Vec::new();
        for file in listed(&manifest.settings_files.base, patterns).unwrap_or_else(|problems| {
            problems.into_iter().for_each(|problem| {
                error(
                    format!("`settings_files.{key}`: {problem}"),
                    "check the name; it is relative to the configuration",
                );
            });
            Vec::new()
        }) {
            match files::read_text(&manifest.settings_files.base.join(&file), most as u64) {
                Ok(text) => texts.push(json!({ "file": file, "text": text })),
                Err(problem) => error(
                    format!("`settings_files.{key}`: {file}: {problem}"),
                    "see that it is a text of that size that the gateway may read",
                ),
            }
        }
        if let Some(table) = settings.as_object_mut() {
            table.insert(key.clone(), Value::Array(texts));
        }
    }
    let settings = settings.to_string();
    if errors.is_empty() && settings.len() > most {
        let size = settings.len();
        let problem = format!("`settings` has {size} bytes as JSON with its files");
        errors.push(LoadError::new(&manifest.name, LoadStep::Manifest, problem, format!("use at most {most}")));
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// The files that a list of names and patterns means, each once: in the list's order, those of a pattern by their names.
fn listed(base: &Path, patterns: &[String]) -> Result<Vec<String>, Vec<String>> {
    let mut seen = BTreeSet::new();
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match expanded(base, pattern) {
            Ok(found) => files.extend(found.into_iter().filter(|file| seen.insert(file.clone()))),
            Err(problem) => problems.push(problem),
        }
    }
    if files.len() > MAX_FILES {
        problems.push(format!("it means {} files; {MAX_FILES} is the most", files.len()));
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// A name is itself; one with a `*` in its last part is every file that fits.
fn expanded(base: &Path, pattern: &str) -> Result<Vec<String>, String> {
    if !pattern.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let (dir, part) = pattern.rsplit_once('/').map_or(("", pattern), |(dir, part)| (&pattern[..dir.len() + 1], part));
    if dir.contains('*') {
        return Err(format!("`{pattern}` has a `*` before its last `/`; it can stand in the name of the file only"));
    }
    let at: PathBuf = base.join(dir);
    let entries = fs::read_dir(&at).map_err(|e| format!("`{pattern}`: {}: {e}", at.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| format!("`{pattern}`: {}: {e}", at.display()))?;
        // Names that are no text fit no pattern, and hidden files are editors' more often than operators'.
        if let Some(name) = entry.file_name().to_str().filter(|name| !name.starts_with('.') && fits(part, name))
            && entry.path().is_file()
        {
            files.push(format!("{dir}{name}"));
        }
    }
    files.sort();
    if files.is_empty() { Err(format!("no file fits `{pattern}` in {}", base.display())) } else { Ok(files) }
}

/// Whether a name fits a pattern in which each `*` stands for any number of characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*.cedar", "a.cedar", true),
            ("*.cedar", ".cedar", true),
            ("*.cedar", "a.cedarx", false),
            ("a*c", "ac", true),
            ("a*c", "abcc", true),
            ("a*c", "a", false),
            ("a*a", "a", false),
            ("*b*", "abc", true),
            ("*b*d", "abcb", false),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_files_by_name_each_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rules/more.cedar")).unwrap();
        for name in ["b.cedar", "a.cedar", ".hidden.cedar", "notes.txt"] {
            fs::write(dir.path().join("rules").join(name), name).unwrap();
        }
        let list =
            |patterns: &[&str]| listed(dir.path(), &patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        assert_eq!(list(&["rules/*.cedar"]).unwrap(), ["rules/a.cedar", "rules/b.cedar"]);
        assert_eq!(list(&["rules/b.cedar", "rules/*.cedar"]).unwrap(), ["rules/b.cedar", "rules/a.cedar"]);
        let told = list(&["rules/*.polar", "*/a.cedar", "absent/*"]).unwrap_err();
        assert!(told[0].contains("no file fits `rules/*.polar`"), "{told:?}");
        assert!(told[1].contains("before its last `/`") && told[2].contains("absent"), "{told:?}");
    }
}
