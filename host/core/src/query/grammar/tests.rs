//! Tests of the filter's grammar.

use proptest::prelude::*;

use super::super::samples::listed;
use super::super::{KeyFilter, Listed};
use super::*;
use crate::clock::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Whether a filter lets a key through, in whatever state it is unless the filter says.
fn passes(text: &str, key: &Listed<'_>) -> bool {
    let Filter { conditions, states, kind } = parse_filter(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    let states = states.unwrap_or_else(|| KeyState::ALL.to_vec());
    KeyFilter { conditions, states, kind, ..KeyFilter::default() }.matches(key)
}

fn rotated(date: &str) -> Listed<'static> {
    Listed { rotated: Some(at(date)), ..listed() }
}

#[test]
fn the_examples_of_the_documents_mean_what_they_say() {
    let never = listed();
    let february = rotated("2022-02-15T00:00:00Z");
    let later = rotated("2022-02-15T00:00:01Z");
    let march = rotated("2022-03-15T00:00:00Z");
    let before = rotated("2022-02-14T23:59:59.999Z");
    // Whether each of those passes.
    let table = [
        (r#"lastRotateDate="2022-02-15T00:00:00Z""#, [false, false, true, false, false]),
        (r#"lastRotateDate=gte:"2022-02-15T00:00:00Z""#, [false, false, true, true, true]),
        (
            r#"lastRotateDate=gte:"2022-02-15T00:00:00Z" lastRotateDate=lt:"2022-03-15T00:00:00Z""#,
            [false, false, true, true, false],
        ),
        (
            r#"lastRotateDate="2022-02-15T00:00:00Z" state=0,1,2,3,5 extractable=false"#,
            [false, false, true, false, false],
        ),
        ("lastRotateDate=none", [true, false, false, false, false]),
        (r#"lastRotateDate=gt:"2022-02-15T00:00:00Z""#, [false, false, false, true, true]),
        (r#"lastRotateDate=lt:"2022-02-15T00:00:00Z""#, [false, true, false, false, false]),
        (r#"lastRotateDate=lte:"2022-02-15T00:00:00Z""#, [false, true, true, false, false]),
    ];
    for (text, expected) in table {
        let passed = [&never, &before, &february, &later, &march].map(|key| passes(text, key));
        assert_eq!(passed, expected, "{text}");
    }
}

#[test]
fn filters_are_understood_as_the_go_sdk_writes_them() {
    let key = Listed { created: at("2026-01-02T02:04:05.679Z"), ..listed() };
    assert!(passes(r#" creationDate=gt:"2026-01-02T03:04:05.678901234+01:00""#, &key));
    assert!(!passes(r#" creationDate=lte:"2026-01-02T03:04:05.678901234+01:00""#, &key));
    assert!(passes(
        r#" creationDate="2026-01-02T03:04:05+01:00" lastRotateDate=none state=0,1 extractable=false"#,
        &key
    ));
}

#[test]
fn each_property_is_the_one_that_it_is_called() {
    let (date, other) = (at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
    let without = Listed { created: other, updated: other, ..listed() };
    let table = [
        ("creationDate", Listed { created: date, ..without }),
        ("lastUpdateDate", Listed { updated: date, ..without }),
        ("lastRotateDate", Listed { rotated: Some(date), ..without }),
        ("deletionDate", Listed { deleted: Some(date), ..without }),
        ("expirationDate", Listed { expires: Some(date), ..without }),
    ];
    for (name, with) in table {
        let text = format!(r#"{name}="2026-01-02T00:00:00Z""#);
        assert!(passes(&text, &with) && !passes(&text, &without), "{text}");
        let none = format!("{name}=NONE");
        assert!(!passes(&none, &with), "{none}");
        assert_eq!(passes(&none, &without), !matches!(name, "creationDate" | "lastUpdateDate"), "{none}");
    }
    let standard = Listed { kind: KeyKind::Standard, state: KeyState::Suspended, ..listed() };
    for (text, expected) in [
        ("extractable=True", true),
        ("extractable=FALSE", false),
        ("state=2", true),
        ("state=0,1,3,5", false),
        ("state=5,2", true),
    ] {
        assert_eq!(passes(text, &standard), expected, "{text}");
    }
}

#[test]
fn blanks_stand_before_between_and_behind() {
    let filter = parse_filter("  state=1 \t  extractable=true  lastRotateDate=none ").unwrap();
    assert_eq!(filter, parse_filter("state=1 extractable=true lastRotateDate=none").unwrap());
    assert_eq!(parse_filter("   ").unwrap(), Filter::default());
    assert_eq!(parse_filter("").unwrap(), Filter::default());
}

#[test]
fn a_property_stands_up_to_three_times_and_all_of_it_holds() {
    let date = r#"creationDate=gt:"2022-02-15T00:00:00Z" "#;
    assert_eq!(parse_filter(&date.repeat(3)).unwrap().conditions.len(), 3);
    assert!(parse_filter(&date.repeat(4)).unwrap_err().contains("'creationDate' stands more than 3 times"));
    assert!(parse_filter(&format!("{}state=1 lastUpdateDate=none", date.repeat(3))).is_ok());
    assert!(parse_filter("state=1 state=1 state=1").is_ok());
    assert!(parse_filter("state=1 state=1 state=1 state=1").is_err());
    assert!(parse_filter(&"extractable=true ".repeat(4)).is_err());

    assert_eq!(
        parse_filter("state=1,2,3 state=2,3,5").unwrap().states,
        Some(vec![KeyState::Suspended, KeyState::Deactivated])
    );
    assert_eq!(parse_filter("state=1 state=2").unwrap().states, Some(Vec::new()));
    for kind in [KeyKind::Root, KeyKind::Standard] {
        let key = Listed { kind, ..listed() };
        assert!(!passes("extractable=true extractable=false", &key));
        assert!(!passes("extractable=false extractable=true extractable=false", &key));
        assert_eq!(passes("extractable=true extractable=true", &key), kind == KeyKind::Standard);
    }
}

#[test]
fn what_is_no_filter_is_refused_with_the_mend() {
    let table = [
        ("foo", "no '='"),
        ("state", "no '='"),
        ("creationDate = none", "no '='"),
        ("=none", "is not one of"),
        ("name=x", "is not one of"),
        ("CreationDate=none", "is not one of"),
        (r#""creationDate"=none"#, "is not one of"),
        ("creationDate=", "in double quotes"),
        ("creationDate= none", "in double quotes"),
        ("creationDate=nothing", "in double quotes"),
        ("creationDate=2022-02-15T00:00:00Z", "in double quotes"),
        ("creationDate=“2022-02-15T00:00:00Z”", "in double quotes"),
        ("creationDate=gt:none", "in double quotes"),
        (r#"creationDate=eq:"2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate=GT:"2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate=gt:lt:"2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate=gt"2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate=>"2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate=gt: "2022-02-15T00:00:00Z""#, "in double quotes"),
        (r#"creationDate="2022-02-15""#, "RFC 3339"),
        (r#"creationDate="none""#, "RFC 3339"),
        (r#"creationDate="""#, "RFC 3339"),
        (r#"creationDate=" 2022-02-15T00:00:00Z""#, "RFC 3339"),
        (r#"creationDate="2022-02-15T00:00:00 01:00""#, "%2B"),
        (r#"creationDate="2022-02-15T00:00:00Z"#, "not closed"),
        (r#"creationDate=""#, "not closed"),
        (r#"creationDate="2022-02-15T00:00:00Z"state=1"#, "write a blank"),
        (r#"creationDate="2022-02-15T00:00:00Z"""#, "write a blank"),
        (r#"creationDate="2022-02-15T00:00:00Z",state=1"#, "write a blank"),
        ("state=", "list of 0, 1, 2, 3 and 5"),
        ("state=4", "list of 0, 1, 2, 3 and 5"),
        ("state=1,", "list of 0, 1, 2, 3 and 5"),
        ("state=1, 2", "list of 0, 1, 2, 3 and 5"),
        ("state=none", "list of 0, 1, 2, 3 and 5"),
        ("state=gt:1", "list of 0, 1, 2, 3 and 5"),
        (r#"state="1""#, "list of 0, 1, 2, 3 and 5"),
        ("extractable=", "true or false"),
        ("extractable=yes", "true or false"),
        ("extractable=none", "true or false"),
        (r#"extractable="true""#, "true or false"),
        ("extractable=lt:true", "true or false"),
        ("state=1&extractable=true", "list of 0, 1, 2, 3 and 5"),
        ("state=1 and extractable=true", "no '='"),
    ];
    for (text, words) in table {
        let problem = parse_filter(text).expect_err(text);
        assert!(problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn a_lone_quote_at_the_end_is_not_lost() {
    assert!(parse_filter(r#"state=1 ""#).is_err());
    assert!(parse_filter(r#"" state=1"#).is_err());
    assert!(parse_filter(&"\"".repeat(10_000)).is_err());
    assert!(parse_filter(&"é=".repeat(10_000)).is_err());
}

/// An expression as text, and the same as the date test that it is.
fn date_expression() -> impl Strategy<Value = (String, Condition)> {
    let operator = prop::sample::select(vec![
        ("", Comparison::Equal),
        ("lt:", Comparison::Before),
        ("lte:", Comparison::NotAfter),
        ("gt:", Comparison::After),
        ("gte:", Comparison::NotBefore),
    ]);
    let date = (0_u64..=253_402_300_799_999).prop_map(|ms| Timestamp::from_unix_ms(ms).to_rfc3339_millis());
    let value = prop_oneof![
        4 => (operator, date).prop_map(|((operator, comparison), date)| {
            let literal = DateLiteral::parse(&date).unwrap();
            (format!("{operator}\"{date}\""), DateTest::Is(comparison, literal))
        }),
        1 => prop::sample::select(vec!["none", "None", "NONE"]).prop_map(|none| (none.to_owned(), DateTest::Absent)),
    ];
    (prop::sample::select(DateProperty::ALL.to_vec()), value)
        .prop_map(|(property, (text, test))| (format!("{}={text}", property.as_str()), Condition::Date(property, test)))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        expressions in prop::collection::vec(date_expression(), 0..4),
        states in prop::option::of(prop::collection::vec(prop::sample::select(KeyState::ALL.to_vec()), 1..6)),
        extractable in prop::option::of(any::<bool>()),
        blanks in " {1,3}",
    ) {
        let mut written: Vec<String> = expressions.iter().map(|(text, _)| text.clone()).collect();
        if let Some(states) = &states {
            let numbers: Vec<String> = states.iter().map(|state| state.number().to_string()).collect();
            written.insert(0, format!("state={}", numbers.join(",")));
        }
        if let Some(extractable) = extractable {
            written.push(format!("extractable={extractable}"));
        }
        let text = format!("{blanks}{}{blanks}", written.join(&blanks));
        let expected = Filter {
            conditions: expressions.into_iter().map(|(_, condition)| condition).collect(),
            states,
            kind: extractable.map(kind_of),
        };
        prop_assert_eq!(parse_filter(&text), Ok(expected));
    }

    #[test]
    fn no_text_is_a_panic(
        text in prop_oneof![
            ".{0,80}",
            "(creationDate|state|extractable|=|\"|lte:|none|1|,| |2022-02-15T00:00:00Z|é){0,30}",
        ],
    ) {
        if let Ok(filter) = parse_filter(&text) {
            let KeyFilter { states, .. } = KeyFilter::default();
            let filter = KeyFilter {
                conditions: filter.conditions,
                states: filter.states.unwrap_or(states),
                kind: filter.kind,
                ..KeyFilter::default()
            };
            let _ = filter.matches(&listed());
        }
    }
}
