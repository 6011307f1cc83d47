//! The query parameters of a list of keys, all together.

use crate::error::{Reason, ReasonCode};

use super::{Filter, KeyFilter, Search, Sort, kind_of, parse_filter, parse_states, parse_truth};

/// The longest `search` and `sort`, in characters (`api-contract`, n).
const SEARCH_MAX: usize = 256;
const SORT_MAX: usize = 256;

/// The longest `filter`, in characters.
const FILTER_MAX: usize = 512;

/// The parameters as they came, decoded from the URL. One that is empty is absent (`api-contract`, fact 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyQueryInput<'a> {
    /// `state`.
    pub state: Option<&'a str>,
    /// `extractable`.
    pub extractable: Option<&'a str>,
    /// `sort`.
    pub sort: Option<&'a str>,
    /// `search`.
    pub search: Option<&'a str>,
    /// `filter`.
    pub filter: Option<&'a str>,
}

impl KeyQueryInput<'_> {
    /// What they ask together. Ring, instant and exception are left to be filled in.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` for each parameter that cannot be understood, and for `state` and `extractable` where
    /// `filter` asks for the same property.
    pub fn combine(self) -> Result<(KeyFilter, Sort), Vec<Reason>> {
        let mut reasons = Vec::new();
        let states = take(&mut reasons, "state", self.state, usize::MAX, |text| {
            parse_states(text).ok_or_else(|| "must be a list of 0, 1, 2, 3 and 5, with commas and no blanks".to_owned())
        });
        let kind = take(&mut reasons, "extractable", self.extractable, usize::MAX, |text| {
            parse_truth(text).map(kind_of).ok_or_else(|| "must be true or false".to_owned())
        });
        let sort = take(&mut reasons, "sort", self.sort, SORT_MAX, |text| cannot(Sort::parse(text)));
        // The comma that the Go SDK adds to every search is none of its caller's characters.
        let term = self.search.map(|text| text.strip_suffix(',').unwrap_or(text));
        let search = take(&mut reasons, "search", term, SEARCH_MAX, |text| cannot(Search::parse(&format!("{text},"))));
        let filter = take(&mut reasons, "filter", self.filter, FILTER_MAX, |text| cannot(parse_filter(text)));

        let filter = filter.unwrap_or_default();
        for (name, twice) in [
            ("state", given(self.state).is_some() && filter.states.is_some()),
            ("extractable", given(self.extractable).is_some() && filter.kind.is_some()),
        ] {
            if twice {
                reasons
                    .push(invalid(name, &format!("must not stand beside a filter on '{name}'; keep one of the two")));
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }

        let Filter { conditions, states: filtered_states, kind: filtered_kind } = filter;
        let everything = KeyFilter::default();
        let filter = KeyFilter {
            states: states.or(filtered_states).unwrap_or(everything.states),
            kind: kind.or(filtered_kind),
            conditions,
            search,
            ..KeyFilter::default()
        };
        Ok((filter, sort.unwrap_or_default()))
    }
}

/// Reads one parameter where it is given, and notes what is wrong with it.
fn take<T>(
    reasons: &mut Vec<Reason>,
    name: &str,
    text: Option<&str>,
    longest: usize,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = given(text)?;
    let parsed = if text.chars().count() > longest {
        Err(format!("must have at most {longest} characters"))
    } else {
        parse(text)
    };
    parsed.map_err(|problem| reasons.push(invalid(name, &problem))).ok()
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn cannot<T>(parsed: Result<T, String>) -> Result<T, String> {
    parsed.map_err(|problem| format!("cannot be read: {problem}"))
}

fn invalid(name: &str, problem: &str) -> Reason {
    Reason::new(ReasonCode::InvalidQueryParam, format!("'{name}' {problem}")).query(name)
}

#[cfg(test)]
mod tests {
    use super::super::Condition;
    use super::*;
    use crate::error::Target;
    use crate::key::{KeyKind, KeyState};
    use proptest::prelude::*;

    /// The parameters that are complained of, in order.
    fn faults(input: KeyQueryInput<'_>) -> Vec<String> {
        let reasons = input.combine().expect_err("it was understood");
        assert!(!reasons.is_empty());
        let names = reasons.into_iter().map(|reason| {
            assert_eq!(reason.code, ReasonCode::InvalidQueryParam);
            let Some(Target::QueryParam(name)) = reason.target else { panic!("no target: {}", reason.message) };
            assert!(reason.message.starts_with(&format!("'{name}' ")), "{}", reason.message);
            name
        });
        names.collect()
    }

    #[test]
    fn what_is_absent_or_empty_asks_for_the_usual_list() {
        let usual = Ok((KeyFilter::default(), Sort::default()));
        assert_eq!(KeyQueryInput::default().combine(), usual);
        let empty = Some("");
        let input = KeyQueryInput { state: empty, extractable: empty, sort: empty, search: empty, filter: empty };
        assert_eq!(input.combine(), usual);
        let go = KeyQueryInput { search: Some(","), filter: Some(" "), ..KeyQueryInput::default() };
        assert_eq!(go.combine(), usual, "an empty search as the Go SDK sends it");
    }

    #[test]
    fn the_old_parameters_narrow_the_list() {
        let input = KeyQueryInput { state: Some("1,5"), extractable: Some("true"), ..KeyQueryInput::default() };
        let (filter, sort) = input.combine().unwrap();
        assert_eq!(filter.states, [KeyState::Active, KeyState::Destroyed]);
        assert_eq!(filter.kind, Some(KeyKind::Standard));
        assert!(sort.is_by_id());
        let root = KeyQueryInput { extractable: Some("FALSE"), ..KeyQueryInput::default() };
        assert_eq!(root.combine().unwrap().0.kind, Some(KeyKind::Root));
    }

    #[test]
    fn everything_together_is_understood() {
        let input = KeyQueryInput {
            state: Some("0,1"),
            extractable: None,
            sort: Some("-creationDate,state"),
            search: Some("name:not:foo,"),
            filter: Some(" lastRotateDate=none extractable=False"),
        };
        let (filter, sort) = input.combine().unwrap();
        assert_eq!(filter.states, [KeyState::PreActivation, KeyState::Active]);
        assert_eq!(filter.kind, Some(KeyKind::Root));
        assert!(matches!(filter.conditions[..], [Condition::Date(..)]));
        assert_eq!(filter.search.unwrap().term(), "foo");
        assert_eq!(sort.properties().len(), 2);
    }

    #[test]
    fn a_filter_and_an_old_parameter_for_the_same_property_exclude_each_other() {
        let both =
            |state, extractable, filter| KeyQueryInput { state, extractable, filter, ..KeyQueryInput::default() };
        assert_eq!(faults(both(Some("1"), None, Some("state=1"))), ["state"]);
        assert_eq!(faults(both(None, Some("true"), Some("extractable=true"))), ["extractable"]);
        let all = both(Some("1"), Some("true"), Some("extractable=true state=1,2"));
        assert_eq!(faults(all), ["state", "extractable"]);
        assert!(all.combine().unwrap_err()[0].message.contains("keep one of the two"));
        // Not the same property, or not given at all.
        assert!(both(Some("1"), None, Some("extractable=true")).combine().is_ok());
        assert!(both(None, Some("true"), Some("state=1")).combine().is_ok());
        assert!(both(Some(""), Some(""), Some("state=1 extractable=true")).combine().is_ok());
        assert!(both(Some("1"), Some("true"), Some("creationDate=none")).combine().is_ok());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let input = KeyQueryInput {
            state: Some("4"),
            extractable: Some("yes"),
            sort: Some("name"),
            search: Some("not:"),
            filter: Some("state"),
        };
        assert_eq!(faults(input), ["state", "extractable", "sort", "search", "filter"]);
        let conflict = KeyQueryInput { state: Some("x"), filter: Some("state=1"), ..KeyQueryInput::default() };
        assert_eq!(faults(conflict), ["state", "state"]);
    }

    #[test]
    fn states_are_the_five_that_there_are() {
        for bad in ["4", "1,", ",1", "1, 2", "6", "one", "+1", "01", " ", "1;2", "-1"] {
            assert_eq!(faults(KeyQueryInput { state: Some(bad), ..KeyQueryInput::default() }), ["state"], "{bad:?}");
        }
    }

    #[test]
    fn parameters_have_a_greatest_length_in_characters() {
        let search = |text: &str| KeyQueryInput { search: Some(text), ..KeyQueryInput::default() }.combine();
        assert!(search(&"ä".repeat(256)).is_ok());
        assert!(search(&format!("{},", "x".repeat(256))).is_ok(), "the comma of the Go SDK does not count");
        assert!(search(&"x".repeat(257)).is_err());
        assert!(search(&"x".repeat(10_000)).unwrap_err()[0].message.contains("at most 256"));

        let filter = |text: &str| KeyQueryInput { filter: Some(text), ..KeyQueryInput::default() }.combine();
        assert!(filter(&format!("state=1{}", " ".repeat(505))).is_ok());
        assert!(filter(&format!("state=1{}", " ".repeat(506))).is_err());

        let sort = |text: &str| KeyQueryInput { sort: Some(text), ..KeyQueryInput::default() }.combine();
        assert!(sort(&format!("id{}", ",id".repeat(84))).unwrap_err()[0].message.contains("twice"), "254 characters");
        assert!(sort(&format!("id{}", ",id".repeat(85))).unwrap_err()[0].message.contains("at most 256"));
    }

    proptest! {
        #[test]
        fn no_parameters_are_a_panic(
            state in prop::option::of(".{0,12}"),
            extractable in prop::option::of(".{0,6}"),
            sort in prop::option::of("[a-zA-Z,-]{0,30}"),
            search in prop::option::of(".{0,300}"),
            filter in prop::option::of("(state|creationDate|=|\"|none|lt:|1| |é){0,40}"),
        ) {
            let input = KeyQueryInput {
                state: state.as_deref(),
                extractable: extractable.as_deref(),
                sort: sort.as_deref(),
                search: search.as_deref(),
                filter: filter.as_deref(),
            };
            if let Err(reasons) = input.combine() {
                prop_assert!(!reasons.is_empty() && reasons.len() <= 7);
            }
        }
    }
}
