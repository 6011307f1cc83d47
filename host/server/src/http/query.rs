//! Query parameters.

use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::key::{KeyKind, KeyState};
use keygate_core::store::{KeyFilter, PageRequest};

/// The parameters of a request. A parameter that is given empty is absent (`api-contract`, fact 11).
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// How long a page may be, and how long it is when nothing is said.
const PAGE_MAX: usize = 5_000;
const PAGE_DEFAULT: usize = 200;

impl Query {
    /// Reads the part of a URI behind the `?`.
    pub(super) fn parse(text: Option<&str>) -> Self {
        // Decoding cannot fail: what is not well encoded stays as it is.
        Self(text.map(|text| form_urlencoded::parse(text.as_bytes()).into_owned().collect()).unwrap_or_default())
    }

    /// A parameter's value, where it is given and not empty. The first of several counts.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// A truth value; absent is false.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.truth(name)?.unwrap_or(false))
    }

    /// A truth value, or none.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR`.
    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(invalid(name, format!("'{name}' must be true or false"))),
        }
    }

    /// `limit` and `offset`.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` when they are out of bounds.
    pub(super) fn page(&self) -> Result<PageRequest, Error> {
        let limit = match self.get("limit") {
            None => PAGE_DEFAULT,
            Some(text) => text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
                invalid("limit", format!("'limit' must be an integer between 1 and {PAGE_MAX} (inclusive)"))
            })?,
        };
        let offset = match self.get("offset") {
            None => 0,
            Some(text) => {
                text.parse().map_err(|_| invalid("offset", "'offset' must be an integer of at least 0".to_owned()))?
            }
        };
        Ok(PageRequest { offset, limit })
    }

    /// `state` and `extractable`.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` when they are not what they must be, and for `search`, `sort` and `filter`: to pass over
    /// one of those would be to answer another question than was asked.
    pub(super) fn filter(&self) -> Result<KeyFilter, Error> {
        // Lists are in the order of ids anyway.
        let asked = |name: &&str| self.get(name).is_some_and(|value| !(*name == "sort" && value == "id"));
        if let Some(name) = ["search", "sort", "filter"].into_iter().find(asked) {
            return Err(invalid(name, format!("'{name}' is not offered by this version; leave it out")));
        }
        let mut filter = KeyFilter::default();
        if let Some(text) = self.get("state") {
            let states: Option<Vec<KeyState>> = text.split(',').map(state_numbered).collect();
            filter.states = states.ok_or_else(|| {
                invalid("state", "'state' must be a list of 0, 1, 2, 3 and 5, with commas and no blanks".to_owned())
            })?;
        }
        filter.kind = self.truth("extractable")?.map(|yes| if yes { KeyKind::Standard } else { KeyKind::Root });
        Ok(filter)
    }
}

/// The state with this number: one digit, and no sign before it.
fn state_numbered(text: &str) -> Option<KeyState> {
    let &[digit @ b'0'..=b'9'] = text.as_bytes() else { return None };
    KeyState::from_number(digit - b'0')
}

fn invalid(name: &str, message: String) -> Error {
    Reason::new(ReasonCode::InvalidQueryParam, message).query(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_parameter_is_an_absent_one() {
        let query = Query::parse(Some("state=&limit=&extractable="));
        assert_eq!(query.filter().unwrap(), KeyFilter::default());
        assert_eq!(query.page().unwrap(), PageRequest { offset: 0, limit: 200 });
    }

    #[test]
    fn pages_have_bounds() {
        let page = |text| Query::parse(Some(text)).page();
        assert_eq!(page("limit=5000&offset=7").unwrap(), PageRequest { offset: 7, limit: 5000 });
        for bad in
            ["limit=0", "limit=5001", "limit=-1", "limit=x", "offset=-1", "offset=1.5", "limit=99999999999999999999"]
        {
            assert_eq!(page(bad).unwrap_err().reason_code(), Some(ReasonCode::InvalidQueryParam), "{bad}");
        }
    }

    #[test]
    fn a_question_that_cannot_be_answered_is_not_answered_as_another() {
        for text in ["search=x", "sort=-name", "filter=state=1"] {
            assert!(Query::parse(Some(text)).filter().is_err(), "{text}");
        }
        assert!(Query::parse(Some("search=&sort=&filter=")).filter().is_ok());
        assert!(Query::parse(Some("sort=id")).filter().is_ok(), "the order that lists have");
    }

    #[test]
    fn states_are_the_five_that_there_are() {
        let states = |text: &str| Query::parse(Some(text)).filter().map(|filter| filter.states);
        assert_eq!(states("state=1,5").unwrap(), [KeyState::Active, KeyState::Destroyed]);
        for bad in ["state=4", "state=1,", "state=1,%202", "state=6", "state=one", "state=%2B1", "state=01"] {
            assert!(states(bad).is_err(), "{bad}");
        }
    }
}
