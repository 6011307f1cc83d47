//! Rules: plugins that decide requests. The contract, with every bound, is `wit/policy/rule.wit`.

use crate::bindings::rule::exports::keygate::policy::rule::Guest;
use crate::bindings::rule::keygate::policy::types::SettingsError as WireSettingsError;
pub use crate::bindings::rule::keygate::policy::types::{
    Decision, DeletionAuthorization, Denial, DenialKind, Description, Endpoint, Facts, InstancePolicy, KeyFacts,
    KeyKind, KeyState, Memo, Network, Obligation, Principal, PrincipalKind, Request, RoleAssignment, Target, Verdict,
};
use crate::settings::SettingsError;
use crate::slot::Slot;

/// The longest `message` of a [`Denial`] that the host takes, in bytes.
const MAX_MESSAGE: usize = 512;

/// A rule. The value is what [`Rule::configure`] made of the settings; nothing else outlives a call.
///
/// A rule knows what is in the question, and nothing else: no clock, no randomness, no secrets.
pub trait Rule: Sized + Send + Sync + 'static {
    /// Reads the settings. May call nothing but the log, and depend on nothing but the text: the host may keep a
    /// snapshot of the outcome.
    ///
    /// # Errors
    /// Settings that cannot work, unknown ones included.
    fn configure(settings: &str) -> Result<Self, SettingsError>;

    /// What this rule is.
    fn describe(&self) -> Description;

    /// Decides.
    ///
    /// # Errors
    /// A text for the operator's log. It counts as a refusal.
    fn evaluate(&self, request: &Request) -> Result<Verdict, String>;
}

impl Verdict {
    /// Nothing to say to this.
    pub fn abstain() -> Self {
        Self { decision: Decision::Abstain, memo: None }
    }

    /// Yes, without obligations.
    pub fn allow() -> Self {
        Self { decision: Decision::Allow(Vec::new()), memo: None }
    }

    /// No right to this: 401, and no reason for the caller.
    pub fn deny_unauthorized(code: &str, message: &str) -> Self {
        Self::deny(DenialKind::Unauthorized, code, message)
    }

    /// A right that this kind of caller cannot have: 403, with the reason.
    pub fn deny_forbidden(code: &str, message: &str) -> Self {
        Self::deny(DenialKind::Forbidden, code, message)
    }

    /// Allowed in general, not as things stand: 409, with the reason.
    pub fn deny_conflict(code: &str, message: &str) -> Self {
        Self::deny(DenialKind::Conflict, code, message)
    }

    /// Promises that the same `facts` give the same answer for as long as this set of plugins is loaded.
    #[must_use]
    pub fn remembered_by(mut self, facts: Facts) -> Self {
        self.memo = Some(Memo { reads: facts, valid_until_unix_ms: None });
        self
    }

    /// Ends the promise of [`Self::remembered_by`] at this instant, in milliseconds since 1970-01-01T00:00:00Z. Without a
    /// promise, nothing.
    #[must_use]
    pub fn until(mut self, unix_ms: u64) -> Self {
        if let Some(memo) = &mut self.memo {
            memo.valid_until_unix_ms = Some(unix_ms);
        }
        self
    }

    fn deny(kind: DenialKind, code: &str, message: &str) -> Self {
        let message = crate::cut(message.to_owned(), MAX_MESSAGE);
        Self { decision: Decision::Deny(Denial { kind, code: code.to_owned(), message }), memo: None }
    }
}

impl Request {
    /// What else the host knows under this name. Absent: it does not know it, or could not read it.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl InstancePolicy {
    /// The values of an attribute: none, one, or those of a list.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A rule that [`crate::export_rule!`] exports; the macro implements this.
#[doc(hidden)]
pub trait Exported: Rule {
    /// Where the sandbox keeps it.
    fn slot() -> &'static Slot<Self>;

    /// Called once, when `configure` has done its work.
    fn configured() {}
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Component<T>(core::marker::PhantomData<T>);

/// Before anything else: the plugin that `configure` left here.
fn enter<T: Exported>() -> Result<&'static T, &'static str> {
    #[cfg(target_arch = "wasm32")]
    crate::panics::install();
    T::slot().get()
}

impl<T: Exported> Guest for Component<T> {
    #[expect(clippy::panic, reason = "the contract has no error here, and a trap with a reason is what is left")]
    fn describe() -> Description {
        match enter::<T>() {
            Ok(plugin) => plugin.describe(),
            Err(text) => panic!("{text}"),
        }
    }

    fn configure(settings: String) -> Result<(), WireSettingsError> {
        #[cfg(target_arch = "wasm32")]
        crate::panics::install();
        T::slot()
            .fill(T::configure(&settings))
            .map_err(|SettingsError { path, message }| WireSettingsError { path, message })?;
        T::configured();
        Ok(())
    }

    fn evaluate(request: Request) -> Result<Verdict, String> {
        enter::<T>().map_err(str::to_owned)?.evaluate(&request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows the actions that its settings name.
    struct Listed(String);

    impl Rule for Listed {
        fn configure(settings: &str) -> Result<Self, SettingsError> {
            Ok(Self(settings.to_owned()))
        }

        fn describe(&self) -> Description {
            Description { name: "listed".into(), version: "1".into(), actions: vec![] }
        }

        fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
            if self.0.split(' ').any(|action| action == request.action) {
                return Ok(Verdict::allow().remembered_by(Facts::ACTION));
            }
            Err("not listed".into())
        }
    }

    impl Exported for Listed {
        fn slot() -> &'static Slot<Self> {
            static SLOT: Slot<Listed> = Slot::new();
            &SLOT
        }
    }

    fn request(action: &str) -> Request {
        Request {
            request_id: "r".into(),
            action: action.into(),
            principal: Principal {
                id: "IBMid-1".into(),
                kind: PrincipalKind::User,
                service_name: None,
                account: "a".into(),
                assignments: vec![],
                attributes: vec![],
            },
            target: Target {
                instance_id: "i".into(),
                key_ring: None,
                key: None,
                key_name: None,
                instance_policies: vec![],
            },
            network: Network { address: None, endpoint: Endpoint::Public },
            now_unix_ms: 0,
            attributes: vec![],
        }
    }

    #[test]
    fn exports_reach_the_configured_rule() {
        type Exports = Component<Listed>;
        assert!(Exports::evaluate(request("a")).is_err_and(|text| text.contains("configure")));
        Exports::configure("a b".into()).unwrap();
        assert_eq!(Exports::describe().name, "listed");
        let verdict = Exports::evaluate(request("b")).unwrap();
        assert_eq!(verdict.decision, Decision::Allow(vec![]));
        assert_eq!(verdict.memo.map(|memo| memo.reads), Some(Facts::ACTION));
        assert_eq!(Exports::evaluate(request("c")), Err("not listed".into()));
    }

    #[test]
    fn a_promise_may_end_and_nothing_ends_without_one() {
        let memo = Verdict::allow().remembered_by(Facts::TIME).until(7).memo.unwrap();
        assert_eq!((memo.reads, memo.valid_until_unix_ms), (Facts::TIME, Some(7)));
        assert_eq!(Verdict::allow().until(7).memo, None);
    }

    #[test]
    fn attributes_are_found_by_their_names() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut request = request("a");
        request.attributes = vec![pair("force", "true"), pair("new-ring", "")];
        assert_eq!(request.attribute("force"), Some("true"));
        assert_eq!(request.attribute("new-ring"), Some(""));
        assert_eq!(request.attribute("Force"), None);

        let attributes = vec![pair("allowed_ip", "10.0.0.0/8"), pair("other", "x"), pair("allowed_ip", "::/0")];
        let policy = InstancePolicy { kind: "allowedIP".into(), attributes };
        assert_eq!(policy.values("allowed_ip").collect::<Vec<_>>(), ["10.0.0.0/8", "::/0"]);
        assert_eq!(policy.values("allowed").count(), 0);
    }

    #[test]
    fn denials_stay_within_the_contract() {
        let Decision::Deny(denial) = Verdict::deny_conflict("CODE", &"x".repeat(600)).decision else {
            panic!("not a denial")
        };
        assert_eq!((denial.kind, denial.code.as_str(), denial.message.len()), (DenialKind::Conflict, "CODE", 512));
    }
}
