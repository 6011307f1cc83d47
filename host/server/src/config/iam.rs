//! `[iam]`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keygate_core::access::{PrincipalKind, RoleAssignment};
use keygate_core::ids::{InstanceId, KeyId, KeyRingId};
use serde::Deserialize;

use super::duration::Span;
use super::resolve;
use super::tree::Tree;
use crate::iam::ApiKeyHash;

/// Who there is, and how access tokens are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamParams {
    /// The `iss` of access tokens.
    pub issuer: String,
    /// How long an access token holds.
    pub token_lifetime: Duration,
    /// The key that signs access tokens: PKCS#8 in PEM, mode 0600. Made if it is not there.
    pub signing_key_file: PathBuf,
    /// Who there is.
    pub identities: Vec<IdentityParams>,
}

/// Somebody, or some service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityParams {
    /// The IAM id.
    pub id: String,
    /// What people call them.
    pub name: Option<String>,
    /// What kind.
    pub kind: PrincipalKind,
    /// The account.
    pub account: String,
    /// The hashes of their API keys.
    pub api_key_hashes: Vec<ApiKeyHash>,
    /// What they may do, as far as roles say.
    pub assignments: Vec<RoleAssignment>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    issuer: String,
    account: Option<String>,
    token_lifetime: Span,
    signing_key_file: PathBuf,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            issuer: "https://keygate.invalid/identity".to_owned(),
            account: None,
            token_lifetime: Span::secs(60 * 60),
            signing_key_file: "iam-signing-key.pem".into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    api_key_hashes: Vec<String>,
    #[serde(default)]
    roles: Vec<Assignment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    roles: Vec<String>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    key_ring: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

/// CORE, the SDKs' common part, refreshes a token at 80% of its life and gives it up 10 seconds early.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(120);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn read(tree: &mut Tree, base: &Path) -> IamParams {
    let identities = tree.inner_list::<Identity>("iam", "identities");
    let section: Section = tree.section("iam");
    if !(SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&section.token_lifetime.0) {
        tree.problem(
            "iam.token_lifetime",
            "the SDKs need at least 2 minutes, and what leaks should not hold for longer than a day",
            "give \"2m\" to \"24h\"",
        );
    }
    let mut checker = Checker { account: section.account, ids: BTreeSet::new(), hashes: BTreeMap::new() };
    let identities = identities
        .into_iter()
        .enumerate()
        .filter_map(|(i, identity)| checker.identity(tree, &format!("iam.identities[{i}]"), identity?))
        .collect();
    IamParams {
        issuer: section.issuer,
        token_lifetime: section.token_lifetime.0,
        signing_key_file: resolve(base, &section.signing_key_file),
        identities,
    }
}

struct Checker {
    account: Option<String>,
    ids: BTreeSet<String>,
    hashes: BTreeMap<String, String>,
}

impl Checker {
    fn identity(&mut self, tree: &mut Tree, path: &str, entry: Identity) -> Option<IdentityParams> {
        if entry.id.is_empty() || !self.ids.insert(entry.id.clone()) {
            let problem = format!("the id {:?} is empty, or another identity has it", entry.id);
            tree.problem(format!("{path}.id"), problem, "give each identity an id of its own");
            return None;
        }
        let kind = match (entry.kind.as_deref(), entry.service) {
            (None | Some("user"), None) => PrincipalKind::User,
            (Some("service"), Some(name)) => PrincipalKind::Service { name },
            (Some("service"), None) => {
                let mend = "name the service, such as service = \"cloud-object-storage\"";
                tree.problem(format!("{path}.service"), "this key is missing", mend);
                return None;
            }
            (None | Some("user"), Some(_)) => {
                let mend = "remove it, or set kind = \"service\"";
                tree.problem(format!("{path}.service"), "a user belongs to no service", mend);
                return None;
            }
            (Some(_), _) => {
                tree.problem(
                    format!("{path}.kind"),
                    "there is no such kind of identity",
                    "write \"user\" or \"service\"",
                );
                return None;
            }
        };
        let Some(account) = entry.account.or_else(|| self.account.clone()) else {
            tree.problem(format!("{path}.account"), "this key is missing", "set it here, or `iam.account` for all");
            return None;
        };
        let api_key_hashes = self.hashes(tree, path, &entry.id, &entry.api_key_hashes);
        let assignments = entry
            .roles
            .into_iter()
            .enumerate()
            .filter_map(|(i, assignment)| read_assignment(tree, &format!("{path}.roles[{i}]"), assignment))
            .collect();
        Some(IdentityParams { id: entry.id, name: entry.name, kind, account, api_key_hashes, assignments })
    }

    fn hashes(&mut self, tree: &mut Tree, path: &str, id: &str, hashes: &[String]) -> Vec<ApiKeyHash> {
        let mut read = Vec::new();
        for (i, text) in hashes.iter().enumerate() {
            let path = format!("{path}.api_key_hashes[{i}]");
            match text.parse::<ApiKeyHash>() {
                Ok(hash) => {
                    if let Some(other) = self.hashes.insert(hash.to_string(), id.to_owned()) {
                        let problem = format!("`{other}` has the same API key");
                        tree.problem(path, problem, "make another with `keygate iam new-key`");
                        continue;
                    }
                    read.push(hash);
                }
                // The text is not repeated: it may well be an API key that was pasted into the wrong place.
                Err(problem) => {
                    tree.problem(path, problem, "paste the hash that `keygate iam new-key` printed, not the key");
                }
            }
        }
        read
    }
}

fn read_assignment(tree: &mut Tree, path: &str, entry: Assignment) -> Option<RoleAssignment> {
    if entry.roles.is_empty() || entry.roles.iter().any(String::is_empty) {
        let mend = "name at least one, such as roles = [\"Reader\"]";
        tree.problem(format!("{path}.roles"), "an assignment without a role gives nothing", mend);
        return None;
    }
    let instance = match entry.instance.map(|text| text.parse::<InstanceId>()).transpose() {
        Ok(instance) => instance,
        Err(_) => {
            // Not to be ignored: an assignment without an instance is one on all instances.
            tree.problem(format!("{path}.instance"), "this is not a UUID", "give the instance's id");
            return None;
        }
    };
    let key_ring = match entry.key_ring.map(|text| KeyRingId::parse(&text)).transpose() {
        Ok(key_ring) => key_ring,
        Err(rule) => {
            tree.problem(format!("{path}.key_ring"), rule, "give the ring's id");
            return None;
        }
    };
    let key = match entry.key.map(|text| text.parse::<KeyId>()).transpose() {
        Ok(key) => key,
        Err(_) => {
            let mend = "give the key's id; aliases can change hands, so they are not taken here";
            tree.problem(format!("{path}.key"), "this is not a UUID", mend);
            return None;
        }
    };
    Some(RoleAssignment {
        roles: entry.roles,
        instance,
        key_ring,
        resource_type: key.map(|_| "key".to_owned()),
        resource_id: key.map(|key| key.to_string()),
    })
}
