//! What is wrong with a configuration, in a form that a person can act on and a machine can read.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong, where, and how to mend it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The plugin it is about, where it is about one.
    pub plugin: Option<String>,
    /// The step at which it showed: `config`, `secrets`, `store`, or a step of loading a plugin.
    pub step: String,
    /// The full path of the key in the configuration, such as `iam.identities[2].roles[0].instance`, where known.
    pub at: Option<Box<str>>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
    /// Whether it may be gone in a moment, with nothing changed: something was busy, or away.
    #[serde(skip)]
    pub is_passing: bool,
}

impl Problem {
    /// A problem that belongs to no plugin.
    pub fn new(step: &str, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        let (problem, mend) = (problem.into(), mend.into());
        Self { plugin: None, step: step.to_owned(), at: None, problem, mend, is_passing: false }
    }

    /// A problem with the value at this path of the configuration.
    pub fn at(path: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { at: Some(path.into().into_boxed_str()), ..Self::new("config", problem, mend) }
    }

    /// The same, at another step.
    #[must_use]
    pub fn in_step(mut self, step: &str) -> Self {
        step.clone_into(&mut self.step);
        self
    }

    /// The same, that may be gone in a moment.
    #[must_use]
    pub fn passing(self) -> Self {
        Self { is_passing: true, ..self }
    }

    /// The same, about this plugin.
    #[must_use]
    pub fn of_plugin(mut self, plugin: impl Into<String>) -> Self {
        self.plugin = Some(plugin.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plugin) = &self.plugin {
            write!(f, "plugin `{plugin}`, ")?;
        }
        write!(f, "step {}: ", self.step)?;
        if let Some(at) = &self.at {
            write!(f, "`{at}`: ")?;
        }
        write!(f, "{}\n    mend: {}", self.problem, self.mend)
    }
}

/// At least one problem, as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "1 problem")?,
            n => writeln!(f, "{n} problems")?,
        }
        for problem in &self.0 {
            writeln!(f, "- {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// The name in `known` that is nearest to `given`, if any is near enough to be what was meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given, &name.to_ascii_lowercase()), name))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named_and_a_far_one_is_not() {
        let known = ["rotate_interval", "restore_wait", "restore_window"];
        assert_eq!(nearest("rotat_interval", known), Some("rotate_interval"));
        assert_eq!(nearest("Restore_Windo", known), Some("restore_window"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn a_problem_reads_as_plugin_step_place_and_mend() {
        let problem = Problem::at("plugins[0].file", "there is no such file", "build it").in_step("read");
        assert_eq!(
            problem.of_plugin("aes").to_string(),
            "plugin `aes`, step read: `plugins[0].file`: there is no such file\n    mend: build it"
        );
    }
}
