//! What an event can hold at most. Space for the events of all requests in work is set aside beforehand, so there must be a
//! longest one: whatever a client, a rule or an operator can make long is cut in it, and the event says what and how.

use aws_lc_rs::digest;
use keygate_core::access::question::{PolicyFacts, Question};
use serde::Serialize;
use serde_json::{Value, json};

use super::event::EventLine;

/// The longest line, in bytes, with the end of the line. Most have less than 4 KiB.
pub(super) const LONGEST: usize = 32 * 1024;

/// An instance policy with more attributes stands in an event as their number and SHA-256.
const MOST_ATTRIBUTES: usize = 64;

/// Where a whole event is too long, its texts have at most this many bytes, and all of it about half of [`LONGEST`].
const LONGEST_TEXT: usize = 256;
const BUDGET: usize = LONGEST / 2;

/// The parts of an event that can be long, the one that is kept before the others first.
const LONG: [&str; 3] = ["requestData", "decision", "responseData"];

/// What the rules were asked, as it stands in an event: whole wherever that can be.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    Whole(&'a Question),
    Cut(Value),
}

impl<'a> From<&'a Question> for Input<'a> {
    fn from(question: &'a Question) -> Self {
        let is_long = |policy: &PolicyFacts| policy.attributes.len() > MOST_ATTRIBUTES;
        let policies = &question.target.instance_policies;
        if !policies.iter().any(is_long) {
            return Self::Whole(question);
        }
        let Ok(mut value) = serde_json::to_value(question) else { return Self::Whole(question) };
        let places = value.pointer_mut("/target/instance_policies").and_then(Value::as_array_mut);
        for (place, policy) in places.into_iter().flatten().zip(policies) {
            if is_long(policy) {
                let attributes = serde_json::to_string(&policy.attributes).unwrap_or_default();
                *place = json!({
                    "kind": policy.kind,
                    "count": policy.attributes.len(),
                    "sha256": sha256(&attributes),
                });
            }
        }
        Self::Cut(value)
    }
}

/// The event as one line, without its end. One that would be too long is cut, first what the rules were asked, then
/// everything that is long.
pub(super) fn line(event: &EventLine<'_>) -> serde_json::Result<String> {
    let whole = serde_json::to_string(event)?;
    if whole.len() < LONGEST {
        return Ok(whole);
    }
    let mut value = serde_json::to_value(event)?;
    if let (Some(place), Some(input)) = (value.pointer_mut("/decision/input"), event.input()) {
        *place = cut(&serde_json::to_string(input)?);
    }
    let without = value.to_string();
    if without.len() < LONGEST {
        return Ok(without);
    }
    value["cut"] = cut(&whole)["cut"].take();
    Ok(shrunk(value).to_string())
}

/// What stands in the place of a text.
fn cut(text: &str) -> Value {
    json!({"cut": {"bytes": text.len(), "sha256": sha256(text)}})
}

fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As much of an event as there is room for, what everybody looks for first.
fn shrunk(mut event: Value) -> Value {
    let mut left = BUDGET;
    let long = LONG.map(|name| (name, event.as_object_mut().and_then(|fields| fields.remove(name))));
    shrink(&mut event, &mut left);
    for (name, value) in long {
        if let Some(mut value) = value
            && shrink(&mut value, &mut left)
        {
            event[name] = value;
        }
    }
    event
}

/// Cuts a value to what is left, and says whether anything of it has room. What it takes of that is never less than what it
/// is as JSON, but for what holds it together.
fn shrink(value: &mut Value, left: &mut usize) -> bool {
    if let Value::String(text) = value
        && text.len() > LONGEST_TEXT
    {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push_str("...");
    }
    match value {
        Value::Array(values) => {
            values.retain_mut(|value| shrink(value, left));
            take(left, 3)
        }
        Value::Object(fields) => {
            fields.retain(|name, value| take(left, name.len() + 4) && shrink(value, left));
            take(left, 3)
        }
        scalar => take(left, scalar.to_string().len() + 1),
    }
}

/// Takes so many bytes, if there are as many.
fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_long_is_cut_to_a_bound_and_names_come_first() {
        for (long, many) in [("\u{1}".repeat(50_000), 3), ("\u{e4}".repeat(130), 5_000), (String::new(), 50_000)] {
            let list: Vec<_> = (0..many).map(|n| json!({"n": n, "t": long, "more": [[long], {}]})).collect();
            let event =
                json!({"action": "kms.secrets.wrap", "requestData": {"uri": long}, "decision": {"rules": list}});
            let text = shrunk(event).to_string();
            // Names that JSON escapes may cost more than they are counted, and there are none.
            assert!(text.len() <= BUDGET, "{}", text.len());
            assert!(text.contains("kms.secrets.wrap") && text.contains("uri"), "{text}");
        }
    }
}
