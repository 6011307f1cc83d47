//! An event's JSON.

use keygate_core::access::{Answer, Endpoint, RuleAnswer};
use keygate_core::audit::{AuditEvent, Outcome, Severity};
use keygate_core::error::Cause;
use keygate_core::instance::{Instance, Instances};
use serde_json::{Map, Value, json};

/// Looks up the HTTP status of a cause: `crate::status::status`.
pub type StatusOf = fn(&Cause) -> u16;

/// Facts that are numbers in events.
const NUMBERS: [&str; 6] =
    ["totalResources", "keyState", "daysToKeyExpire", "maxAllowedRetrievals", "remainingRetrievals", "generation"];

/// The event as auditors read it. Field names are the contract's.
pub fn to_json(event: &AuditEvent, instances: &Instances, status_of: StatusOf) -> Value {
    let instance = event.instance.and_then(|id| instances.get(id));
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
    json!({
        "eventTime": event_time(event),
        "outcome": outcome,
        "message": message(&event.action),
        "action": event.action,
        "initiator": initiator(event),
        "target": {"id": target(event, instance), "typeURI": "kms/secrets"},
        "observer": {"name": "ActivityTracker"},
        "reason": reason,
        "severity": match event.severity {
            Severity::Normal => "normal",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        },
        "requestData": request,
        "responseData": response,
        "dataEvent": is_data_event(&event.action),
        "saveServiceCopy": true,
        "correlationId": event.correlation_id,
        "logSourceCRN": instance.map_or_else(unknown_crn, Instance::crn),
        "decision": event.trail.iter().map(rule_answer).collect::<Vec<_>>(),
    })
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

fn rule_answer(answer: &RuleAnswer) -> Value {
    let (said, reason) = match &answer.answer {
        Answer::Abstain => ("abstain", None),
        Answer::Allow => ("allow", None),
        Answer::Deny(code) => ("deny", Some(code)),
        Answer::Fault(message) => ("fault", Some(message)),
    };
    json!({
        "rule": answer.rule,
        "digest": answer.digest,
        "mode": if answer.enforced { "enforce" } else { "monitor" },
        "answer": said,
        "reason": reason,
        "tookMicros": u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
    })
}
