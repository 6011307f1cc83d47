//! A policy rule for Keygate: in guarded key rings nobody deletes keys, nor takes them out.

use keygate_plugin_sdk::rule::{Description, Facts, Request, Rule, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule, settings};
use serde::Deserialize;

/// The actions that this rule has something to say to. The gateway does not even ask about others.
const ACTIONS: [&str; 2] = [DELETE, PATCH];
const DELETE: &str = "kms.secrets.delete";
/// Among others, it moves keys to another ring, where they could be deleted.
const PATCH: &str = "kms.secrets.patch";

/// What the operator can set: `settings = { rings = ["prod"] }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The ids of the guarded rings.
    rings: Vec<String>,
}

impl Rule for Guard {
    fn configure(text: &str) -> Result<Self, SettingsError> {
        settings::from_json(text)
    }

    fn describe(&self) -> Description {
        Description {
            name: "{{name}}".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            actions: ACTIONS.map(str::to_owned).to_vec(),
        }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        let guarded = request.target.key_ring.as_ref().filter(|ring| self.rings.contains(ring));
        let leaves = |ring: &String| request.attribute("new-ring").is_some_and(|new| new != ring);
        let verdict = match guarded {
            Some(ring) if request.action == DELETE => {
                Verdict::deny_conflict("RING_GUARDED_ERR", &format!("Keys in the ring {ring} cannot be deleted."))
            }
            Some(ring) if request.action == PATCH && leaves(ring) => {
                Verdict::deny_conflict("RING_GUARDED_ERR", &format!("Keys in the ring {ring} stay in it."))
            }
            // No objection. It is for another rule, such as the built-in `access`, to say yes.
            _ => Verdict::abstain(),
        };
        // A promise: the same action, ring and facts always give the same answer, whoever asks and whenever.
        Ok(verdict.remembered_by(Facts::ACTION | Facts::KEY_RING | Facts::ATTRIBUTES))
    }
}

export_rule!(Guard);

#[cfg(test)]
mod tests {
    use keygate_plugin_sdk::rule::Decision;
    use keygate_plugin_sdk::testing::request;

    use super::*;

    #[test]
    fn only_the_rings_of_the_settings_are_guarded() {
        let rule = Guard::configure(r#"{"rings": ["prod"]}"#).unwrap();
        for (ring, denied) in [(Some("prod"), true), (Some("test"), false), (None, false)] {
            let mut question = request(DELETE);
            question.target.key_ring = ring.map(str::to_owned);
            let decision = rule.evaluate(&question).unwrap().decision;
            assert_eq!(matches!(decision, Decision::Deny(_)), denied, "{ring:?}");
        }
    }

    #[test]
    fn keys_do_not_leave_a_guarded_ring() {
        let rule = Guard::configure(r#"{"rings": ["prod"]}"#).unwrap();
        for (new, denied) in [(Some("test"), true), (Some("prod"), false), (None, false)] {
            let mut question = request(PATCH);
            question.target.key_ring = Some("prod".to_owned());
            question.attributes = new.map(|ring| ("new-ring".to_owned(), ring.to_owned())).into_iter().collect();
            let decision = rule.evaluate(&question).unwrap().decision;
            assert_eq!(matches!(decision, Decision::Deny(_)), denied, "{new:?}");
        }
    }

    #[test]
    fn a_setting_that_there_is_none_of_is_refused() {
        assert!(Guard::configure(r#"{"rings": [], "ring": "prod"}"#).is_err());
    }
}
