//! Actions for services, and services that act on resources of their own only.

use keygate_plugin_sdk::rule::{PrincipalKind, Verdict};

use crate::question::Question;
use crate::roles::{Also, Callers, Row};

/// The denial of a caller whose roles would do, and who is of the wrong kind.
pub(crate) fn refuse(row: &Row, question: &mut Question<'_>) -> Option<Verdict> {
    let principal = question.principal();
    if row.callers == Callers::Services && principal.kind == PrincipalKind::User {
        return Some(Verdict::deny_forbidden(
            "SERVICE_ONLY_ERR",
            "Only services may do this: call it with the access token of a service id",
        ));
    }
    if row.also != Also::Owner {
        return None;
    }
    let owner = question.fact("resource.service")?;
    // An empty name is nobody's: two of them do not make the resource one's own.
    let own = principal.service_name.as_deref().is_some_and(|service| !service.is_empty() && service == owner);
    (!own).then(|| {
        Verdict::deny_forbidden(
            "RESOURCE_OWNER_ERR",
            "The resource does not belong to the calling service: call it with the access token of the service that \
             the resource's CRN names",
        )
    })
}
