use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use keygate_core::access::PrincipalKind;

use super::*;
use crate::config::{Config, Environment, Flags, load};

fn config(dev: &Dev, environment: &[(&str, &str)]) -> Config {
    let environment: Environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let loaded = load(&dev.source(), &environment, &Flags::default());
    assert_eq!(loaded.problems, []);
    loaded.config.unwrap()
}

#[test]
fn what_is_made_is_a_configuration_without_a_problem_and_limits_can_be_set() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::open(dir.path(), Path::new("/plugins")).unwrap();
    let config = config(&dev, &[("KEYGATE__LIMITS__ROTATE_INTERVAL", "1s")]);
    assert_eq!(config.limits.rotate_interval, Duration::from_secs(1));
    assert_eq!(config.instances.len(), 2);
    assert_eq!(config.rate_limit, 0, "no limit");
    assert!(config.server.private_listen.is_some_and(|address| address.ip().is_loopback() && address.port() == 0));
    assert_eq!(config.store.path, dir.path().join("keygate.redb"));
    let (secrets, problems) = crate::secrets::Secrets::load(&config.secrets, &config.environment);
    assert_eq!(problems, []);
    assert!(keygate_runtime::SecretSource::exists(&secrets, "kek"));
}

#[test]
fn a_rule_that_is_added_comes_last_in_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::open(dir.path(), Path::new("/plugins")).unwrap();
    let entry = json!({"name": "mine", "file": "/mine.wasm", "world": "policy-rule"});
    let config = config(&dev.with_rule(entry.clone()), &[]);
    assert_eq!(config.plugins.plugins.last(), Some(&entry));
    let chain: Vec<_> = config.plugins.chain.iter().map(|entry| entry.rule.as_str()).collect();
    assert_eq!(chain, ["access", "mine"]);
    assert_eq!(config.server.watch, Some(Duration::from_secs(1)));
}

#[test]
fn each_identity_has_its_roles_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::open(dir.path(), Path::new("/plugins")).unwrap();
    let [first, second] = *dev.instances();
    let config = config(&dev, &[]);
    let roles = |name: &str| {
        let identity = config.iam.identities.iter().find(|i| i.name.as_deref() == Some(name)).unwrap();
        let mut roles = Vec::new();
        for assignment in &identity.assignments {
            let number = match assignment.instance {
                None => 0,
                Some(instance) if instance == first => 1,
                Some(instance) => {
                    assert_eq!(instance, second);
                    2
                }
            };
            roles.push((assignment.roles.join("+"), number));
        }
        roles
    };
    let role = |role: &str, instance| (role.to_owned(), instance);
    assert_eq!(roles("manager"), [role("Manager", 1), role("Manager", 2)]);
    assert_eq!(roles("manager2"), [role("Manager+KeyPurge", 1), role("Manager+KeyPurge", 2)]);
    assert_eq!(roles("writer"), [role("Writer", 1)]);
    assert_eq!(roles("reader_plus"), [role("ReaderPlus", 1)]);
    assert_eq!(roles("reader"), [role("Reader", 1)]);
    assert_eq!(roles("nobody"), []);
    assert_eq!(roles("purger"), [role("KeyPurge", 1)]);
    assert_eq!(roles("administrator"), [role("Administrator", 0)]);
    assert_eq!(roles("service"), [role("Reader", 1)]);
    let service = config.iam.identities.last().unwrap();
    assert!(service.id.starts_with("iam-ServiceId-"));
    assert_eq!(service.kind, PrincipalKind::Service { name: "cloud-object-storage".to_owned() });
    for ((name, key), identity) in dev.keys().iter().zip(&config.iam.identities) {
        assert_eq!(identity.name.as_deref(), Some(*name));
        assert_eq!(identity.api_key_hashes, [key.hash()]);
    }
}

#[test]
fn a_directory_gives_the_same_keys_and_instances_again_and_another_gives_others() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |dir: &Path| {
        let dev = Dev::open(dir, Path::new("/plugins")).unwrap();
        let keys: Vec<_> = dev.keys().iter().map(|(_, key)| key.text().expose().to_owned()).collect();
        (*dev.instances(), keys)
    };
    let (first, again, other) = (open(here.path()), open(here.path()), open(there.path()));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    let mut all: Vec<_> = first.1.iter().chain(&other.1).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 18, "two identities have the same API key");
}

#[test]
fn no_api_key_is_kept_and_what_is_kept_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let dev = Dev::open(&data, Path::new("/plugins")).unwrap();
    assert_eq!(std::fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{path:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (name, key) in dev.keys() {
            assert!(!text.contains(key.text().expose()), "the key of {name} is in {path:?}");
        }
    }
    assert!(!dev.tree.to_string().contains("kg_"));
}

#[test]
fn plugins_are_found_together_or_the_places_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("bin/keygate");
    let place = dir.path().join("share/keygate/plugins");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::create_dir_all(exe.parent().unwrap()).unwrap();
    std::fs::write(place.join("access.wasm"), "").unwrap();
    let problem = find_plugins(Some("/nowhere"), Some(&exe)).unwrap_err();
    assert!(problem.problem.contains("/nowhere") && problem.problem.contains("share/keygate/plugins"), "{problem}");
    assert!(problem.mend.contains("cargo xtask plugins"));
    std::fs::write(place.join("aes-gcm.wasm"), "").unwrap();
    assert!(find_plugins(Some("/nowhere"), Some(&exe)).unwrap().ends_with("../share/keygate/plugins"));
    assert_eq!(find_plugins(place.to_str(), None).unwrap(), place);
}
