//! `search`: keys by name, alias or id.
//!
//! `(option ":" | scope ":")* term`. Options are `not`, `exact` and `escape`, scopes `name` and `alias`; they stand in any
//! order, each at most once, and after `escape:` all is term. A word before a colon that is neither is a part of the term.

use crate::ids::{Alias, KeyId, KeySelector};

use super::Listed;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// In the name.
    pub name: bool,
    /// In the aliases.
    pub alias: bool,
}

impl Scopes {
    /// The API's names of them, as `metadata.searchQuery.scopes` has them.
    pub fn names(self) -> Vec<&'static str> {
        [(self.name, "name"), (self.alias, "alias")].into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }
}

/// A key that a search names whole: it is looked up, and stands before all that is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The key with this id.
    Id(KeyId),
    /// The key with this alias.
    Alias(Alias),
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    not: bool,
    exact: bool,
    scopes: Scopes,
    term: String,
    /// The term as [`fold`] writes it.
    folded: String,
    /// The key with this id is found whatever its names are.
    id: Option<KeyId>,
}

impl Search {
    /// Reads a search. One comma at the end is passed over: the Go SDK adds it to every search, whatever is searched.
    ///
    /// # Errors
    /// When there is nothing to search, or an option or scope stands twice. Says how to mend it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_suffix(',').unwrap_or(text);
        let (mut not, mut exact, mut name, mut alias) = (false, false, false, false);
        while let Some((word, after)) = rest.split_once(':') {
            let seen = match word {
                "escape" => {
                    rest = after;
                    break;
                }
                "not" => &mut not,
                "exact" => &mut exact,
                "name" => &mut name,
                "alias" => &mut alias,
                _ => break,
            };
            if std::mem::replace(seen, true) {
                return Err(format!(
                    "'{word}:' stands twice; write it once, or write 'escape:' before a term that begins with it"
                ));
            }
            rest = after;
        }
        if rest.is_empty() {
            return Err("there is nothing to search; write a term, and 'escape:' before one like 'not:'".to_owned());
        }
        let scopes = if name || alias { Scopes { name, alias } } else { Scopes { name: true, alias: true } };
        Ok(Self { not, exact, scopes, term: rest.to_owned(), folded: fold(rest), id: rest.parse().ok() })
    }

    /// Whether it finds the keys that do not match.
    pub const fn is_not(&self) -> bool {
        self.not
    }

    /// Whether a name must be the term, and not only contain it.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Where it looks: in both where nothing is said.
    pub const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// What is searched, without options and scopes.
    pub fn term(&self) -> &str {
        &self.term
    }

    /// Whether it finds a key. Case does not count. The key whose full id the term is, is found in any scope.
    pub fn finds(&self, key: &Listed<'_>) -> bool {
        let matches = self.id == Some(key.id) || self.is_in(key.names);
        matches != self.not
    }

    /// The key to look up: by id where the term is one, otherwise by alias where aliases are searched. None with `not`.
    /// [`Self::finds`] finds that key too.
    ///
    /// Aliases are looked up as they are, so in this the case counts.
    pub fn lookup(&self) -> Option<Lookup> {
        if self.not {
            return None;
        }
        match KeySelector::parse(&self.term) {
            KeySelector::Id(id) => Some(Lookup::Id(id)),
            KeySelector::Alias(alias) if self.scopes.alias => Some(Lookup::Alias(alias)),
            KeySelector::Alias(_) | KeySelector::Impossible(_) => None,
        }
    }

    fn is_in(&self, names: &str) -> bool {
        let Scopes { name: in_name, alias: in_aliases } = self.scopes;
        if in_name && in_aliases && !self.exact {
            // The folded term has no line break, so what is found lies within one name.
            return names.contains(&self.folded);
        }
        let mut lines = names.split('\n');
        let name = lines.next().unwrap_or_default();
        (in_name && self.is_like(name)) || (in_aliases && lines.any(|alias| self.is_like(alias)))
    }

    fn is_like(&self, name: &str) -> bool {
        if self.exact { name == self.folded } else { name.contains(&self.folded) }
    }
}

/// What a search looks through: the name and each alias, a line each, without the difference between upper and lower case.
pub fn search_text<'a>(name: &str, aliases: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = fold(name);
    for alias in aliases {
        text.push('\n');
        text.push_str(&fold(alias));
    }
    text
}

/// A text in lower case and in one line.
fn fold(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { ' ' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::listed;
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "fadedbee-0000-0000-0000-1234567890ab";

    fn search(text: &str) -> Search {
        Search::parse(text).unwrap()
    }

    fn finds(text: &str, name: &str, aliases: &[&str]) -> bool {
        search(text).finds(&Listed { names: &search_text(name, aliases.iter().copied()), ..listed() })
    }

    #[test]
    fn the_examples_of_the_documents_mean_what_they_say() {
        // The search, and whether it finds keys named `foobar`, `xFoobar` and `bar`, and one named `bar` that has the
        // alias `foobar`.
        let table = [
            ("foobar", [true, true, false, true]),
            ("not:exact:foobar", [false, true, true, false]),
            ("exact:not:foobar", [false, true, true, false]),
            ("not:alias:foobar", [true, true, true, false]),
            ("alias:not:foobar", [true, true, true, false]),
            ("name:exact:foobar", [true, false, false, false]),
            ("exact:name:foobar", [true, false, false, false]),
            ("not:foobar", [false, false, true, false]),
            ("alias:foobar", [false, false, false, true]),
            ("name:alias:exact:FOOBAR", [true, false, false, true]),
        ];
        for (text, expected) in table {
            let found = [
                finds(text, "foobar", &[]),
                finds(text, "xFoobar", &["other"]),
                finds(text, "bar", &[]),
                finds(text, "bar", &["other", "FooBar"]),
            ];
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn after_escape_all_is_term() {
        for (text, term) in [
            ("escape:not:", "not:"),
            ("exact:escape:not:foobar", "not:foobar"),
            ("escape:escape:x", "escape:x"),
            ("a:b", "a:b"),
            ("a:not:b", "a:not:b"),
            ("not:a:exact:b", "a:exact:b"),
            ("NOT:foo", "NOT:foo"),
            (" not:foo", " not:foo"),
            (":", ":"),
        ] {
            assert_eq!(search(text).term(), term, "{text}");
        }
        assert!(finds("exact:escape:not:foobar", "not:foobar", &[]));
        assert!(!finds("exact:escape:not:foobar", "x", &[]));
    }

    #[test]
    fn the_comma_that_the_go_sdk_adds_is_passed_over() {
        assert_eq!(search("foo,"), search("foo"));
        assert_eq!(search("not:exact:foo,").term(), "foo");
        assert_eq!(search("foo,,").term(), "foo,");
        assert_eq!(search("a,b").term(), "a,b");
        assert_eq!(search("escape:,,").term(), ",");
    }

    #[test]
    fn a_search_for_nothing_and_a_word_that_stands_twice_are_refused() {
        for bad in
            ["", ",", "not:", "escape:", "escape:,", "exact:name:", "not:not:", "not:not:foo", "name:alias:name:x"]
        {
            assert!(Search::parse(bad).is_err(), "{bad:?} was taken for a search");
        }
        assert!(Search::parse("not:not:foo").unwrap_err().contains("'not:' stands twice"));
    }

    #[test]
    fn the_answer_can_tell_what_was_understood() {
        let all = search("foo");
        assert_eq!((all.is_not(), all.is_exact(), all.scopes().names()), (false, false, vec!["name", "alias"]));
        let one = search("alias:exact:not:Foo,");
        assert_eq!((one.is_not(), one.is_exact(), one.scopes().names()), (true, true, vec!["alias"]));
        assert_eq!(one.term(), "Foo");
        assert_eq!(search("name:x").scopes().names(), ["name"]);
    }

    #[test]
    fn a_full_id_finds_its_key_in_any_scope() {
        let key = Listed { id: ID.parse().unwrap(), ..listed() };
        for text in [ID.to_owned(), ID.to_uppercase(), format!("name:exact:{ID}"), format!("alias:{ID},")] {
            assert!(search(&text).finds(&key), "{text}");
            assert!(!search(&text).finds(&listed()), "{text}");
        }
        assert!(!search(&format!("not:{ID}")).finds(&key));
        assert!(!search("fadedbee-0000").finds(&key), "a part of an id is no id");
        assert!(finds(ID, &format!("copy of {ID}"), &[]));
    }

    #[test]
    fn what_names_a_key_whole_is_looked_up() {
        let id = |text: &str| Some(Lookup::Id(text.parse().unwrap()));
        let alias = |text: &str| Some(Lookup::Alias(Alias::parse(text).unwrap()));
        for (text, expected) in [
            ("my-alias", alias("my-alias")),
            ("My-Alias,", alias("My-Alias")),
            ("alias:my-alias", alias("my-alias")),
            ("name:alias:exact:my-alias", alias("my-alias")),
            ("name:my-alias", None),
            ("not:my-alias", None),
            ("two words", None),
            ("x", None),
            (ID, id(ID)),
            (&format!("name:{ID}"), id(ID)),
            (&format!("not:{ID}"), None),
        ] {
            assert_eq!(search(text).lookup(), expected, "{text}");
        }
    }

    #[test]
    fn names_are_searched_one_by_one() {
        assert!(!finds("ab", "a", &["b"]), "half in the name, half in the alias");
        assert!(finds("a b", "a\nb", &[]), "a line break in a name is a blank");
        assert!(finds("a\nb", "A\nB", &[]));
        assert!(!finds("a\nb", "a", &["b"]));
        assert!(!finds("alias:a", "a", &[]));
        assert!(!finds("alias:b", "a\nb", &[]), "a line break does not make an alias");
    }

    #[test]
    fn case_does_not_count_beyond_ascii_either() {
        assert!(finds("ÄÖÜ", "xäöüx", &[]));
        assert!(finds("exact:ΣΊΣΥΦΟΣ", "σίσυφοσ", &[]));
        assert!(finds("İ", "i\u{307}", &[]));
        assert!(finds("🔑", "the 🔑", &[]));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic_and_what_is_understood_is_understood_again(
            text in prop_oneof![".{0,60}", "((not|exact|escape|name|alias|a)?:?,?){0,8}"],
            name in ".{0,20}",
        ) {
            if let Ok(search) = Search::parse(&text) {
                let mut again = String::new();
                for (on, word) in [(search.not, "not:"), (search.exact, "exact:")] {
                    if on { again.push_str(word); }
                }
                for scope in search.scopes.names() {
                    again.push_str(scope);
                    again.push(':');
                }
                again.push_str("escape:");
                again.push_str(&search.term);
                again.push(',');
                prop_assert_eq!(&Search::parse(&again).unwrap(), &search);
                let key = Listed { names: &search_text(&name, ["some-alias"]), ..listed() };
                let opposite = Search { not: !search.not, ..search.clone() };
                prop_assert_ne!(search.finds(&key), opposite.finds(&key));
            }
        }

        #[test]
        fn every_part_of_a_name_finds_it(name in "\\PC{1,30}", from in 0_usize..30, length in 1_usize..30) {
            let part: String = name.chars().skip(from).take(length).collect();
            prop_assume!(!part.is_empty());
            let part_search = format!("escape:{part},");
            let whole_search = format!("exact:name:escape:{name},");
            prop_assert!(finds(&part_search, &name, &[]));
            prop_assert!(finds(&whole_search, &name, &[]));
        }

        #[test]
        fn the_key_that_is_looked_up_is_found_too(
            alias in "[A-Za-z0-9_-]{2,90}",
            options in prop_oneof![Just(""), Just("alias:"), Just("exact:"), Just("name:alias:"), Just("exact:alias:")],
        ) {
            let text = format!("{options}{alias}");
            if let Some(Lookup::Alias(found)) = search(&text).lookup() {
                prop_assert_eq!(found.as_str(), &alias);
                prop_assert!(finds(&text, "x", &["other", &alias]));
            }
        }

        #[test]
        fn long_terms_are_searched_like_short_ones(length in 1_usize..12_000) {
            let term = "x".repeat(length);
            prop_assert!(finds(&term, &term, &[]));
            prop_assert!(!finds(&term, &term[1..], &[]));
        }
    }
}
