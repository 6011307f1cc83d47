//! Looks a compiled component through: what it wants of the host, and what it was built for.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::load_error;
use crate::contract::{BackendContract, Contract, RuleContract};
use crate::host::{CAPABILITIES, VERSION, wasi};
use crate::load_error::{LoadError, LoadStep, list};
use crate::manifest::{Grants, World};
use crate::sandbox::Facts;

/// The mend of WASI without its grant.
const WASI_MEND: &str = "build it without WASI (Rust: for wasm32-unknown-unknown), or, where its language needs it, add `wasi-minimal = true` \
     to its grants";

/// The mend of what only the plugin's author can mend.
pub(crate) const REBUILD: &str = "build the plugin again from the WIT files of this gateway's version";

/// Checks imports against grants, and versions against what this host knows. Finds everything at once.
pub(super) fn check<C: Contract>(engine: &Engine, facts: &Facts, component: &Component) -> Result<(), Vec<LoadError>> {
    let ty = component.component_type();
    let wanted = ty.imports(engine).filter(|(_, import)| wants_something(engine, &import.ty)).map(|(name, _)| name);
    // Toolchains put WASI in by the dozen: they are one thing to be granted, and one error.
    let (wasi, other): (Vec<&str>, Vec<&str>) = wanted.partition(|name| wasi::interface(name).is_some());
    let mut errors: Vec<LoadError> = other.into_iter().filter_map(|name| import_error(facts, name)).collect();
    if let Some(first) = wasi.first().filter(|_| !facts.grants.has(wasi::GRANT)) {
        errors.push(load_error(facts, LoadStep::Imports, ungranted_wasi(first, wasi.len()), WASI_MEND));
    }
    // A component that a snapshot is to be taken of has something more, put there for that.
    let exports = ty.exports(engine).map(|(name, _)| name).filter(|name| !name.starts_with("wasmtime:"));
    let exports: Vec<String> = exports.map(str::to_owned).collect();
    errors.extend(export_error::<C>(facts, &exports));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Types are only named by an import; functions and resources have to come from somewhere.
fn wants_something(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => false,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, item)| wants_something(engine, &item.ty))
        }
        _ => true,
    }
}

fn ungranted_wasi(first: &str, count: usize) -> String {
    match count {
        1 => format!("it imports `{first}`, which its entry does not grant"),
        _ => format!("it imports `{first}` and {} more interfaces of WASI, which its entry does not grant", count - 1),
    }
}

fn import_error(facts: &Facts, name: &str) -> Option<LoadError> {
    let (step, problem, mend) = import_problem(facts.world, &facts.grants, name)?;
    Some(load_error(facts, step, problem, &mend))
}

/// The capability of this name.
pub(crate) fn capability(name: &str) -> Option<&'static str> {
    CAPABILITIES.into_iter().find(|capability| *capability == name)
}

/// What is wrong with an import, and its mend.
pub(crate) fn import_problem(world: World, grants: &Grants, name: &str) -> Option<(LoadStep, String, String)> {
    let (interface, version) = split(name);
    if interface.starts_with("wasi:") {
        if wasi::interface(name).is_some() && grants.has(wasi::GRANT) {
            return None;
        }
        let problem = format!("it imports `{name}`; of WASI, this gateway has the versions 0.2.x");
        return Some((LoadStep::Version, problem, "build it for WASI 0.2, or without WASI".to_owned()));
    }
    let Some(capability) = interface.strip_prefix("keygate:host/").and_then(capability) else {
        let offered = list(CAPABILITIES.map(|c| format!("keygate:host/{c}@{VERSION}")));
        let problem = format!("it imports `{name}`, which this gateway does not offer; offered are {offered}");
        return Some((LoadStep::Imports, problem, "take the import out of the plugin".to_owned()));
    };
    if !compatible(version, VERSION) {
        let problem = other_version("imports", interface, version, VERSION);
        return Some((LoadStep::Version, problem, REBUILD.to_owned()));
    }
    let mend = match capability {
        _ if !world.grantable().contains(&capability) => {
            format!("take the import out of the plugin; a plugin of world `{}` cannot be granted it", world.as_str())
        }
        _ if grants.has(capability) => return None,
        "secrets" => "add `secrets = [\"NAME\"]` to its grants, if it should have it".to_owned(),
        "pkcs11" => "add `pkcs11 = [\"TOKEN\"]` to its grants, if it should have it".to_owned(),
        other => format!("add `{other} = true` to its grants, if it should have it"),
    };
    Some((LoadStep::Imports, format!("it imports `{name}`, which its entry does not grant"), mend))
}

fn export_error<C: Contract>(facts: &Facts, exports: &[String]) -> Option<LoadError> {
    let of = |interface: &str| exports.iter().map(|name| split(name)).find(|(name, _)| *name == interface);
    if let Some((interface, version)) = of(C::EXPORT) {
        return version_error(facts, "exports", interface, version, C::VERSION);
    }
    let (wanted, world) = (format!("{}@{}", C::EXPORT, C::VERSION), facts.world.as_str());
    let problem =
        format!("it does not export `{wanted}`, as a plugin of world `{world}` must; it exports {}", list(exports));
    let mend = match (of(BackendContract::EXPORT), of(RuleContract::EXPORT)) {
        (Some(_), _) => format!("set `world = \"{}\"`", World::SoftwareBackend.as_str()),
        (_, Some(_)) => format!("set `world = \"{}\"`", World::PolicyRule.as_str()),
        _ => format!("build it for the world `{world}`"),
    };
    Some(load_error(facts, LoadStep::Version, problem, &mend))
}

fn version_error(facts: &Facts, verb: &str, interface: &str, version: &str, offered: &str) -> Option<LoadError> {
    if compatible(version, offered) {
        return None;
    }
    Some(load_error(facts, LoadStep::Version, other_version(verb, interface, version, offered), REBUILD))
}

/// That an interface is wanted in a version that does not fit the one there is.
pub(crate) fn other_version(verb: &str, interface: &str, version: &str, offered: &str) -> String {
    let asked = if version.is_empty() { "no version".to_owned() } else { format!("version {version}") };
    format!("it {verb} `{interface}` in {asked}; this gateway has version {offered}")
}

/// Whether one version can stand for another: before 1.0.0 the first two numbers are the same.
pub(crate) fn compatible(version: &str, offered: &str) -> bool {
    let parts = |text: &str| {
        let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
        numbers.and_then(|numbers| <[u64; 3]>::try_from(numbers).ok())
    };
    match (parts(version), parts(offered)) {
        (Some([0, minor, _]), Some([0, offered, _])) => minor == offered,
        (Some([major, ..]), Some([offered, ..])) => major == offered,
        _ => false,
    }
}

/// `package:name/interface@version` in its two halves.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// A component that does not compile.
pub(super) fn uncompiled(facts: &Facts, why: &str) -> LoadError {
    load_error(facts, LoadStep::Compile, why, "build it again, without WebAssembly features that this gateway has not")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_one_are_compatible_in_their_last_number() {
        assert!(compatible("0.1.0", "0.1.0"));
        assert!(compatible("0.1.7", "0.1.0"));
        assert!(!compatible("0.2.0", "0.1.0"));
        assert!(!compatible("1.1.0", "0.1.0"));
        assert!(compatible("1.4.0", "1.2.3"));
        for odd in ["", "0.1", "0.1.0-rc", "x"] {
            assert!(!compatible(odd, "0.1.0"), "{odd:?}");
        }
    }
}
