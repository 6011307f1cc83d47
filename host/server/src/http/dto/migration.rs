//! Backends, and migrations from one to another.

use keygate_core::backend::BackendDescription;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::migration::{Migration, Stay};
use keygate_core::ops::input::Problems;
use keygate_core::ops::migrate::Route;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::body::Object;
use crate::http::openapi::shape;

/// Reads the body of `POST .../migrations`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn route(body: &[u8]) -> Result<Route, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    let (from, to) = (object.text("from", &mut problems), object.text("to", &mut problems));
    for (name, value) in [("from", &from), ("to", &to)] {
        if value.is_none() && !object.has(name) {
            let text = format!("`{name}` is missing: the name of a backend");
            problems.add(Reason::new(ReasonCode::MissingField, text).field(name));
        }
    }
    problems.finish()?;
    Ok(Route { from: from.unwrap_or_default(), to: to.unwrap_or_default() })
}

/// A backend.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Backend")]
pub(crate) struct BackendBody<'a> {
    name: &'a str,
    /// What its plugin calls itself.
    plugin: &'a str,
    version: &'a str,
    /// `import-token`: it opens what comes under an import token. `transport`: root keys can go from it and come to it.
    features: &'a [String],
}

impl<'a> From<&'a (String, BackendDescription)> for BackendBody<'a> {
    fn from((name, description): &'a (String, BackendDescription)) -> Self {
        let BackendDescription { name: plugin, version, features, .. } = description;
        Self { name, plugin, version, features }
    }
}

/// A migration.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Migration")]
pub(crate) struct MigrationBody<'a> {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    #[schemars(schema_with = "shape::uuid")]
    instance_id: String,
    from: &'a str,
    to: &'a str,
    #[schemars(extend("enum" = ["running", "stopped", "done"]))]
    state: &'static str,
    #[schemars(schema_with = "shape::date")]
    started_at: String,
    started_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    ended_at: Option<String>,
    /// When it came on last.
    #[schemars(schema_with = "shape::date")]
    updated_at: String,
    /// Which pass over the keys it is. The first moves them; later ones destroy what was left where they were.
    pass: u32,
    /// When this pass began, or is to begin.
    #[schemars(schema_with = "shape::date")]
    pass_at: String,
    /// Why it does not go on at the moment. It tries again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a str>,
    counts: CountsBody,
    /// A page of what stayed behind, by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays: Option<Vec<StayBody<'a>>>,
    /// Of how many keys something stayed behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays_total: Option<usize>,
}

/// How much of what was done. Nothing is counted twice, whatever becomes of the gateway; `renewed` leaves out what a gateway made a
/// moment before it died.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MigrationCounts")]
struct CountsBody {
    /// Keys that there were when the pass began.
    keys: u64,
    /// Those that the pass has come past.
    seen: u64,
    /// Key versions that were moved, also those that came back.
    moved: u64,
    /// Keys that got a new version, because theirs could not be moved.
    renewed: u64,
    /// Key versions that stayed where they were, or went back there.
    stayed: u64,
    /// Key versions whose material was destroyed where it had been.
    destroyed: u64,
}

/// What stayed behind of a key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MigrationStay")]
pub(crate) struct StayBody<'a> {
    #[schemars(schema_with = "shape::uuid")]
    key_id: String,
    /// How many of its versions need the old backend still.
    versions: u32,
    /// Whether its newest version is on the new backend all the same, so that only old ciphertexts need the old one.
    renewed: bool,
    #[schemars(extend("enum" = [
        "not-transportable", "sample-not-opened", "material-missing", "backend-failed", "damaged", "not-destroyed",
        "came-back",
    ]))]
    reason: &'static str,
    detail: &'a str,
}

impl<'a> From<&'a Stay> for StayBody<'a> {
    fn from(stay: &'a Stay) -> Self {
        let (key_id, reason) = (stay.key.to_string(), stay.reason.as_str());
        Self { key_id, versions: stay.versions, renewed: stay.renewed, reason, detail: &stay.detail }
    }
}

impl<'a> From<&'a Migration> for MigrationBody<'a> {
    fn from(migration: &'a Migration) -> Self {
        let counts = &migration.counts;
        Self {
            id: migration.id.to_string(),
            instance_id: migration.instance.to_string(),
            from: &migration.from,
            to: &migration.to,
            state: migration.state.as_str(),
            started_at: migration.started.at.to_rfc3339(),
            started_by: &migration.started.by,
            ended_at: migration.ended_at.map(|at| at.to_rfc3339()),
            updated_at: migration.updated_at.to_rfc3339(),
            pass: migration.pass,
            pass_at: migration.pass_at.to_rfc3339(),
            waiting: migration.waiting.as_deref(),
            counts: CountsBody {
                keys: counts.keys,
                seen: counts.seen,
                moved: counts.moved,
                renewed: counts.renewed,
                stayed: counts.stayed,
                destroyed: counts.destroyed,
            },
            stays: None,
            stays_total: None,
        }
    }
}

impl<'a> MigrationBody<'a> {
    /// With a page of what stayed behind.
    pub(crate) fn with_stays(self, stays: Vec<StayBody<'a>>, total: usize) -> Self {
        Self { stays: Some(stays), stays_total: Some(total), ..self }
    }
}
