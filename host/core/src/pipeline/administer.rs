//! What is done to the gateway itself: it is about no instance and no key, so nothing is resolved. Otherwise the rooms are
//! the same, in the same order: authorise, work, audit.

use super::{Ask, Done, Gateway, Known, NO_POLICIES, RequestContext, permit, question, recorded};
use crate::access::{Action, Network};
use crate::audit::{DecisionRecord, Initiator};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::InstanceId;

/// What came of work on the gateway itself. Other than [`Done`], it has facts for the audit log when it failed, too.
pub struct Administered<T> {
    /// How it came out.
    pub outcome: Result<T, Error>,
    /// What the audit log shall know of it. No secrets.
    pub facts: Vec<(&'static str, String)>,
}

impl Gateway {
    /// Takes a request about the gateway itself through the rooms: asks the chain, does `work`, and keeps the audit event.
    /// The rules are told of [`InstanceId::GATEWAY`] and of no ring, whichever the request names: roles in an instance are
    /// no roles here.
    ///
    /// # Errors
    /// The chain's denial; what is wrong with the request; what `work` fails with; and what the audit log fails with, as
    /// [`Gateway::run`] does.
    pub async fn administer<T, F>(&self, cx: &RequestContext, action: Action, work: F) -> Result<T, Error>
    where
        F: AsyncFnOnce() -> Administered<T>,
    {
        self.administer_on(InstanceId::GATEWAY, cx, action, work).await
    }

    /// The same about something that the gateway has beside instances and that has an id like theirs: the rules are told
    /// that, and so roles on it count.
    ///
    /// # Errors
    /// As [`Gateway::administer`].
    pub async fn administer_on<T, F>(
        &self,
        instance: InstanceId,
        cx: &RequestContext,
        action: Action,
        work: F,
    ) -> Result<T, Error>
    where
        F: AsyncFnOnce() -> Administered<T>,
    {
        self.audit.reserve()?;
        let now = self.clock.now();
        let cx = &RequestContext { instance, ring: None, ..cx.clone() };
        let ask = Ask::beyond_rings(action);
        let decided = self.decide(cx, action, question(cx, &ask, None, &NO_POLICIES, now)).await;
        let permitted = permit(&decided.decision.verdict, &ask);
        let record = recorded(now, decided, &permitted);
        let admitted = permitted.and_then(|_| match cx.flaws.as_slice() {
            [] => Ok(()),
            flaws => Err(Error::Refused(flaws.to_vec())),
        });
        let administered = match admitted {
            Ok(()) => work().await,
            Err(error) => Administered { outcome: Err(error), facts: Vec::new() },
        };
        self.keep(Known::of(cx), action, now, Some(record), administered).await
    }

    /// Does something to the gateway itself that nobody asked for by the API, and keeps its audit event: the operator's
    /// signal, say. Whoever can send one has the process in their hands, so no rule is asked.
    ///
    /// # Errors
    /// As [`Gateway::administer`], without the chain's denial.
    pub async fn administer_itself<T, F>(&self, action: Action, request_id: &str, work: F) -> Result<T, Error>
    where
        F: AsyncFnOnce() -> Administered<T>,
    {
        self.audit.reserve()?;
        let now = self.clock.now();
        let known = Known {
            correlation_id: request_id,
            initiator: Initiator::gateway(),
            network: Network::default(),
            instance: InstanceId::GATEWAY,
            request_uri: "",
        };
        let administered = work().await;
        self.keep(known, action, now, None, administered).await
    }

    async fn keep<T>(
        &self,
        known: Known<'_>,
        action: Action,
        now: Timestamp,
        decision: Option<DecisionRecord>,
        administered: Administered<T>,
    ) -> Result<T, Error> {
        let Administered { outcome, facts } = administered;
        let outcome = outcome.map(Done::new);
        let mut event = self.event(known, action, now, decision, None, &outcome);
        event.instance = event.instance.filter(|instance| *instance != InstanceId::GATEWAY);
        event.response.extend(facts);
        match (self.audit.record(&event).await, outcome) {
            (Ok(()), outcome) => outcome.map(|done| done.value),
            (Err(lost), Ok(_)) => Err(Error::Unrecorded(lost.0)),
            (Err(lost), Err(_)) => Err(lost.into()),
        }
    }
}
