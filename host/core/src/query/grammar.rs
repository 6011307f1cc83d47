//! `filter`: keys by their properties.
//!
//! `expression (blank+ expression)*`, where an expression is `date=none`, `date=[operator:]"RFC 3339"`,
//! `state=0,1,2,3,5` or `extractable=true`, and `date` is one of the five dates of a key. Operators are `lt`, `lte`, `gt`
//! and `gte`. Names and operators are written as here; `none`, `true` and `false` in any case. All expressions must hold.

use crate::key::{KeyKind, KeyState};

use super::{Comparison, Condition, DateLiteral, DateProperty, DateTest, kind_of, parse_states, parse_truth};

/// How many expressions a filter has about one property at most.
const PER_PROPERTY: usize = 3;

/// What a filter asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// In one of these states; `None` where nothing is said of states. Empty where two lists have none in common.
    pub states: Option<Vec<KeyState>>,
    /// Of this kind; `None` where nothing is said of it.
    pub kind: Option<KeyKind>,
}

/// Reads a filter. Blanks before and after are passed over; a filter of blanks asks nothing.
///
/// # Errors
/// With what cannot be read, and how to mend it.
pub fn parse_filter(text: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    let mut seen: Vec<Name> = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let expression = Expression::take(&mut rest)?;
        if seen.iter().filter(|name| **name == expression.name).count() == PER_PROPERTY {
            return Err(format!(
                "'{}' stands more than {PER_PROPERTY} times; leave some of it out",
                expression.name.as_str()
            ));
        }
        seen.push(expression.name);
        filter.add(&expression)?;
    }
    Ok(filter)
}

impl Filter {
    fn add(&mut self, expression: &Expression<'_>) -> Result<(), String> {
        match expression.name {
            Name::Date(property) => self.conditions.push(Condition::Date(property, expression.date_test()?)),
            Name::State => self.add_states(expression.states()?),
            Name::Extractable => self.add_kind(expression.kind()?),
        }
        Ok(())
    }

    fn add_states(&mut self, states: Vec<KeyState>) {
        match &mut self.states {
            None => self.states = Some(states),
            Some(before) => before.retain(|state| states.contains(state)),
        }
    }

    fn add_kind(&mut self, kind: KeyKind) {
        match self.kind {
            None => self.kind = Some(kind),
            Some(before) if before == kind => {}
            Some(_) => self.conditions.push(Condition::Kind(kind)),
        }
    }
}

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Date(DateProperty),
    State,
    Extractable,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Date(property) => property.as_str(),
            Self::State => "state",
            Self::Extractable => "extractable",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "state" => Some(Self::State),
            "extractable" => Some(Self::Extractable),
            _ => DateProperty::named(name).map(Self::Date),
        }
    }
}

/// `name=[operator:]value`, taken apart and not yet understood.
struct Expression<'a> {
    name: Name,
    operator: Option<Comparison>,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    /// In double quotes, without them.
    Quoted(&'a str),
    /// Without quotes, as far as the next blank.
    Bare(&'a str),
}

impl<'a> Expression<'a> {
    /// Takes an expression and the blanks behind it off the beginning of `rest`, which is not blank.
    fn take(rest: &mut &'a str) -> Result<Self, String> {
        let end = rest.find(|c: char| c == '=' || is_blank(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix('=') else {
            return Err(format!(
                "there is no '=' after \"{name}\"; write property=value, without blanks around the '=', and a blank \
                 before the next property"
            ));
        };
        let Some(name) = Name::named(name) else {
            let dates = DateProperty::ALL.map(DateProperty::as_str).join(", ");
            return Err(format!("\"{name}\" is not one of {dates}, extractable, state"));
        };
        let (operator, after) = take_operator(after);
        let (value, after) = take_value(name, after)?;
        *rest = after;
        Ok(Self { name, operator, value })
    }

    fn date_test(&self) -> Result<DateTest, String> {
        let name = self.name.as_str();
        match (self.value, self.operator) {
            (Value::Quoted(text), operator) => {
                let date = DateLiteral::parse(text).map_err(|message| format!("'{name}': {message}"))?;
                Ok(DateTest::Is(operator.unwrap_or(Comparison::Equal), date))
            }
            (Value::Bare(text), None) if text.eq_ignore_ascii_case("none") => Ok(DateTest::Absent),
            (Value::Bare(_), _) => Err(format!(
                "'{name}' needs a date in double quotes, with lt:, lte:, gt:, gte: or nothing before it, or the word none \
                 alone"
            )),
        }
    }

    fn states(&self) -> Result<Vec<KeyState>, String> {
        self.bare()
            .and_then(parse_states)
            .ok_or_else(|| "'state' needs a list of 0, 1, 2, 3 and 5, with commas, no blanks and no quotes".to_owned())
    }

    fn kind(&self) -> Result<KeyKind, String> {
        self.bare()
            .and_then(parse_truth)
            .map(kind_of)
            .ok_or_else(|| "'extractable' needs true or false, without quotes".to_owned())
    }

    /// The value, where it has neither quotes nor an operator.
    fn bare(&self) -> Option<&'a str> {
        match (self.value, self.operator) {
            (Value::Bare(text), None) => Some(text),
            _ => None,
        }
    }
}

fn take_operator(text: &str) -> (Option<Comparison>, &str) {
    let operator = |(comparison, name): (Comparison, &str)| {
        let after = text.strip_prefix(name)?.strip_prefix(':')?;
        Some((Some(comparison), after))
    };
    Comparison::OPERATORS.into_iter().find_map(operator).unwrap_or((None, text))
}

fn take_value(name: Name, text: &str) -> Result<(Value<'_>, &str), String> {
    let name = name.as_str();
    let (value, after) = match text.strip_prefix('"') {
        Some(quoted) => match quoted.split_once('"') {
            Some((value, after)) => (Value::Quoted(value), after),
            None => return Err(format!("the double quote after '{name}=' is not closed; write another at the end")),
        },
        None => {
            let (value, after) = text.split_at(text.find(is_blank).unwrap_or(text.len()));
            (Value::Bare(value), after)
        }
    };
    let next = after.trim_start_matches(is_blank);
    if after.len() == next.len() && !next.is_empty() {
        return Err(format!("there is more right after the value of '{name}'; write a blank before the next property"));
    }
    Ok((value, next))
}

/// Blanks between expressions.
const fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

#[cfg(test)]
mod tests;
