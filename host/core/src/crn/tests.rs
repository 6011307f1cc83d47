//! Tests of CRNs and of queries for them.

use proptest::prelude::*;

use super::*;

const BUCKET: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/00000000000000000000000000000000:feddecaf-0000-0000-0000-1234567890ab::bucket";
const INSTANCE: &str = "crn:v1:bluemix:public:databases-for-redis:us-south:a/274074dce64e9c423ffc238516c755e1:29caf0e7-120f-4da8-9551-3abf57ebcfc7";

fn crn(text: &str) -> ResourceCrn {
    ResourceCrn::parse(text).unwrap()
}

fn query(text: &str) -> CrnQuery {
    CrnQuery::parse(text).unwrap()
}

#[test]
fn the_crn_of_the_documents_is_one() {
    let bucket = crn(BUCKET);
    assert_eq!(bucket.as_str(), BUCKET);
    assert_eq!(bucket.service_name(), "cloud-object-storage");
    for text in
        [INSTANCE, &format!("{INSTANCE}:bucket"), &format!("{INSTANCE}::x"), &format!("{INSTANCE}:bucket:name/of/it")]
    {
        assert_eq!(crn(text).as_str(), text);
    }
    // What the Go SDK's tests register, and a service without location and account.
    assert!(
        ResourceCrn::parse("crn:v1:dummy-ennv:dummy-service:global:a/dummy-details:dummy-bucket:dummy-reg").is_ok()
    );
    assert!(ResourceCrn::parse("crn:v1:bluemix:public:iam:::instance").is_ok());
}

#[test]
fn empty_segments_at_the_end_make_no_other_resource() {
    for text in
        [INSTANCE, &format!("{INSTANCE}:"), &format!("{INSTANCE}::"), &format!("{INSTANCE}::").replace(':', "%3A")]
    {
        assert_eq!(crn(text), crn(INSTANCE), "{text}");
        assert_eq!(crn(text).as_str(), INSTANCE);
    }
    assert_eq!(crn(&format!("{INSTANCE}:bucket:")), crn(&format!("{INSTANCE}:bucket")));
    assert_ne!(crn(&format!("{INSTANCE}::bucket")), crn(&format!("{INSTANCE}:bucket")));
    assert!(ResourceCrn::parse(&format!("{INSTANCE}:::")).is_err(), "eleven segments");
}

#[test]
fn a_crn_that_is_still_encoded_is_decoded() {
    let encoded = "crn%3av1%3abluemix%3apublic%3acloud-object-storage%3aglobal%3aa%2f00000000000000000000000000000000%3afeddecaf-0000-0000-0000-1234567890ab%3a%3abucket";
    assert_eq!(crn(encoded), crn(BUCKET));
    assert_eq!(crn(&encoded.replace("%3a", "%3A").replace("%2f", "%2F")), crn(BUCKET));
    assert_eq!(query(&format!("{}%3A%2A%3A*", INSTANCE.replace(':', "%3A"))), query(&format!("{INSTANCE}:*:*")));
    // What is not encoded as a whole keeps its percent signs.
    assert_eq!(crn(&format!("{INSTANCE}:bucket:50%25")).as_str(), format!("{INSTANCE}:bucket:50%25"));
    for bad in ["crn%3", "crn%3A%", "crn%3A%4", "crn%3A%zz", "crn%3A%FF%3A", "crn%3A%é", "CRN%3av1"] {
        assert!(ResourceCrn::parse(bad).is_err() && CrnQuery::parse(bad).is_err(), "{bad}");
    }
    // Once more only: what comes out must be a CRN.
    assert!(ResourceCrn::parse(&encoded.replace('%', "%25")).is_err());
}

#[test]
fn what_is_no_crn_is_refused() {
    let many = "crn:v1:bluemix:public:service:global:a/1:instance:type:resource:more";
    for (text, words) in [
        (many, "no more than 10 segments"),
        (&":".repeat(10_000), "2048 bytes"),
        (&":".repeat(1_000), "no more than 10 segments"),
        ("crn:v1:bluemix:public:service:global:a/1", "at least the service instance"),
        ("crn:v1:bluemix:public:service:global:a/1:", "at least the service instance"),
        ("crn:v1:bluemix:public:service:global:a/1::type:resource", "at least the service instance"),
        ("crn", "at least the service instance"),
        ("", "begins with 'crn:v1:'"),
        ("arn:v1:bluemix:public:service:global:a/1:instance", "begins with 'crn:v1:'"),
        ("crn:v2:bluemix:public:service:global:a/1:instance", "begins with 'crn:v1:'"),
        ("crn:v1:bluemix:public::global:a/1:instance", "the service"),
        ("crn:v1:bluemix::service:global:a/1:instance", "the service"),
        ("crn:v1:bluemix:public:service:global:a/1:inst ance", "without blanks"),
        ("crn:v1:bluemix:public:service:global:a/1:instänce", "without blanks"),
        ("crn:v1:bluemix:public:service:global:a/1:instance\n", "without blanks"),
    ] {
        for problem in [ResourceCrn::parse(text).unwrap_err(), CrnQuery::parse(text).unwrap_err()] {
            assert!(problem.contains(words), "{text:?}: {problem}");
        }
    }
    assert!(ResourceCrn::parse(&format!("{INSTANCE}:*:*")).unwrap_err().contains("without '*'"));
}

#[test]
fn stars_stand_for_segments_and_for_the_end_of_the_last_one() {
    let base = "crn:v1:bluemix:public:service:global:a/1";
    for bad in ["i*:t:r", "i:t*:r", "i:t:*r", "i:t:r**", "i:t:r*r", "i:**:r", "i:t:**", "*i"] {
        let problem = CrnQuery::parse(&format!("{base}:{bad}")).unwrap_err();
        assert!(problem.contains("nowhere else"), "{bad}: {problem}");
    }
    for good in ["*", "i*", "i:*", "i:t*", "*:*:*", "i:t:r*", "*:t:r", "i:*:r*"] {
        assert!(CrnQuery::parse(&format!("{base}:{good}")).is_ok(), "{good}");
    }
    assert!(CrnQuery::parse("crn:*:*:*:*:*:*:*:*:*").is_ok());
}

#[test]
fn the_examples_of_the_documents_mean_what_they_say() {
    let cos = "crn:v1:bluemix:public:cloud-object-storage:global:a/e1bb63d6a20dc57c87501ac4c4c99dcb";
    let all_of_redis = query(&format!("{INSTANCE}:*:*"));
    for text in [INSTANCE, &format!("{INSTANCE}::"), &format!("{INSTANCE}:bucket:x"), &format!("{INSTANCE}::x")] {
        assert!(all_of_redis.matches(&crn(text)), "{text}");
    }
    assert!(!all_of_redis.matches(&crn(BUCKET)));
    assert!(!all_of_redis.matches(&crn(&format!("{INSTANCE}8:bucket:x"))), "another instance whose id begins alike");

    let prod = query(&format!("{cos}:*:bucket:prod*"));
    for (rest, expected) in [
        ("one:bucket:prod", true),
        ("two:bucket:production/x", true),
        ("one:bucket:test-prod", false),
        ("one:object:prod", false),
        ("one::prod", false),
        ("one:bucket", false),
        ("one:bucket:Prod", false),
    ] {
        assert_eq!(prod.matches(&crn(&format!("{cos}:{rest}"))), expected, "{rest}");
    }
    assert!(prod.has_star_in_first_eight());
    assert!(!all_of_redis.has_star_in_first_eight());
}

#[test]
fn what_a_query_leaves_out_is_empty_unless_it_ends_with_a_star() {
    let matches =
        |pattern: &str, text: &str| query(&format!("{INSTANCE}{pattern}")).matches(&crn(&format!("{INSTANCE}{text}")));
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "::", true),
        ("::", "", true),
        ("", ":bucket:x", false),
        (":bucket", ":bucket:", true),
        (":bucket", ":bucket:x", false),
        (":bucket:x", ":bucket:x", true),
        (":bucket:x", ":bucket:xy", false),
        (":*", ":bucket:x", true),
        (":*", "", true),
        (":buck*", ":bucket:x", true),
        (":buck*", ":object:x", false),
        ("*", ":bucket:x", true),
        (":*:x", ":bucket:x", true),
        (":*:x", "::x", true),
        (":*:x", ":bucket", false),
        ("::*", ":bucket:x", false),
        ("::*", "", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern:?} of {text:?}");
    }
}

#[test]
fn a_scan_begins_where_the_first_star_stands() {
    for (pattern, prefix) in [
        ("", ""),
        ("::", ""),
        (":*:*", ""),
        ("::*", ""),
        (":bucket:*", ":bucket"),
        (":bucket:prod*", ":bucket:prod"),
        ("::prod*", "::prod"),
        (":*:prod*", ""),
        (":bucket:x", ":bucket:x"),
    ] {
        assert_eq!(
            query(&format!("{INSTANCE}{pattern}")).literal_prefix(),
            format!("{INSTANCE}{prefix}"),
            "{pattern:?}"
        );
    }
    assert_eq!(query("crn:v1:bluemix:public:service:*:a/1:instance").literal_prefix(), "crn:v1:bluemix:public:service");
}

#[test]
fn a_star_in_the_first_eight_segments_is_seen() {
    for (text, expected) in [
        ("crn:v1:bluemix:public:service:global:a/1:i:*:*", false),
        ("crn:v1:bluemix:public:service:global:a/1:i", false),
        ("crn:v1:bluemix:public:service:global:a/1:*:*:*", true),
        ("crn:v1:bluemix:public:service:global:a/1:i*", true),
        ("crn:*:bluemix:public:service:global:a/1:i:t:r", true),
        ("crn:v1:bluemix:public:*:global:a/1:i:t:r", true),
    ] {
        assert_eq!(query(text).has_star_in_first_eight(), expected, "{text}");
    }
}

/// The last three segments, of a small alphabet so that queries often match.
fn tail() -> impl Strategy<Value = String> {
    ("[ab]{1,2}", prop::collection::vec("[ab]{0,2}", 0..3))
        .prop_map(|(instance, rest)| rest.into_iter().fold(instance, |text, segment| format!("{text}:{segment}")))
}

/// The same, with stars.
fn starred_tail() -> impl Strategy<Value = String> {
    let segment = || prop_oneof![Just("*".to_owned()), "[ab]{0,2}"];
    (prop_oneof![Just("*".to_owned()), "[ab]{1,2}"], prop::collection::vec(segment(), 0..3), any::<bool>()).prop_map(
        |(instance, rest, open)| {
            let text = rest.into_iter().fold(instance, |text, segment| format!("{text}:{segment}"));
            if open && !text.ends_with('*') { format!("{text}*") } else { text }
        },
    )
}

const SERVICE: &str = "crn:v1:bluemix:public:service:global:a/1:";

proptest! {
    #[test]
    fn every_crn_that_matches_begins_with_the_prefix(text in tail(), pattern in starred_tail()) {
        let (crn, query) = (crn(&format!("{SERVICE}{text}")), query(&format!("{SERVICE}{pattern}")));
        if query.matches(&crn) {
            prop_assert!(crn.as_str().starts_with(query.literal_prefix()), "{} of {}", query, crn);
        }
    }

    #[test]
    fn a_query_with_stars_for_some_segments_of_a_crn_matches_it(text in tail(), stars in any::<[bool; 10]>()) {
        let crn = crn(&format!("{SERVICE}{text}"));
        // Not for the first: a query is a CRN too.
        let starred = |(place, segment)| if place > 0 && stars[place] { "*" } else { segment };
        let pattern: Vec<&str> = crn.as_str().split(':').enumerate().map(starred).collect();
        let query = query(&pattern.join(":"));
        prop_assert!(query.matches(&crn), "{} of {}", query, crn);
        prop_assert_eq!(query.has_star_in_first_eight(), stars[1..8].contains(&true));
    }

    #[test]
    fn a_query_without_stars_matches_its_own_crn_and_no_other(one in tail(), other in tail()) {
        let (own, other) = (crn(&format!("{SERVICE}{one}")), crn(&format!("{SERVICE}{other}")));
        let query = query(own.as_str());
        prop_assert!(query.matches(&own));
        prop_assert_eq!(query.matches(&other), own.as_str().trim_end_matches(':') == other.as_str().trim_end_matches(':'));
    }

    #[test]
    fn a_crn_is_the_same_when_it_comes_encoded(text in tail()) {
        let plain = format!("{SERVICE}{text}");
        let encoded = plain.replace('/', "%2F").replace(':', "%3A").replace('a', "%61");
        prop_assert_eq!(crn(&encoded.replacen("%3A", "%3a", 1)), crn(&plain));
    }

    #[test]
    fn no_text_is_a_panic(text in prop_oneof![".{0,80}", "crn(:|%|3A|v1|\\*|é|a){0,40}"]) {
        if let Ok(crn) = ResourceCrn::parse(&text) {
            prop_assert!(!crn.service_name().is_empty());
        }
        if let Ok(query) = CrnQuery::parse(&text) {
            let _ = query.matches(&crn(BUCKET));
            prop_assert!(!query.literal_prefix().contains('*'));
        }
    }
}
