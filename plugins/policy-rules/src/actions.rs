//! The actions: what each is about, and which groups it is in.

use std::fmt::Write as _;

/// What requests of an action are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// A key.
    Key,
    /// A ring, where the request names one, or else the instance.
    Place,
    /// Any of these.
    Either,
}

use About::{Either, Key, Place};

/// The actions, what they are about, and their groups beside the family (`kms.secrets.*`), which all have.
pub(crate) const ACTIONS: &[(&str, About, &[&str])] = &[
    // About the gateway and no instance, so in no group that an instance's managers may be permitted.
    ("keygate.authorizations.create", Place, &[]),
    ("keygate.authorizations.delete", Place, &[]),
    ("keygate.authorizations.list", Place, &[]),
    ("keygate.backends.list", Place, &[]),
    ("keygate.backends.migrate", Place, &[]),
    ("keygate.backends.migration.read", Place, &[]),
    ("keygate.backends.migration.stop", Place, &[]),
    ("keygate.crypto-instances.list", Place, &[]),
    ("keygate.crypto-instances.read", Place, &[]),
    ("keygate.instances.bind", Place, &[]),
    ("keygate.instances.create", Place, &[]),
    ("keygate.instances.delete", Place, &[]),
    ("keygate.instances.list", Place, &[]),
    ("keygate.instances.read", Place, &[]),
    ("keygate.plugins.reload", Place, &[]),
    ("kms.events.list", Place, &["view"]),
    ("kms.importtoken.create", Place, &["create", "manage"]),
    ("kms.importtoken.read", Place, &["view"]),
    ("kms.instance.readallowedipport", Place, &["view"]),
    ("kms.instancepolicies.read", Place, &["view"]),
    ("kms.instancepolicies.write", Place, &["manage"]),
    ("kms.keyrings.create", Place, &["manage"]),
    ("kms.keyrings.delete", Place, &["manage"]),
    ("kms.keyrings.list", Place, &["view"]),
    ("kms.kmip-management.create", Place, &["manage"]),
    ("kms.kmip-management.delete", Place, &["manage"]),
    ("kms.kmip-management.list", Place, &["view"]),
    ("kms.kmip-management.read", Place, &["view"]),
    ("kms.policies.read", Key, &["view"]),
    ("kms.policies.write", Key, &["manage"]),
    ("kms.registrations.create", Key, &["register"]),
    ("kms.registrations.delete", Key, &["register"]),
    ("kms.registrations.list", Either, &["view"]),
    ("kms.registrations.merge", Key, &["register"]),
    ("kms.registrations.write", Key, &["register"]),
    ("kms.secrets-with-policy-overrides.create", Place, &["create", "manage"]),
    ("kms.secrets.create", Place, &["create", "manage"]),
    ("kms.secrets.createalias", Key, &["manage"]),
    ("kms.secrets.delete", Key, &["delete", "manage"]),
    ("kms.secrets.deletealias", Key, &["manage"]),
    ("kms.secrets.disable", Key, &["manage"]),
    ("kms.secrets.enable", Key, &["manage"]),
    ("kms.secrets.eventack", Place, &["register"]),
    ("kms.secrets.head", Place, &["view"]),
    ("kms.secrets.list", Place, &["view"]),
    ("kms.secrets.listkeyversions", Key, &["view"]),
    ("kms.secrets.patch", Key, &["manage"]),
    ("kms.secrets.purge", Key, &["delete", "manage"]),
    ("kms.secrets.read", Key, &["export"]),
    ("kms.secrets.readmetadata", Key, &["view"]),
    ("kms.secrets.restore", Key, &["manage"]),
    ("kms.secrets.rewrap", Key, &["use"]),
    ("kms.secrets.rotate", Key, &["manage"]),
    ("kms.secrets.setkeyfordeletion", Key, &["delete", "manage"]),
    ("kms.secrets.sync", Key, &["manage"]),
    ("kms.secrets.unsetkeyfordeletion", Key, &["delete", "manage"]),
    ("kms.secrets.unwrap", Key, &["use"]),
    ("kms.secrets.wrap", Key, &["use"]),
];

/// What reaches into every ring where the request names none.
const ACROSS_RINGS: [&str; 5] =
    ["kms.events.list", "kms.registrations.list", "kms.secrets.eventack", "kms.secrets.head", "kms.secrets.list"];

/// Whether a request of this action that names no ring and no key is about what is in all of them.
pub(crate) fn is_across_rings(action: &str) -> bool {
    ACROSS_RINGS.contains(&action)
}

/// The groups that are not families.
const GROUPS: [&str; 7] = ["use", "export", "view", "create", "delete", "manage", "register"];

/// The types, and nothing that actions have to do with.
const TYPES: &str = include_str!("schema.cedarschema");

/// The family of an action: `kms.secrets.*` of `kms.secrets.wrap`.
fn family(action: &str) -> String {
    format!("{}.*", action.rsplit_once('.').map_or(action, |(family, _)| family))
}

/// The groups of an action.
pub(crate) fn groups(row: &(&str, About, &[&str])) -> Vec<String> {
    row.2.iter().map(|group| (*group).to_owned()).chain([family(row.0)]).collect()
}

/// The whole schema, with the actions: the types, then the groups, then the actions.
pub(crate) fn schema() -> String {
    let mut text = TYPES.to_owned();
    let mut known: Vec<String> = GROUPS.map(str::to_owned).to_vec();
    known.extend(ACTIONS.iter().map(|row| family(row.0)));
    known.sort();
    known.dedup();
    for group in known {
        let _ = writeln!(text, "\naction \"{group}\";");
    }
    for row in ACTIONS {
        let resources = match row.1 {
            Key => "Key",
            Place => "[Ring, Instance]",
            Either => "[Key, Ring, Instance]",
        };
        let groups: Vec<String> = groups(row).iter().map(|group| format!("\"{group}\"")).collect();
        let _ = writeln!(
            text,
            "\naction \"{}\" in [{}] appliesTo {{ principal: [User, Service], resource: {resources}, context: Context }};",
            row.0,
            groups.join(", ")
        );
    }
    text
}
