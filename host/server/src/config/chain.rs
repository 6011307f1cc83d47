//! `[policy]`: the chain. An entry is the name of a rule, or a table with the rule and what it is asked about.

use std::collections::BTreeSet;
use std::fmt;

use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_runtime::manifest::{ActionPattern, ChainEntry, Scope};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Names;
use super::plugins::check_reference;
use super::tree::Tree;
use crate::problem::nearest;

/// The section without its list, which is read an entry at a time. The field is for the list of known keys.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Policy {
    chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    rule: String,
    #[serde(default)]
    instances: Option<Vec<String>>,
    #[serde(default)]
    actions: Option<Vec<String>>,
    #[serde(default)]
    rings: Option<Vec<String>>,
}

/// A place in either form. serde's own `untagged` would say no more than that none of the forms fits.
struct Entry(Place);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a rule, or a table such as { rule = \"NAME\", rings = [\"RING\"] }")
            }

            fn visit_str<E: Error>(self, rule: &str) -> Result<Place, E> {
                Ok(Place { rule: rule.to_owned(), instances: None, actions: None, rings: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                Place::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Either).map(Self)
    }
}

pub(super) fn read(tree: &mut Tree, known: &Names) -> Vec<ChainEntry> {
    let entries = tree.inner_list::<Entry>("policy", "chain");
    let _: Policy = tree.section("policy");
    if entries.is_empty() {
        let problem = "the policy chain is empty, so every request would be denied";
        tree.problem("policy.chain", problem, "name at least one rule, such as chain = [\"access\"]");
    }
    let mut chain = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let Some(Entry(place)) = entry else { continue };
        let path = format!("policy.chain[{i}]");
        check_reference(tree, &path, &place.rule, &known.plugins);
        let scope = Scope {
            instances: limit(tree, &path, "instances", place.instances, |id| instance(id, &known.instances)),
            actions: limit(tree, &path, "actions", place.actions, |action| {
                ActionPattern::parse(action).map_err(|error| (error.problem, error.mend))
            }),
            rings: limit(tree, &path, "rings", place.rings, ring),
        };
        chain.push(ChainEntry { rule: place.rule, scope });
    }
    chain
}

/// What is wrong, and the mend.
type Trouble = (String, String);

/// One limit of a scope. Where it is not given, there is none; a list of nothing is most likely a slip.
fn limit<T>(
    tree: &mut Tree,
    path: &str,
    key: &str,
    given: Option<Vec<String>>,
    parse: impl Fn(&str) -> Result<T, Trouble>,
) -> Vec<T> {
    let path = format!("{path}.{key}");
    if given.as_ref().is_some_and(Vec::is_empty) {
        let mend = format!("remove `{key}`, or name what the rule is to be asked about");
        tree.problem(&path, "with an empty list the rule would be asked about nothing", mend);
    }
    let mut limits = Vec::new();
    for (i, text) in given.unwrap_or_default().iter().enumerate() {
        match parse(text) {
            Ok(limit) => limits.push(limit),
            Err((problem, mend)) => tree.problem(format!("{path}[{i}]"), problem, mend),
        }
    }
    limits
}

fn instance(text: &str, known: &BTreeSet<String>) -> Result<InstanceId, Trouble> {
    let Ok(id) = text.parse::<InstanceId>() else {
        return Err(("this is not a UUID".to_owned(), "give the `id` of an [[instances]] entry".to_owned()));
    };
    if known.iter().any(|text| text.parse() == Ok(id)) {
        return Ok(id);
    }
    let mend = match nearest(text, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "give the `id` of an [[instances]] entry".to_owned(),
    };
    Err((format!("there is no instance {id}"), mend))
}

fn ring(text: &str) -> Result<KeyRingId, Trouble> {
    KeyRingId::parse(text).map_err(|rule| ("this is not the id of a key ring".to_owned(), rule.to_owned()))
}
