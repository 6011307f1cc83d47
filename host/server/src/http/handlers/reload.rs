//! `POST /keygate/v1/reload`: plugins, backends, the policy chain and secrets as the configuration has them now. Keygate's
//! own; about no instance. Which role it takes is for the chain to say, as with anything else.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::{Reason, ReasonCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::exchange::{Incoming, exchange};
use crate::reload::{Door, Reloaded};

/// What is live now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reload")]
pub(crate) struct ReloadBody<'a> {
    generation: u64,
    plugins: Vec<PluginBody<'a>>,
}

/// A plugin of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Plugin")]
struct PluginBody<'a> {
    name: &'a str,
    /// The SHA-256 of its component, in hexadecimal.
    digest: &'a str,
    version: &'a str,
}

impl<'a> From<&'a Reloaded> for ReloadBody<'a> {
    fn from(Reloaded { generation, plugins }: &'a Reloaded) -> Self {
        let plugin = |info: &'a keygate_runtime::PluginInfo| PluginBody {
            name: &info.name,
            digest: &info.digest,
            version: &info.version,
        };
        Self { generation: *generation, plugins: plugins.iter().map(plugin).collect() }
    }
}

/// `POST /keygate/v1/reload`. Answers when the new plugins are live, or refused. Where that takes longer than a request may,
/// to compile a big component for one, the answer is 504; the reload goes on, and `/readyz` tells how it came out.
pub(crate) async fn reload(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ReloadPlugins, request, async |app: Arc<App>, incoming: Incoming| {
        let Incoming { mut cx, body, .. } = incoming;
        // What somebody writes there is meant to do something, and it would do nothing.
        if !matches!(body.trim_ascii(), b"" | b"null" | b"{}") {
            cx.flaws.push(Reason::new(
                ReasonCode::BadBody,
                "A reload takes no body: what is loaded stands in the configuration",
            ));
        }
        let work = async || app.reload(Door::Request).await;
        let reloaded = app.gateway.administer(&cx, Action::ReloadPlugins, work).await?;
        Ok(Answer::json(StatusCode::OK, MediaType::Reload, &ReloadBody::from(&reloaded), 0)?)
    })
    .await
}
