//! Query parameters.

use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ops::list::ListKeys;
use keygate_core::query::{KeyFilter, KeyQueryInput};
use keygate_core::store::PageRequest;

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

    /// `limit` and `offset`. A page has this many resources when nothing is said.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` when they are out of bounds.
    pub(super) fn page_of(&self, default: usize) -> Result<PageRequest, Error> {
        let limit = match self.get("limit") {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)),
        };
        let offset = match self.get("offset") {
            None => Some(0),
            Some(text) => text.parse().ok(),
        };
        match (limit, offset) {
            (Some(limit), Some(offset)) => Ok(PageRequest { offset, limit }),
            _ => {
                let wrong_limit = format!("'limit' must be an integer between 1 and {PAGE_MAX} (inclusive)");
                let wrong_offset = "'offset' must be an integer of at least 0".to_owned();
                let wrong = [("limit", limit.is_none(), wrong_limit), ("offset", offset.is_none(), wrong_offset)];
                let wrong = wrong.into_iter().filter(|(_, is_wrong, _)| *is_wrong);
                Err(Error::Refused(wrong.map(|(name, _, message)| invalid_reason(name, message)).collect()))
            }
        }
    }

    /// `limit` and `offset`, 200 a page when nothing is said.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` when they are out of bounds.
    pub(super) fn page(&self) -> Result<PageRequest, Error> {
        self.page_of(PAGE_DEFAULT)
    }

    /// What a list of keys asks.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` for each parameter that cannot be understood.
    pub(super) fn list(&self) -> Result<ListKeys, Error> {
        let asked = KeyQueryInput { sort: self.get("sort"), search: self.get("search"), ..self.narrowing() }.combine();
        let (mut reasons, asked) = match asked {
            Ok(asked) => (Vec::new(), Some(asked)),
            Err(reasons) => (reasons, None),
        };
        let mut note = |error: Error| match error {
            Error::Refused(more) => reasons.extend(more),
            other => reasons.push(invalid_reason("limit", other.to_string())),
        };
        let page = self.page().map_err(&mut note).ok();
        let count = self.flag("totalCount").map_err(&mut note).ok();
        match (asked, page, count) {
            (Some((filter, sort)), Some(page), Some(count)) => Ok(ListKeys { filter, sort, page, count }),
            _ => Err(Error::Refused(reasons)),
        }
    }

    /// What a count of keys asks.
    ///
    /// # Errors
    /// `INVALID_QUERY_PARAM_ERR` for each parameter that cannot be understood.
    pub(super) fn filter(&self) -> Result<KeyFilter, Error> {
        self.narrowing().combine().map(|(filter, _)| filter).map_err(Error::Refused)
    }

    fn narrowing(&self) -> KeyQueryInput<'_> {
        KeyQueryInput {
            state: self.get("state"),
            extractable: self.get("extractable"),
            filter: self.get("filter"),
            ..KeyQueryInput::default()
        }
    }
}

fn invalid(name: &str, message: String) -> Error {
    invalid_reason(name, message).into()
}

fn invalid_reason(name: &str, message: String) -> Reason {
    Reason::new(ReasonCode::InvalidQueryParam, message).query(name)
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
    fn every_parameter_that_is_wrong_is_told_at_once() {
        let asked = Query::parse(Some("limit=0&offset=x&totalCount=perhaps&state=4&sort=nothing&filter=x"));
        let Err(Error::Refused(reasons)) = asked.list() else { panic!("it was taken") };
        assert_eq!(reasons.len(), 6, "{reasons:?}");
        assert!(reasons.iter().all(|reason| reason.code == ReasonCode::InvalidQueryParam));
    }

    #[test]
    fn a_count_passes_over_what_only_lists_have() {
        assert!(Query::parse(Some("search=not:&sort=nothing")).filter().is_ok());
        assert!(Query::parse(Some("search=&sort=&filter=")).list().is_ok());
    }
}
