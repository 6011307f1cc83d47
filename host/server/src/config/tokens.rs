//! `[[tokens]]`: PKCS#11 tokens that plugins can be granted under a name. Only where a PIN is; it is read at each login.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keygate_pkcs11::{BreakerConfig, Find, PinSource, TokenConfig};
use serde::Deserialize;

use super::duration::Span;
use super::resolve;
use super::tree::Tree;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    module: PathBuf,
    #[serde(default)]
    module_parameters: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    serial: Option<String>,
    #[serde(default)]
    pin_file: Option<PathBuf>,
    #[serde(default)]
    pin_env: Option<String>,
    #[serde(default)]
    sessions: Option<usize>,
    #[serde(default)]
    queue: Option<usize>,
    #[serde(default)]
    hang: Option<Span>,
    #[serde(default)]
    hang_generating: Option<Span>,
    #[serde(default)]
    written_off: Option<usize>,
    #[serde(default)]
    handles: Option<usize>,
    #[serde(default)]
    unwrapped: Option<usize>,
    #[serde(default)]
    label_prefix: Option<String>,
    #[serde(default)]
    breaker: Breaker,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Breaker {
    failures: Option<u32>,
    open_for: Option<Span>,
    open_at_most: Option<Span>,
    slow: Option<Span>,
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> Vec<TokenConfig> {
    let mut names = BTreeSet::new();
    let mut tokens = Vec::new();
    for (i, entry) in tree.list::<Entry>("tokens").into_iter().enumerate() {
        let Some(entry) = entry else { continue };
        let path = format!("tokens[{i}]");
        if !names.insert(entry.name.clone()) {
            let problem = format!("another token is named `{}`", entry.name);
            tree.problem(format!("{path}.name"), problem, "give each token a name of its own");
            continue;
        }
        let (find, pin) = (find(tree, &path, &entry), pin(tree, &path, base, &entry));
        let (Some(find), Some(pin)) = (find, pin) else { continue };
        let token = token(entry, find, pin);
        match token.check() {
            Ok(()) => tokens.push(token),
            Err(error) => tree.problem(path, error.to_string(), "correct it; plugins.toml explains each key"),
        }
    }
    tokens
}

/// By what a token is found.
fn find(tree: &mut Tree, path: &str, entry: &Entry) -> Option<Find> {
    match (&entry.label, &entry.serial) {
        (Some(label), None) => Some(Find::Label(label.clone())),
        (None, Some(serial)) => Some(Find::Serial(serial.clone())),
        _ => {
            let mend = "set exactly one of `label` and `serial`; `pkcs11-tool --list-slots` shows both";
            tree.problem(path, "it must be said once which of the module's tokens this is", mend);
            None
        }
    }
}

/// Where its PIN is.
fn pin(tree: &mut Tree, path: &str, base: &Path, entry: &Entry) -> Option<PinSource> {
    match (&entry.pin_file, &entry.pin_env) {
        (Some(file), None) => Some(PinSource::File(resolve(base, file))),
        (None, Some(name)) => Some(PinSource::Environment(name.clone())),
        _ => {
            let mend = "set exactly one of `pin_file` and `pin_env`";
            tree.problem(path, "it must be said once where the token's PIN is", mend);
            None
        }
    }
}

fn token(entry: Entry, find: Find, pin: PinSource) -> TokenConfig {
    let default = TokenConfig::new(entry.name, entry.module, find, pin);
    let breaker = BreakerConfig::default();
    TokenConfig {
        module_parameters: entry.module_parameters,
        sessions: entry.sessions.unwrap_or(default.sessions),
        queue: entry.queue.unwrap_or(default.queue),
        hang: entry.hang.map_or(default.hang, |span| span.0),
        hang_generating: entry.hang_generating.map_or(default.hang_generating, |span| span.0),
        written_off: entry.written_off.unwrap_or(default.written_off),
        handles: entry.handles.unwrap_or(default.handles),
        unwrapped: entry.unwrapped.unwrap_or(default.unwrapped),
        label_prefix: entry.label_prefix.unwrap_or(default.label_prefix),
        breaker: BreakerConfig {
            failures: entry.breaker.failures.unwrap_or(breaker.failures),
            open_for: entry.breaker.open_for.map_or(breaker.open_for, |span| span.0),
            open_at_most: entry.breaker.open_at_most.map_or(breaker.open_at_most, |span| span.0),
            slow: entry.breaker.slow.map_or(breaker.slow, |span| span.0),
        },
        ..TokenConfig::new(default.name, default.module, default.find, default.pin)
    }
}
