//! Looks a compiled component through: what it wants of the host, and what it was built for.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::load_error;
use crate::contract::{BackendContract, Contract, RuleContract};
use crate::host::{CAPABILITIES, VERSION};
use crate::load_error::{LoadError, LoadStep, list};
use crate::manifest::World;
use crate::sandbox::Facts;

/// The mend of what only the plugin's author can mend.
pub(super) const REBUILD: &str = "build the plugin again from the WIT files of this gateway's version";

/// Checks imports against grants, and versions against what this host knows. Finds everything at once.
pub(super) fn check<C: Contract>(engine: &Engine, facts: &Facts, component: &Component) -> Result<(), Vec<LoadError>> {
    let ty = component.component_type();
    let mut errors = Vec::new();
    for (name, import) in ty.imports(engine) {
        if wants_something(engine, &import.ty) {
            errors.extend(import_error(facts, name));
        }
    }
    let exports: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
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

fn import_error(facts: &Facts, name: &str) -> Option<LoadError> {
    let (interface, version) = split(name);
    let capability = interface.strip_prefix("keygate:host/");
    let Some(capability) = capability.filter(|c| CAPABILITIES.contains(c) || *c == "pkcs11") else {
        let mend = if interface.starts_with("wasi:") {
            "build it for wasm32-unknown-unknown, without WASI"
        } else {
            "take the import out of the plugin"
        };
        let offered = list(CAPABILITIES.map(|c| format!("keygate:host/{c}@{VERSION}")));
        let problem = format!("it imports `{name}`, which this gateway does not offer; offered are {offered}");
        return Some(load_error(facts, LoadStep::Imports, problem, mend));
    };
    if facts.grants.has(capability) {
        return version_error(facts, "imports", interface, version, VERSION);
    }
    let problem = format!("it imports `{name}`, which its entry does not grant");
    let world = facts.world.as_str();
    let mend = match capability {
        "pkcs11" => "use a version of the gateway that can grant `pkcs11`; this one cannot".to_owned(),
        _ if !facts.world.grantable().contains(&capability) => {
            format!("take the import out of the plugin; a plugin of world `{world}` cannot be granted it")
        }
        "secrets" => "add `secrets = [\"NAME\"]` to its grants, if it should have it".to_owned(),
        other => format!("add `{other} = true` to its grants, if it should have it"),
    };
    Some(load_error(facts, LoadStep::Imports, problem, &mend))
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
    let asked = if version.is_empty() { "no version".to_owned() } else { format!("version {version}") };
    let problem = format!("it {verb} `{interface}` in {asked}; this gateway has version {offered}");
    Some(load_error(facts, LoadStep::Version, problem, REBUILD))
}

/// Whether one version can stand for another: before 1.0.0 the first two numbers are the same.
fn compatible(version: &str, offered: &str) -> bool {
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
fn split(name: &str) -> (&str, &str) {
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
