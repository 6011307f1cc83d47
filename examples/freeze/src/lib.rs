//! A change freeze: while this rule is in the chain, nobody makes, rotates or deletes keys. Using them goes on.
//!
//! ```toml
//! [[plugins]]
//! name = "freeze"
//! file = "target/plugins/examples/freeze.wasm"
//! sha256_file = "target/plugins/examples/freeze.wasm.sha256"
//! world = "policy-rule"
//! grants = { log = true }
//! settings = { reason = "Nothing changes until Monday.", exempt = ["IBMid-oncall"] }
//!
//! [policy]
//! chain = ["access", "freeze"]
//! ```

use keygate_plugin_sdk::rule::{Description, Facts, Request, Rule, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule, settings};
use serde::Deserialize;

/// Everything that makes, changes or ends a key. The list must be whole: a way to make keys that is missing here is a way
/// around the freeze.
const ACTIONS: [&str; 12] = [
    "kms.secrets.create",
    "kms.secrets-with-policy-overrides.create",
    "kms.secrets.rotate",
    "kms.secrets.delete",
    "kms.secrets.restore",
    "kms.secrets.purge",
    "kms.secrets.disable",
    "kms.secrets.enable",
    "kms.secrets.patch",
    "kms.secrets.setkeyfordeletion",
    "kms.secrets.unsetkeyfordeletion",
    "kms.policies.write",
];

/// What the operator can set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// What callers are told.
    reason: String,
    /// The IAM ids of those who may change keys all the same.
    #[serde(default)]
    exempt: Vec<String>,
}

impl Rule for Freeze {
    fn configure(text: &str) -> Result<Self, SettingsError> {
        settings::from_json(text)
    }

    fn describe(&self) -> Description {
        Description {
            name: "freeze".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // The host does not even ask about anything else.
            actions: ACTIONS.map(str::to_owned).to_vec(),
        }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        let verdict = if self.exempt.contains(&request.principal.id) {
            // No objection. It is for another rule to say yes.
            Verdict::abstain()
        } else {
            Verdict::deny_conflict("CHANGE_FREEZE_ERR", &self.reason)
        };
        Ok(verdict.remembered_by(Facts::PRINCIPAL | Facts::ACTION))
    }
}

export_rule!(Freeze);

#[cfg(test)]
mod tests {
    use keygate_plugin_sdk::rule::{Decision, Endpoint, Network, Principal, PrincipalKind, Target};

    use super::*;

    fn request(who: &str) -> Request {
        Request {
            request_id: "r".to_owned(),
            action: "kms.secrets.create".to_owned(),
            principal: Principal {
                id: who.to_owned(),
                kind: PrincipalKind::User,
                service_name: None,
                account: "a".to_owned(),
                assignments: Vec::new(),
                attributes: Vec::new(),
            },
            target: Target {
                instance_id: "i".to_owned(),
                key_ring: None,
                key: None,
                key_name: None,
                instance_policies: Vec::new(),
            },
            network: Network { address: None, endpoint: Endpoint::Public },
            now_unix_ms: 0,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn nobody_changes_anything_but_who_is_exempt() {
        let rule = Freeze::configure(r#"{"reason": "Not now.", "exempt": ["oncall"]}"#).ok().unwrap();
        let verdict = rule.evaluate(&request("ann")).unwrap();
        assert!(matches!(verdict.decision, Decision::Deny(denial) if denial.message == "Not now."));
        assert!(matches!(rule.evaluate(&request("oncall")).unwrap().decision, Decision::Abstain));
    }

    #[test]
    fn it_is_asked_about_every_way_to_make_a_key_and_about_no_use_of_one() {
        let rule = Freeze::configure(r#"{"reason": "Not now."}"#).ok().unwrap();
        let asked = rule.describe().actions;
        for action in ["kms.secrets.create", "kms.secrets-with-policy-overrides.create", "kms.secrets.rotate"] {
            assert!(asked.iter().any(|known| known == action), "{action}");
        }
        for action in ["kms.secrets.wrap", "kms.secrets.unwrap", "kms.secrets.list"] {
            assert!(asked.iter().all(|known| known != action), "{action}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for bad in ["{}", r#"{"reason": "x", "exmept": []}"#, r#"{"reason": 7}"#] {
            assert!(Freeze::configure(bad).is_err(), "{bad}");
        }
    }
}
