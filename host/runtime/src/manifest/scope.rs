//! The entries of `[policy] chain`: rules in their order, and where each of them is asked.

use keygate_core::access::Action;
use keygate_core::access::question::Question;
use keygate_core::ids::{InstanceId, KeyRingId};

use crate::load_error::nearest;

/// A rule's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEntry {
    /// The rule's name in `plugins.toml`.
    pub rule: String,
    /// What it is asked about.
    pub scope: Scope,
}

impl ChainEntry {
    /// An entry without a scope of its own: the rule is asked about everything.
    pub fn everywhere(rule: impl Into<String>) -> Self {
        Self { rule: rule.into(), scope: Scope::default() }
    }
}

/// What a rule is asked about. An empty list is no limit. A rule out of its scope is not asked, which counts as an
/// abstention.
///
/// What is not known of a request limits nothing either: a rule that might be concerned is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Requests in these instances, and those about the gateway itself.
    pub instances: Vec<InstanceId>,
    /// Requests for these actions.
    pub actions: Vec<ActionPattern>,
    /// Requests about one of these rings: about a key in it, or a request that names it, or one that would move a key
    /// into it; and requests of which no ring is known.
    pub rings: Vec<KeyRingId>,
}

/// The fact that names the ring which a request would move a key into.
const NEW_RING: &str = "new-ring";

impl Scope {
    /// Whether there is no limit at all.
    pub fn is_everything(&self) -> bool {
        self.instances.is_empty() && self.actions.is_empty() && self.rings.is_empty()
    }

    /// Whether a question is inside.
    pub fn admits(&self, question: &Question) -> bool {
        self.has_action(&question.action) && self.has_ring(question) && self.has_instance(&question.target.instance_id)
    }

    /// Whether two scopes have the same limits, in whatever order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &[T], b: &[T]) -> bool {
            a.iter().all(|x| b.contains(x)) && b.iter().all(|x| a.contains(x))
        }
        same(&self.instances, &other.instances)
            && same(&self.actions, &other.actions)
            && same(&self.rings, &other.rings)
    }

    /// Whether requests for this action are inside.
    pub fn has_action(&self, action: &str) -> bool {
        self.actions.is_empty() || self.actions.iter().any(|pattern| pattern.has(action))
    }

    fn has_instance(&self, id: &str) -> bool {
        // The gateway itself is in no instance, so no list of instances is about it or keeps a rule from it.
        let inside = |id: InstanceId| id == InstanceId::GATEWAY || self.instances.contains(&id);
        self.instances.is_empty() || id.parse().map_or(true, inside)
    }

    fn has_ring(&self, question: &Question) -> bool {
        let named = |ring: &String| self.rings.iter().any(|known| known.as_str() == ring);
        self.rings.is_empty()
            || question.target.key_ring.as_ref().is_none_or(named)
            || question.attributes.get(NEW_RING).is_some_and(named)
    }
}

/// An IAM action, or how several begin: `kms.secrets.unwrap`, `kms.policies.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionPattern(String);

/// A text that names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {mend}")]
pub struct NoSuchAction {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
}

impl ActionPattern {
    /// Reads one.
    ///
    /// # Errors
    /// When there is no such action, or none that begins so. Names the nearest one; of an audit event's name, the action's.
    /// Also when it is one that no rule is asked about.
    pub fn parse(text: &str) -> Result<Self, NoSuchAction> {
        let refused = |problem: String, mend: String| Err(NoSuchAction { problem, mend });
        if asked().any(|action| matches(text, action.iam())) {
            return Ok(Self(text.to_owned()));
        }
        if Action::ALL.iter().any(|action| !action.is_asked_for() && matches(text, action.iam())) {
            let problem = format!("`{text}` is what the gateway does by itself, and no rule is asked about it");
            return refused(problem, "remove it".to_owned());
        }
        if let Some(action) = Action::ALL.iter().find(|action| action.event() == text) {
            let mend = format!("write `{}`", action.iam());
            return refused(format!("`{text}` is the name of audit events, not the action's"), mend);
        }
        if text.trim_end_matches('*').contains('*') || text.ends_with("**") {
            let mend = "write one `*`, at its end, such as `kms.policies.*`".to_owned();
            return refused(format!("`{text}` has a `*` elsewhere than at its end"), mend);
        }
        match text.strip_suffix('*') {
            Some(prefix) => {
                let mend = nearest(text, &families().iter().map(String::as_str).collect::<Vec<_>>());
                refused(format!("there is no action that begins with `{prefix}`"), mend)
            }
            None => {
                let known: Vec<_> = asked().map(|action| action.iam()).collect();
                refused(format!("there is no action `{text}`"), nearest(text, &known))
            }
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for this action too.
    pub fn has(&self, action: &str) -> bool {
        matches(&self.0, action)
    }
}

/// Whether an action, or the beginning of some with a `*` behind it, stands for this action.
pub(crate) fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => action.starts_with(prefix),
        None => pattern == action,
    }
}

/// The actions that rules are asked about. Nobody asks for what the gateway does by itself.
fn asked() -> impl Iterator<Item = &'static Action> {
    Action::ALL.iter().filter(|action| action.is_asked_for())
}

/// Actions of the API that this version of the gateway does not serve: a rule may well be ready for them.
const UNSERVED: [&str; 4] = [
    "kms.kmip-management.create",
    "kms.kmip-management.delete",
    "kms.kmip-management.list",
    "kms.kmip-management.read",
];

/// Checks the actions that a rule says that it has something to say to. One that is misspelt would never be asked about,
/// and nobody would notice.
///
/// # Errors
/// With the first that this gateway does not know.
pub(crate) fn check_described(actions: &[String]) -> Result<(), NoSuchAction> {
    let known = |text: &str| match ActionPattern::parse(text) {
        Err(_) if UNSERVED.iter().any(|action| matches(text, action)) => Ok(()),
        parsed => parsed.map(drop),
    };
    actions.iter().try_for_each(|text| known(text)).map_err(|NoSuchAction { problem, mend }| NoSuchAction {
        problem: format!("it describes actions that it would never be asked about: {problem}"),
        mend: format!(
            "{mend}{} If that is a mistake in the rule, get a version without it; if a newer gateway has such actions, use \
             that one, or a version of the rule for this one",
            if mend.ends_with('?') { "" } else { "." }
        ),
    })
}

/// Whether a rule that has something to say to these actions (to all, where there are none) would ever be asked in a
/// scope.
pub(crate) fn is_ever_asked(scope: &Scope, described: &[String]) -> bool {
    let described = |action: &str| described.is_empty() || described.iter().any(|text| matches(text, action));
    asked().any(|action| scope.has_action(action.iam()) && described(action.iam()))
}

/// How actions begin: `kms.secrets.*`, ...
fn families() -> Vec<String> {
    let family = |action: &Action| action.iam().rsplit_once('.').map(|(family, _)| format!("{family}.*"));
    let mut families: Vec<String> = asked().filter_map(family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: InstanceId = InstanceId::from_bytes([1; 16]);
    const TWO: InstanceId = InstanceId::from_bytes([2; 16]);

    fn scope(instances: &[InstanceId], actions: &[&str], rings: &[&str]) -> Scope {
        Scope {
            instances: instances.to_vec(),
            actions: actions.iter().map(|action| ActionPattern::parse(action).unwrap()).collect(),
            rings: rings.iter().map(|ring| KeyRingId::parse(ring).unwrap()).collect(),
        }
    }

    fn about(action: &str, ring: Option<&str>) -> Question {
        let mut question = Question { action: action.to_owned(), ..Question::default() };
        question.target.instance_id = ONE.to_string();
        question.target.key_ring = ring.map(str::to_owned);
        question
    }

    #[test]
    fn without_limits_everything_is_inside() {
        let all = Scope::default();
        assert!(all.is_everything());
        assert!(all.admits(&about("kms.secrets.wrap", Some("prod"))));
        assert!(all.admits(&Question::default()));
        assert!(!scope(&[], &[], &["prod"]).is_everything());
    }

    #[test]
    fn every_limit_must_hold_and_within_one_any_of_the_list_does() {
        let limited = scope(&[ONE, TWO], &["kms.secrets.unwrap", "kms.policies.*"], &["prod", "default"]);
        assert!(limited.admits(&about("kms.secrets.unwrap", Some("prod"))));
        assert!(limited.admits(&about("kms.policies.write", Some("default"))));
        assert!(!limited.admits(&about("kms.secrets.wrap", Some("prod"))));
        assert!(!limited.admits(&about("kms.secrets.unwrap", Some("staging"))));
        let mut elsewhere = about("kms.secrets.unwrap", Some("prod"));
        elsewhere.target.instance_id = InstanceId::from_bytes([3; 16]).to_string();
        assert!(!limited.admits(&elsewhere));
    }

    #[test]
    fn names_are_compared_whole_and_in_their_case_but_ids_in_any() {
        let prod = scope(&[], &[], &["prod"]);
        for other in ["Prod", "prod-eu", "pro", "", "prod "] {
            assert!(!prod.admits(&about("kms.secrets.wrap", Some(other))), "{other:?}");
        }
        let unwrap = scope(&[], &["kms.secrets.unwrap"], &[]);
        for other in ["kms.secrets.unwrapx", "kms.secrets.unwra", "KMS.SECRETS.UNWRAP", ""] {
            assert!(!unwrap.admits(&about(other, None)), "{other:?}");
        }
        let secrets = scope(&[], &["kms.secrets.*"], &[]);
        assert!(secrets.admits(&about("kms.secrets.wrap", None)));
        assert!(!secrets.admits(&about("kms.secrets-with-policy-overrides.create", None)), "the dot is part of it");
        assert!(scope(&[], &["*"], &[]).admits(&about("kms.anything", None)));

        let instance: InstanceId = "fadedbee-0000-4000-8000-000000000001".parse().unwrap();
        let mut question = about("kms.secrets.wrap", None);
        question.target.instance_id = "FADEDBEE-0000-4000-8000-000000000001".to_owned();
        assert!(scope(&[instance], &[], &[]).admits(&question));
        assert!(!scope(&[ONE], &[], &[]).admits(&question));
    }

    #[test]
    fn a_rule_of_a_ring_is_asked_about_keys_that_are_moved_into_it_and_out_of_it() {
        let prod = scope(&[], &[], &["prod"]);
        let moved = |ring: Option<&str>, to: &str| {
            let mut question = about("kms.secrets.patch", ring);
            question.attributes =
                [("force", "prod"), ("new-ring", to)].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            prod.admits(&question)
        };
        assert!(moved(Some("staging"), "prod"), "into the ring");
        assert!(moved(Some("prod"), "staging"), "out of the ring");
        assert!(!moved(Some("staging"), "default"));
        assert!(moved(None, "default"), "from nobody knows where");
    }

    #[test]
    fn a_rule_of_some_instances_is_asked_about_the_gateway_itself() {
        let mut reload = about("keygate.plugins.reload", None);
        reload.target.instance_id = InstanceId::GATEWAY.to_string();
        assert!(scope(&[ONE], &[], &["prod"]).admits(&reload));
        assert!(!scope(&[ONE], &["kms.*"], &[]).admits(&reload), "a list of actions is a limit all the same");
    }

    #[test]
    fn what_is_not_known_does_not_keep_a_rule_from_being_asked() {
        let limited = scope(&[ONE], &["kms.secrets.*"], &["prod"]);
        let mut unknown = about("kms.secrets.wrap", None);
        for id in ["", "no id"] {
            unknown.target.instance_id = id.to_owned();
            assert!(limited.admits(&unknown), "{id:?}");
        }
        unknown.action = "kms.policies.read".to_owned();
        assert!(!limited.admits(&unknown), "what is known still counts");
    }

    #[test]
    fn scopes_are_the_same_in_whatever_order() {
        let a = scope(&[ONE, TWO], &["kms.secrets.wrap", "kms.secrets.unwrap"], &["prod", "default"]);
        let b = scope(&[TWO, ONE], &["kms.secrets.unwrap", "kms.secrets.wrap"], &["default", "prod", "prod"]);
        assert!(a.is_same(&b) && b.is_same(&a));
        for other in [Scope::default(), scope(&[ONE], &[], &[]), Scope { rings: Vec::new(), ..a.clone() }] {
            assert!(!a.is_same(&other) && !other.is_same(&a), "{other:?}");
        }
    }

    #[test]
    fn an_action_that_there_is_not_is_refused_with_the_nearest() {
        for good in ["kms.secrets.unwrap", "kms.policies.*", "kms.secrets.set*", "kms.*", "*"] {
            assert_eq!(ActionPattern::parse(good).unwrap().as_str(), good);
        }
        for (bad, problem, mend) in [
            ("kms.secrets.unwarp", "there is no action `kms.secrets.unwarp`", "did you mean `kms.secrets.unwrap`?"),
            ("kms.polices.*", "there is no action that begins with `kms.polices.`", "did you mean `kms.policies.*`?"),
            (
                "kms.secrets-metadata.read",
                "`kms.secrets-metadata.read` is the name of audit events, not the action's",
                "write `kms.secrets.readmetadata`",
            ),
            ("kms.*.read", "`kms.*.read` has a `*` elsewhere than at its end", "write one `*`, at its end"),
            ("kms.**", "`kms.**` has a `*` elsewhere than at its end", "write one `*`, at its end"),
            ("Kms.secrets.wrap", "there is no action `Kms.secrets.wrap`", "did you mean `kms.secrets.wrap`?"),
            ("", "there is no action ``", "known are `kms.secrets.create`"),
            (
                "kms.secrets.expire",
                "`kms.secrets.expire` is what the gateway does by itself, and no rule is asked about it",
                "remove it",
            ),
            ("kms.secrets.exp*", "`kms.secrets.exp*` is what the gateway does by itself", "remove it"),
        ] {
            let refused = ActionPattern::parse(bad).unwrap_err();
            assert!(refused.problem.starts_with(problem), "{bad}: {}", refused.problem);
            assert!(refused.mend.starts_with(mend), "{bad}: {}", refused.mend);
        }
    }

    fn texts(actions: &[&str]) -> Vec<String> {
        actions.iter().map(|action| (*action).to_owned()).collect()
    }

    #[test]
    fn a_rule_describes_actions_that_there_are_or_will_be() {
        for good in [&[][..], &["*"], &["kms.secrets.unwrap", "kms.policies.*"], &["kms.kmip-management.*"]] {
            assert_eq!(check_described(&texts(good)), Ok(()), "{good:?}");
        }
        let refused = check_described(&texts(&["kms.secrets.wrap", "kms.secrets.unwarp"])).unwrap_err();
        assert!(
            refused.problem.ends_with("never be asked about: there is no action `kms.secrets.unwarp`"),
            "{refused}"
        );
        assert!(
            refused.mend.starts_with("did you mean `kms.secrets.unwrap`? If that is a mistake in the rule, "),
            "{refused}"
        );
        assert!(refused.mend.contains("; if a newer gateway has such actions, "), "{refused}");
        for bad in ["kms.secrets.expire", "kms.secret.*", "kms.*.wrap", ""] {
            assert!(check_described(&texts(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_whose_actions_are_not_in_its_scope_is_never_asked() {
        let secrets = scope(&[], &["kms.secrets.*"], &[]);
        for (described, expected) in [
            (&[][..], true),
            (&["kms.secrets.wrap", "kms.policies.read"], true),
            (&["kms.sec*"], true),
            (&["kms.policies.*"], false),
            (&["kms.kmip-management.list"], false),
        ] {
            assert_eq!(is_ever_asked(&secrets, &texts(described)), expected, "{described:?}");
        }
        assert!(is_ever_asked(&Scope::default(), &texts(&["kms.policies.read"])));
    }
}
