//! How long an answer is good for.

use keygate_plugin_sdk::rule::{Facts, Memo};

use super::{DAY, NOW, request, verdict};

const BASE: [Facts; 5] = [Facts::PRINCIPAL, Facts::ACTION, Facts::INSTANCE, Facts::KEY_RING, Facts::KEY_IDENTITY];

fn memo(condition: &str) -> Option<Memo> {
    let policy =
        format!("forbid (principal, action == Action::\"kms.secrets.unwrap\", resource) when {{ {condition} }};");
    verdict(&policy, &request("kms.secrets.unwrap")).memo
}

fn with(more: Facts) -> Facts {
    BASE.into_iter().fold(more, |all, one| all | one)
}

#[test]
fn an_answer_depends_on_what_policies_mention() {
    for (condition, reads) in [
        ("principal.id == \"x\"", Facts::ACTION),
        ("resource.kind == \"standard\"", Facts::ACTION),
        ("resource.tags.contains(\"x\")", Facts::KEY_METADATA),
        ("context.endpoint == \"public\"", Facts::NETWORK),
        ("context has force", Facts::ATTRIBUTES),
    ] {
        assert_eq!(memo(condition), Some(Memo { reads: with(reads), valid_until_unix_ms: None }), "{condition}");
    }
    for not_good in ["context.time.unixMs == 3", "context.request.hasTag(\"x\")"] {
        assert_eq!(memo(not_good), None, "{not_good}");
    }
}

#[test]
fn an_answer_of_the_clock_is_good_until_the_clock_moves() {
    const HOUR: u64 = 3_600_000;
    for (condition, until) in [
        ("context.time.hour == 3", NOW + HOUR),
        ("context.time.clock == 3", NOW + 60_000),
        ("context.time.weekday == 3", NOW + 13 * HOUR),
        ("context.time.hour == 3 && context.time.minute == 3", NOW + 60_000),
    ] {
        let reads = with(Facts::TIME);
        assert_eq!(memo(condition), Some(Memo { reads, valid_until_unix_ms: Some(until) }), "{condition}");
    }
    let age = memo("resource.ageDays > 1000").unwrap();
    assert_eq!(age.valid_until_unix_ms, Some(NOW + DAY));
    assert_eq!(age.reads, with(Facts::TIME));
}
