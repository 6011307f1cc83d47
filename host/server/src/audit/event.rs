//! An event's JSON.

use keygate_core::access::{Answer, Endpoint, Obligation, RuleAnswer};
use keygate_core::audit::{AuditEvent, DecisionRecord, Outcome, RecordedVerdict, Redirected, Severity};
use keygate_core::error::Cause;
use keygate_core::instance::{Instance, Instances};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bounds::Input;

/// Looks up the HTTP status of a cause: `crate::status::status`.
pub type StatusOf = fn(&Cause) -> u16;

/// Facts that are numbers in events.
const NUMBERS: [&str; 6] =
    ["totalResources", "keyState", "daysToKeyExpire", "maxAllowedRetrievals", "remainingRetrievals", "generation"];

/// The event as auditors read it. Field names are the contract's, but for `decision`, which is Keygate's own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLine<'a> {
    event_time: String,
    outcome: &'static str,
    message: String,
    action: &'a str,
    initiator: Value,
    target: Value,
    observer: Value,
    reason: Value,
    severity: &'static str,
    request_data: Map<String, Value>,
    response_data: Map<String, Value>,
    data_event: bool,
    save_service_copy: bool,
    correlation_id: &'a str,
    #[serde(rename = "logSourceCRN")]
    log_source_crn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionLine<'a>>,
}

impl<'a> EventLine<'a> {
    /// Puts it together. `record_input` says whether what the rules were asked stands in it.
    pub fn new(event: &'a AuditEvent, instances: &Instances, status_of: StatusOf, record_input: bool) -> Self {
        let instance = event.instance.and_then(|id| instances.get(id));
        let instance = instance.as_deref();
        let (outcome, status, failure) = match &event.outcome {
            // Which of the successful statuses it was is of no interest here.
            Outcome::Success => ("success", 200, None),
            Outcome::Failure(cause) => ("failure", status_of(cause), Some(reason_for_failure(cause))),
        };
        let mut reason = json!({"reasonCode": status, "reasonType": reason_type(status)});
        if let (Some(failure), Some(fields)) = (failure, reason.as_object_mut()) {
            fields.insert("reasonForFailure".to_owned(), failure.into());
        }
        let mut request = Map::new();
        request.insert("requestURI".to_owned(), event.request_uri.as_str().into());
        if let Some(id) = event.instance {
            request.insert("instanceID".to_owned(), id.to_string().into());
        }
        tell(&mut request, &event.request);
        let mut response = Map::new();
        tell(&mut response, &event.response);
        Self {
            event_time: event_time(event),
            outcome,
            message: message(&event.action),
            action: &event.action,
            initiator: initiator(event),
            target: json!({"id": target(event, instance), "typeURI": "kms/secrets"}),
            observer: json!({"name": "ActivityTracker"}),
            reason,
            severity: match event.severity {
                Severity::Normal => "normal",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            },
            request_data: request,
            response_data: response,
            data_event: is_data_event(&event.action),
            save_service_copy: true,
            correlation_id: &event.correlation_id,
            log_source_crn: instance.map_or_else(unknown_crn, Instance::crn),
            decision: event.decision.as_ref().map(|record| DecisionLine::new(record, record_input)),
        }
    }

    /// What the rules were asked, as far as it stands in it.
    pub(super) fn input(&self) -> Option<&Input<'a>> {
        self.decision.as_ref()?.input.as_ref()
    }
}

/// What the policy chain decided, and all that it takes to ask it again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionLine<'a> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<&'a str>,
    at: String,
    generation: u64,
    rules: Vec<RuleLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<FirstLine<'a>>,
    notes: Vec<NoteLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Input<'a>>,
}

impl<'a> DecisionLine<'a> {
    fn new(record: &'a DecisionRecord, record_input: bool) -> Self {
        let (verdict, reason_code) = match &record.verdict {
            RecordedVerdict::Allow => ("allow", None),
            RecordedVerdict::Deny(code) => ("deny", Some(code.as_str())),
            RecordedVerdict::Busy => ("busy", None),
        };
        Self {
            verdict,
            reason_code,
            at: record.at.to_rfc3339_three_digits(),
            generation: record.generation,
            rules: record.rules.iter().map(RuleLine::new).collect(),
            first: record.redirected.as_ref().map(FirstLine::new),
            notes: record.notes.iter().map(|note| NoteLine { rule: &note.rule, note: &note.text }).collect(),
            input: record_input.then(|| Input::from(&*record.question)),
        }
    }
}

/// What was said before a rule put the new key into another ring.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FirstLine<'a> {
    key_ring: Option<&'a str>,
    rules: Vec<RuleLine<'a>>,
}

impl<'a> FirstLine<'a> {
    fn new(first: &'a Redirected) -> Self {
        Self { key_ring: first.named.as_deref(), rules: first.rules.iter().map(RuleLine::new).collect() }
    }
}

/// What one rule said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleLine<'a> {
    rule: &'a str,
    digest: &'a str,
    mode: &'static str,
    answer: &'static str,
    reason: Option<&'a str>,
    took_micros: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obligations: Vec<ObligationLine<'a>>,
}

impl<'a> RuleLine<'a> {
    fn new(answer: &'a RuleAnswer) -> Self {
        let (said, reason) = match &answer.answer {
            Answer::Abstain => ("abstain", None),
            Answer::Allow => ("allow", None),
            Answer::Deny(code) => ("deny", Some(code.as_str())),
            Answer::Fault(message) => ("fault", Some(message.as_str())),
        };
        let obligations =
            answer.obligations.iter().map(|Obligation { name, value, .. }| ObligationLine { name, value });
        Self {
            rule: &answer.rule,
            digest: &answer.digest,
            mode: if answer.enforced { "enforce" } else { "monitor" },
            answer: said,
            reason,
            took_micros: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
            obligations: obligations.collect(),
        }
    }
}

/// What a rule made its allow depend on.
#[derive(Serialize)]
struct ObligationLine<'a> {
    name: &'a str,
    value: &'a str,
}

/// What a rule noted.
#[derive(Serialize)]
struct NoteLine<'a> {
    rule: &'a str,
    note: &'a str,
}

/// `2020-05-13T19:12:13.32+0000`, the way of the service's own events.
fn event_time(event: &AuditEvent) -> String {
    let time = event.at.to_rfc3339_millis();
    format!("{}+0000", time.trim_end_matches('Z'))
}

fn initiator(event: &AuditEvent) -> Value {
    let who = &event.initiator;
    let (kind, credential) = if who.service.is_some() { ("serviceid", "token") } else { ("user", "token") };
    let mut initiator = json!({
        "id": who.id,
        "name": who.name.as_deref().unwrap_or(&who.id),
        "typeURI": format!("service/security/account/{kind}"),
        "credential": {"type": credential},
    });
    // Left out on the private network, and for the gateway's own work.
    if let (Some(address), Endpoint::Public, Some(fields)) =
        (event.network.address, event.network.endpoint, initiator.as_object_mut())
    {
        fields.insert("host".to_owned(), json!({"address": address.to_string()}));
    }
    initiator
}

fn target(event: &AuditEvent, instance: Option<&Instance>) -> String {
    match (instance, event.key) {
        (Some(instance), Some(key)) => instance.key_crn(key),
        (Some(instance), None) => instance.crn(),
        (None, _) => unknown_crn(),
    }
}

/// Of a request that named no instance of this gateway.
fn unknown_crn() -> String {
    "crn:v1:bluemix:public:kms:::::".to_owned()
}

/// `Key Protect: wrap secret` for `kms.secrets.wrap`, `Key Protect: list secret key versions` for
/// `kms.secrets-key-versions.list`.
fn message(action: &str) -> String {
    let mut parts = action.split('.').skip(1);
    let (what, verb) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("request"));
    let what = what.replacen("secrets", "secret", 1).replace('-', " ");
    format!("Key Protect: {verb} {what}")
}

/// Whether data passed, rather than a key's life changed or was looked at.
fn is_data_event(action: &str) -> bool {
    matches!(action, "kms.secrets.wrap" | "kms.secrets.unwrap" | "kms.secrets.rewrap" | "kms.secrets.read")
}

/// Adds facts to an object. A name with a dot in it, `newValue.keyRingId`, is that of a fact in an object of its own.
fn tell(object: &mut Map<String, Value>, facts: &[(&'static str, String)]) {
    for (name, value) in facts {
        let number = NUMBERS.contains(name).then(|| value.parse::<u64>().ok()).flatten();
        let value = number.map_or_else(|| value.as_str().into(), Value::from);
        match name.split_once('.') {
            None => drop(object.insert((*name).to_owned(), value)),
            Some((outer, inner)) => {
                let inside = object.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Some(inside) = inside.as_object_mut() {
                    inside.insert(inner.to_owned(), value);
                }
            }
        }
    }
}

fn reason_type(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown")
}

fn reason_for_failure(cause: &Cause) -> String {
    match cause {
        Cause::Refused(code) => code.as_str().to_owned(),
        Cause::Unauthenticated => "no valid access token".to_owned(),
        Cause::Denied { code, .. } => code.clone(),
        Cause::Busy => "busy".to_owned(),
        Cause::TooManyRequests => "too many requests".to_owned(),
        Cause::Unavailable => "unavailable".to_owned(),
        Cause::Unfinished => "not ready in time; the work goes on".to_owned(),
        Cause::Unrecorded => "done and not recorded".to_owned(),
        Cause::Fault { plugin, kind } => format!("fault of plugin {plugin}: {}", kind.as_str()),
        Cause::Internal => "internal".to_owned(),
    }
}
