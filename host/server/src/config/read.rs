//! Merging: file, then environment, then flags.

use std::collections::BTreeMap;
use std::io;

use config::{Config, File, FileFormat, Value, ValueKind};

use super::tree::Tree;
use super::{Environment, Flags, Source};
use crate::files::open_regular;
use crate::problem::Problem;

/// How the names of the gateway's own variables begin.
const PREFIX: &str = "KEYGATE__";

/// Lists: a variable cannot say which entry it means.
const LISTS: &[&str] = &[
    "instances",
    "crypto_instances",
    "secrets",
    "tokens",
    "plugins",
    "backends",
    "trusted_keys",
    "iam.identities",
    "policy.chain",
    "server.trusted_proxies",
];

/// Reads and merges. `None` if there is nothing to go on with.
pub(super) fn read(
    source: &Source,
    environment: &Environment,
    flags: &Flags,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let mut variables = BTreeMap::new();
    let env = ours(environment, &mut variables, problems);
    let mut builder = Config::builder();
    builder = match source {
        Source::File(file) => match open_regular(file).and_then(io::read_to_string) {
            Ok(text) => match syntax(&text) {
                Ok(()) => builder.add_source(File::from_str(&text, FileFormat::Toml)),
                Err(error) => {
                    let mend = "correct the TOML at that place";
                    problems.push(Problem::new("config", format!("{}: {error}", file.display()), mend));
                    return None;
                }
            },
            Err(error) => {
                problems.push(Problem::new(
                    "config",
                    format!("{}: {error}", file.display()),
                    "name the configuration with --config, or try `keygate serve --dev`, which needs none",
                ));
                return None;
            }
        },
        Source::Made { tree, .. } => match Config::try_from(tree) {
            Ok(made) => builder.add_source(made),
            Err(error) => {
                problems.push(Problem::new("config", error.to_string(), "report this as a defect of Keygate"));
                return None;
            }
        },
    };
    builder = builder.add_source(
        // Not `try_parsing`: every variable stays text until the key it sets says what type it has. Otherwise an
        // account named 0123 would turn into the number 123.
        config::Environment::with_prefix("KEYGATE").prefix_separator("__").separator("__").source(Some(env)),
    );
    let listen = flags.listen.map(|address| address.to_string());
    let merged = builder.set_override_option("server.listen", listen).and_then(|b| b.build());
    match merged {
        Ok(merged) => match merged.cache.kind {
            ValueKind::Table(table) => {
                Some(Tree::new(table.into_iter().collect::<BTreeMap<String, Value>>(), variables))
            }
            _ => Some(Tree::new(BTreeMap::new(), variables)),
        },
        Err(_) => {
            let at = match source {
                Source::File(file) => file.display().to_string(),
                Source::Made { .. } => "dev mode".to_owned(),
            };
            // Without the error's own words: they may quote what stands there.
            let problem = format!("{at}: file, environment and flags do not go together");
            problems.push(Problem::new(
                "config",
                problem,
                "see that no variable sets a key below one that is no table",
            ));
            None
        }
    }
}

/// Whether it is TOML; where it is not, in words without the line itself, which may hold a secret.
fn syntax(text: &str) -> Result<(), String> {
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Err(format!("line {line}, column {column}: {}", error.message()))
}

/// The variables that are the gateway's. Those that cannot be meant are problems; those that name an unknown key are
/// found with the keys of the file.
fn ours(
    environment: &Environment,
    variables: &mut BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> config::Map<String, String> {
    let mut taken = config::Map::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            // `KEYGATE__` in another case, or `Keygate__`, is most likely a slip too.
            if name.to_ascii_uppercase().starts_with(PREFIX) {
                problems.push(Problem::new(
                    "config",
                    format!("the environment variable {name} is not in capitals"),
                    format!("write {}", name.to_ascii_uppercase()),
                ));
            }
            continue;
        };
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() < 2 || !parts.iter().all(|part| word(part)) || rest.bytes().any(|b| b.is_ascii_lowercase()) {
            problems.push(Problem::new(
                "config",
                format!("the environment variable {name} names no key"),
                "write KEYGATE__SECTION__KEY in capitals, such as KEYGATE__LIMITS__ROTATE_INTERVAL",
            ));
            continue;
        }
        let list = LISTS.iter().find(|l| path == **l || path.starts_with(&format!("{l}.")));
        if let Some(list) = list {
            problems.push(Problem::at(
                path.clone(),
                format!("the environment variable {name} would set a part of a list"),
                format!("set `{list}` in the configuration file"),
            ));
            continue;
        }
        variables.insert(path, name.clone());
        taken.insert(name.clone(), value.clone());
    }
    taken
}
