//! The tree that file, environment and flags were merged into, taken apart section by section. Each piece is read by
//! serde into a struct that denies unknown fields; what serde complains of is noted, taken out, and the piece is read
//! again, so that one run finds everything.

use std::collections::{BTreeMap, BTreeSet};

use config::{ConfigError, Value, ValueKind};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::problem::{Problem, nearest};

/// So many problems of one piece are enough for one run.
const MOST: usize = 100;

/// The merged configuration, and what is wrong with it so far.
pub(super) struct Tree {
    table: BTreeMap<String, Value>,
    /// Which paths came from which variable of the environment.
    variables: BTreeMap<String, String>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Tree {
    pub(super) fn new(table: BTreeMap<String, Value>, variables: BTreeMap<String, String>) -> Self {
        Self { table, variables, known: Vec::new(), problems: Vec::new() }
    }

    /// Notes a problem with the value at a path.
    pub(super) fn problem(&mut self, path: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) {
        let path = path.into();
        let mut problem: String = problem.into();
        if let Some(variable) = self.variables.get(&path) {
            problem = format!("{problem} (set by the environment variable {variable})");
        }
        self.problems.push(Problem::at(path, problem, mend));
    }

    /// The `name`s of a list's entries.
    pub(super) fn names(&self, list: &str) -> BTreeSet<String> {
        self.texts(list, "name")
    }

    /// What a list's entries have under this key, where it is a text.
    pub(super) fn texts(&self, list: &str, key: &str) -> BTreeSet<String> {
        let Some(ValueKind::Array(entries)) = self.table.get(list).map(|v| &v.kind) else { return BTreeSet::new() };
        let text = |entry: &Value| match &entry.kind {
            ValueKind::Table(table) => table.get(key)?.clone().into_string().ok(),
            _ => None,
        };
        entries.iter().filter_map(text).collect()
    }

    /// Takes a section out. An absent one is read as an empty table.
    pub(super) fn section<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        let value = self.take(name).unwrap_or_else(|| Value::new(None, ValueKind::Table(Default::default())));
        self.read(name, value).unwrap_or_default()
    }

    /// Takes a list out; `None` for each entry that cannot be read, so that those after it keep their index.
    pub(super) fn list<T: DeserializeOwned>(&mut self, name: &'static str) -> Vec<Option<T>> {
        let value = self.take(name);
        self.entries(name, value)
    }

    /// The same of a list inside a section. Before the section itself is taken.
    pub(super) fn inner_list<T: DeserializeOwned>(&mut self, section: &str, name: &str) -> Vec<Option<T>> {
        let value = match self.table.get_mut(section).map(|v| &mut v.kind) {
            Some(ValueKind::Table(table)) => table.remove(name),
            _ => None,
        };
        self.entries(&format!("{section}.{name}"), value)
    }

    /// Takes a list out as it is, for somebody else to read.
    pub(super) fn raw_list(&mut self, name: &'static str) -> Vec<serde_json::Value> {
        match self.take(name).map(|v| v.kind) {
            None => Vec::new(),
            Some(ValueKind::Array(entries)) => entries.into_iter().map(json).collect(),
            Some(_) => {
                self.not_a_list(name);
                Vec::new()
            }
        }
    }

    /// All problems, those of sections that nobody knows included.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for name in left {
            let known = std::mem::take(&mut self.known);
            // A variable names a key below the section that is unknown: name that one.
            let below = format!("{name}.");
            let path = self.variables.keys().find(|p| p.starts_with(&below)).cloned().unwrap_or_else(|| name.clone());
            let mend = mend_unknown(&name, &known);
            self.problem(path, format!("there is no section `{name}`"), mend);
            self.known = known;
        }
        self.problems
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.table.remove(name)
    }

    fn not_a_list(&mut self, path: &str) {
        self.problem(path, "this is not a list", format!("write each entry under a heading of its own: [[{path}]]"));
    }

    fn entries<T: DeserializeOwned>(&mut self, path: &str, value: Option<Value>) -> Vec<Option<T>> {
        match value.map(|v| v.kind) {
            None => Vec::new(),
            Some(ValueKind::Array(entries)) => {
                entries.into_iter().enumerate().map(|(i, entry)| self.read(&format!("{path}[{i}]"), entry)).collect()
            }
            Some(_) => {
                self.not_a_list(path);
                Vec::new()
            }
        }
    }

    /// Reads one piece. What is wrong with it is noted and taken out until the rest can be read, or too little is left.
    fn read<T: DeserializeOwned>(&mut self, prefix: &str, mut value: Value) -> Option<T> {
        let mut taken_out = BTreeSet::new();
        for _ in 0..MOST {
            let error = match serde_path_to_error::deserialize(value.clone()) {
                // Where some of it was wrong, the rest is still worth looking at: it may be wrong as well.
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let path = error.path().clone();
            let full = join(prefix, &path);
            match innermost(error.into_inner()) {
                ConfigError::NotFound(field) => {
                    // `field` may carry the path to itself in front.
                    let field = field.rsplit('.').next().unwrap_or_default().to_owned();
                    let missing = format!("{full}.{field}");
                    if !taken_out.contains(&missing) {
                        self.problem(&missing, "this key is missing", format!("set `{field}` in `{full}`"));
                    }
                    return None;
                }
                error => {
                    let (problem, mend) = explain(&error, &full);
                    self.problem(&full, problem, mend);
                }
            }
            taken_out.insert(full);
            if !take_out(&mut value, &path) {
                return None;
            }
        }
        None
    }
}

/// The error itself, without the places it passed on its way out: the path has those already.
fn innermost(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::At { error, .. } => innermost(*error),
        error => error,
    }
}

/// What is wrong, without the value that is: a key or a passphrase may have been pasted there.
fn explain(error: &ConfigError, path: &str) -> (String, String) {
    match error {
        ConfigError::Type { unexpected, expected, .. } => {
            (format!("{} is not {expected}", kind_of(unexpected)), format!("give `{path}` {expected}"))
        }
        ConfigError::Message(message) => match unknown_field(message) {
            Some((field, known)) => (format!("there is no key `{field}` here"), mend_unknown(field, &known)),
            None => (without_value(message), format!("correct `{path}`")),
        },
        _ => (without_value(""), format!("correct `{path}`")),
    }
}

/// What it is: the words before the value itself.
fn kind_of(unexpected: &impl std::fmt::Display) -> String {
    let text = unexpected.to_string();
    format!("this {}", text.split(['`', '"']).next().unwrap_or_default().trim())
}

/// Messages are serde's, which quote the value before what was expected, or those of a few types, which do not.
fn without_value(message: &str) -> String {
    const UNQUOTED: [&str; 3] = ["this duration ", "this is no duration", "invalid socket address"];
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("this is not {expected}"),
        None if UNQUOTED.iter().any(|start| message.starts_with(start)) => message.to_owned(),
        None => "this value cannot be what this key needs".to_owned(),
    }
}

/// Reads serde's own words: "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((field, known))
}

fn mend_unknown(field: &str, known: &[&str]) -> String {
    let mut sorted = known.to_vec();
    sorted.sort_unstable();
    let all = if sorted.is_empty() { "no keys at all".to_owned() } else { sorted.join(", ") };
    match nearest(field, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? (known here: {all})"),
        None => format!("remove it (known here: {all})"),
    }
}

fn join(prefix: &str, path: &Path) -> String {
    let mut full = prefix.to_owned();
    for segment in path {
        match segment {
            Segment::Seq { index } => full.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                full.push('.');
                full.push_str(key);
            }
            Segment::Unknown => full.push_str(".?"),
        }
    }
    full
}

/// Removes what is at the path. Only keys of tables: an entry of a list would change the index of those after it.
fn take_out(value: &mut Value, path: &Path) -> bool {
    let mut segments = path.iter().peekable();
    let mut here = value;
    while let Some(segment) = segments.next() {
        let next = match (segment, &mut here.kind) {
            (Segment::Map { key }, ValueKind::Table(table)) if segments.peek().is_none() => {
                return table.remove(key).is_some();
            }
            (Segment::Map { key }, ValueKind::Table(table)) => table.get_mut(key),
            (Segment::Seq { index }, ValueKind::Array(array)) => array.get_mut(*index),
            _ => None,
        };
        match next {
            Some(next) => here = next,
            None => return false,
        }
    }
    false
}

/// The same value for those who do not know the `config` crate.
fn json(value: Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(b) => Json::Bool(b),
        ValueKind::I64(n) => n.into(),
        ValueKind::U64(n) => n.into(),
        ValueKind::I128(n) => i64::try_from(n).map_or(Json::Null, Json::from),
        ValueKind::U128(n) => u64::try_from(n).map_or(Json::Null, Json::from),
        ValueKind::Float(f) => f.into(),
        ValueKind::String(s) => Json::String(s),
        ValueKind::Array(a) => a.into_iter().map(json).collect(),
        ValueKind::Table(t) => t.into_iter().map(|(k, v)| (k, json(v))).collect(),
    }
}
