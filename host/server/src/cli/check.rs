//! `keygate check`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use keygate_core::ports::{Clock, Entropy};
use keygate_runtime::Runtime;
use keygate_runtime::manifest::Manifest;
use keygate_store::{OpenError, RedbOptions, RedbStore};

use super::CheckArgs;
use crate::app::{audit_problem, hsm_tokens, manifest, runtime, signing_key_problem, store_problem};
use crate::audit::FileAudit;
use crate::config::{Config, Environment, Flags, RuntimeParams, Source, load};
use crate::files::PrivateFileError;
use crate::gaps;
use crate::iam::{SigningKey, SigningKeyError};
use crate::problem::{Problem, Problems};
use crate::system::{OsEntropy, SystemClock};

/// Checks a configuration and everything it names, and prints every problem. Makes no file.
pub(super) async fn check(args: &CheckArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let problems = problems(&args.config, environment).await;
    let mut out = io::stdout().lock();
    let ok = problems.is_empty();
    if args.json {
        writeln!(out, "{}", serde_json::json!({"ok": ok, "problems": problems}))?;
    } else if ok {
        writeln!(out, "{}: no problem", args.config.display())?;
    } else {
        write!(out, "{}: {}", args.config.display(), Problems(problems))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every problem that can be found in one run.
pub(super) async fn problems(file: &Path, environment: &Environment) -> Vec<Problem> {
    let loaded = load(&Source::File(file.to_owned()), environment, &Flags::default());
    let mut problems = loaded.problems;
    if let Some(config) = loaded.config {
        identities(&config, &mut problems);
        problems.extend(cache(&config));
        plugins(&config, &mut problems).await;
        problems.extend(signing_key(&config));
        problems.extend(store(&config));
        problems.extend(audit(&config));
    }
    problems
}

/// The roles that the built-in rule knows. Rules of one's own may know others.
const ROLES: [&str; 7] =
    ["Reader", "ReaderPlus", "Writer", "Manager", "KeyPurge", "KmipAdapterManager", "Administrator"];

/// Somebody must be there, and a role that is nearly one of the built-in ones is most likely meant to be it.
fn identities(config: &Config, problems: &mut Vec<Problem>) {
    let identities = &config.iam.identities;
    if identities.is_empty() && !problems.iter().any(|p| p.at.as_deref().is_some_and(|at| at.starts_with("iam."))) {
        let mend = "add an [[iam.identities]] entry, with a hash from `keygate iam new-key`";
        problems.push(Problem::at("iam.identities", "there is no identity, so nobody could do anything", mend));
    }
    for identity in identities {
        for role in identity.assignments.iter().flat_map(|assignment| &assignment.roles) {
            if let Some(near) = ROLES.iter().find(|known| is_slip(role, known)) {
                let problem = format!("`{}` has the role `{role}`, which gives nothing", identity.id);
                problems.push(Problem::at("iam.identities", problem, format!("did you mean `{near}`?")));
            }
        }
    }
}

/// Whether somebody who meant `known` may have written `given`: another case, or at most two letters.
fn is_slip(given: &str, known: &str) -> bool {
    let (given_lower, known_lower) = (given.to_ascii_lowercase(), known.to_ascii_lowercase());
    !ROLES.contains(&given) && strsim::damerau_levenshtein(&given_lower, &known_lower) <= 2
}

/// A cache directory that is there must be the gateway's own. One that is not is made with mode 0700.
fn cache(config: &Config) -> Option<Problem> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = config.runtime.cache_dir.as_ref()?;
    let at = "runtime.cache_dir";
    let (problem, mend) = match std::fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return self::directory("cache", at, directory);
        }
        Err(error) => (error.to_string(), "let the gateway's user read and write it".to_owned()),
        Ok(found) if !found.is_dir() => ("it is not a directory".to_owned(), "name a directory".to_owned()),
        Ok(found) if found.mode() & 0o022 != 0 => {
            let problem = format!("others can write to it (mode {:04o})", found.mode() & 0o7777);
            (problem, format!("chmod 700 {}", directory.display()))
        }
        Ok(_) => return None,
    };
    Some(Problem::at(at, format!("{}: {problem}", directory.display()), mend).in_step("cache"))
}

/// Secrets, tokens and plugins: loading them includes their known-answer probes.
async fn plugins(config: &Config, problems: &mut Vec<Problem>) {
    // Without the cache: it would be made by whoever checks, and might then not be the gateway's user's.
    let uncached = RuntimeParams { cache_dir: None, ..config.runtime.clone() };
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let (hsm, found) = hsm_tokens(config, &clock, &entropy).await;
    problems.extend(found);
    problems.extend(hsm.connect().await);
    let runtime = runtime(&Config { runtime: uncached, ..config.clone() }, &hsm, problems);
    let (manifest, mut found) = manifest(config);
    problems.append(&mut found);
    if let Some(runtime) = runtime {
        load_and_probe(&runtime, &manifest, config, problems).await;
    }
    // A module does not survive a call under its exit handlers.
    let _ = tokio::task::spawn_blocking(move || hsm.stop()).await;
}

async fn load_and_probe(runtime: &Runtime, manifest: &Manifest, config: &Config, problems: &mut Vec<Problem>) {
    match runtime.load(manifest).await {
        Err(errors) => problems.extend(errors.into_iter().map(Problem::from)),
        Ok(generation) => {
            gaps::warn(manifest, &config.instances);
            runtime.activate(generation);
            for (backend, answer) in runtime.probe().await {
                if let Err(error) = answer {
                    let mend = "see that what the backend needs (secrets, tokens) is there and is what it was";
                    problems.push(Problem::new("probe", error.to_string(), mend).of_plugin(backend));
                }
            }
        }
    }
}

/// A signing key that is there must be usable; one that is not will be made, so its directory must be there.
fn signing_key(config: &Config) -> Option<Problem> {
    let file = &config.iam.signing_key_file;
    match SigningKey::open(file) {
        Ok(_) => None,
        Err(SigningKeyError::File(PrivateFileError::Missing(_))) => directory("iam", "iam.signing_key_file", file),
        Err(error) => Some(signing_key_problem(&error)),
    }
}

/// A store that is there must open. That somebody has it open is no problem: it is the gateway at work, most likely.
fn store(config: &Config) -> Option<Problem> {
    let file = &config.store.path;
    if !file.exists() {
        return directory("store", "store.path", file);
    }
    match RedbStore::open(file, RedbOptions::default()) {
        Ok(_) => None,
        Err(OpenError::InUse { holder, .. }) => {
            tracing::info!(%holder, "the store is in use, so it was not opened");
            None
        }
        Err(error) => Some(store_problem(&error)),
    }
}

/// An audit file that is there must be one that can be appended to.
fn audit(config: &Config) -> Option<Problem> {
    let file = &config.audit.file;
    match file.try_exists() {
        Ok(false) => directory("audit", "audit.file", file),
        _ => FileAudit::check(file).err().map(|error| audit_problem(config, &error)),
    }
}

/// Whether a file can be made: its directory must be there and let the gateway write.
fn directory(step: &str, at: &str, file: &Path) -> Option<Problem> {
    use rustix::fs::{Access, access};
    let directory = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let error = access(directory, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let problem = format!("{} cannot be made: {}: {error}", file.display(), directory.display());
    let mend = format!("make the directory {}, and let the gateway's user write there", directory.display());
    Some(Problem::at(at, problem, mend).in_step(step))
}

#[cfg(test)]
mod tests;
