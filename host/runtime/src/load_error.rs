//! What is wrong with a plugin's entry, its file, or the plugin itself.

use std::fmt;

/// Where in loading something went wrong, in the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoadStep {
    /// The entry in `plugins.toml`.
    Manifest,
    /// Reading the file.
    Read,
    /// Comparing its SHA-256.
    Digest,
    /// Verifying who signed it.
    Signature,
    /// Compiling it.
    Compile,
    /// Comparing what it imports with what it is granted.
    Imports,
    /// Comparing the versions of the interfaces that it was built for.
    Version,
    /// Giving it its settings.
    Configure,
    /// Asking what it is.
    Describe,
    /// Asking it to show that it works.
    Probe,
    /// Giving it its place as a backend or in the policy chain.
    Bind,
}

impl fmt::Display for LoadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Read => "read",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Compile => "compile",
            Self::Imports => "imports",
            Self::Version => "version",
            Self::Configure => "configure",
            Self::Describe => "describe",
            Self::Probe => "probe",
            Self::Bind => "bind",
        })
    }
}

/// One thing that keeps a generation from being loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}`: {step}: {problem}; {mend}")]
pub struct LoadError {
    /// The plugin's name; of a problem in the binding, the backend's or rule's name.
    pub plugin: String,
    /// Where.
    pub step: LoadStep,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
    /// Whether it may be gone in a moment, with nothing changed: something was busy, or away.
    pub is_passing: bool,
}

impl LoadError {
    pub(crate) fn new(plugin: &str, step: LoadStep, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { plugin: plugin.to_owned(), step, problem: problem.into(), mend: mend.into(), is_passing: false }
    }

    /// The same, that may be gone in a moment.
    pub(crate) fn passing(self) -> Self {
        Self { is_passing: true, ..self }
    }
}

/// The known word that `word` was probably meant to be, or all of them.
pub(crate) fn nearest(word: &str, known: &[&str]) -> String {
    let best = known.iter().map(|k| (strsim::jaro_winkler(word, k), *k)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, known)) if score > 0.75 => format!("did you mean `{known}`?"),
        _ => format!("known are {}", list(known)),
    }
}

/// Names in backticks, with commas.
pub(crate) fn list<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
