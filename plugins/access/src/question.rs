//! The request, and a record of which of its parts were looked at: what the verdict may be remembered by.

use keygate_plugin_sdk::rule::{Facts, InstancePolicy, KeyFacts, Network, Principal, Request, Target, Verdict};

/// A request under decision.
///
/// Its parts are reached through methods only, and each notes what it shows, so that the promise in the verdict's memo
/// is true by construction.
pub(crate) struct Question<'a> {
    request: &'a Request,
    reads: Facts,
    until: Option<u64>,
}

impl<'a> Question<'a> {
    /// A question of which every decision reads who asks, for what, and what it is about.
    pub(crate) fn new(request: &'a Request) -> Self {
        let reads = Facts::PRINCIPAL | Facts::ACTION | Facts::INSTANCE | Facts::KEY_RING | Facts::KEY_IDENTITY;
        Self { request, reads, until: None }
    }

    pub(crate) fn action(&self) -> &'a str {
        &self.request.action
    }

    pub(crate) fn principal(&self) -> &'a Principal {
        &self.request.principal
    }

    /// The instance policies that are switched on.
    pub(crate) fn policies(&self) -> &'a [InstancePolicy] {
        &self.request.target.instance_policies
    }

    /// What the request is about: the instance, the ring and which key. For the rest of the key there is
    /// [`Self::key`].
    pub(crate) fn target(&self) -> &'a Target {
        &self.request.target
    }

    /// The key with its state and its policies.
    pub(crate) fn key(&mut self) -> Option<&'a KeyFacts> {
        self.reads = self.reads | Facts::KEY_METADATA;
        self.request.target.key.as_ref()
    }

    /// Where the request came from.
    pub(crate) fn network(&mut self) -> &'a Network {
        self.reads = self.reads | Facts::NETWORK;
        &self.request.network
    }

    /// A further fact that the host knows.
    pub(crate) fn fact(&mut self, name: &str) -> Option<&'a str> {
        self.reads = self.reads | Facts::ATTRIBUTES;
        self.request.attribute(name)
    }

    /// Whether this instant has come. Where it has not, the verdict is good until it comes.
    pub(crate) fn is_past(&mut self, unix_ms: u64) -> bool {
        self.reads = self.reads | Facts::TIME;
        if self.request.now_unix_ms >= unix_ms {
            return true;
        }
        self.until = Some(self.until.map_or(unix_ms, |earlier| earlier.min(unix_ms)));
        false
    }

    /// Puts the promise into a verdict.
    pub(crate) fn remember(self, verdict: Verdict) -> Verdict {
        let verdict = verdict.remembered_by(self.reads);
        match self.until {
            Some(unix_ms) => verdict.until(unix_ms),
            None => verdict,
        }
    }
}
