//! `GET /keys/{id}/registrations` and `GET /keys/registrations`.

use std::collections::BTreeMap;

use super::RegistrationView;
use crate::access::Action;
use crate::crn::CrnQuery;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{InstanceId, KeyId, KeySelector};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::Registration;
use crate::store::{Page, PageRequest, RegistrationFilter, StoreError};

/// What to list.
#[derive(Clone, Debug)]
pub struct ListRegistrations {
    /// Of these resources: a CRN in which `*` stands for a segment, or for the rest of the last one. None and an empty
    /// one are any.
    pub resources: Option<String>,
    /// Those that keep their key from being deleted, or those that do not; `None` is any.
    pub prevent_key_deletion: Option<bool>,
    /// Which part.
    pub page: PageRequest,
}

/// Lists the registrations of a key, or of all keys of the instance; the ring that the request names narrows that.
///
/// # Errors
/// `INVALID_PARAM_ERR` for the CRN query, `KEY_NOT_FOUND_ERR`, those of the query, and what chain, store and audit log
/// fail with.
pub async fn list(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: Option<&KeySelector>,
    query: Result<ListRegistrations, Error>,
) -> Result<Page<RegistrationView>, Error> {
    let ask = match selector {
        Some(selector) => Ask::key(Action::ListRegistrations, selector),
        None => Ask::instance(Action::ListRegistrations),
    };
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let query = query?;
            let resources = query.resources.as_deref().filter(|text| !text.is_empty());
            let resources = resources.map(|text| parse(text, selector.is_none())).transpose()?;
            let key = selector.map(|_| admitted.key()).transpose()?;
            let filter = RegistrationFilter {
                key: key.map(|key| key.id),
                ring: cx.ring.clone(),
                resources,
                prevent_key_deletion: query.prevent_key_deletion,
            };
            let page = gateway.store.registrations(cx.instance, &filter, query.page).await?;
            let page = Page { items: with_names(gateway, cx.instance, page.items).await?, total: page.total };
            let count = page.items.len();
            let done = Done::new(page).tell("totalResources", count);
            Ok(match key {
                Some(key) => done.about(key),
                None => done,
            })
        })
        .await
}

fn parse(text: &str, of_all_keys: bool) -> Result<CrnQuery, Error> {
    let refused = |rule: &str| {
        let text = format!("The param 'urlEncodedResourceCRNQuery' must be: {rule}");
        Error::from(Reason::new(ReasonCode::InvalidParam, text).param("urlEncodedResourceCRNQuery"))
    };
    let query = CrnQuery::parse(text).map_err(refused)?;
    if of_all_keys && query.has_star_in_first_eight() {
        return Err(refused("a CRN without '*' up to the service instance, because it is asked of all keys"));
    }
    Ok(query)
}

async fn with_names(
    gateway: &Gateway,
    instance: InstanceId,
    registrations: Vec<Registration>,
) -> Result<Vec<RegistrationView>, StoreError> {
    let mut names: BTreeMap<KeyId, Option<String>> = BTreeMap::new();
    let mut views = Vec::with_capacity(registrations.len());
    for registration in registrations {
        let id = registration.key;
        let name = match names.get(&id) {
            Some(name) => name.clone(),
            None => gateway.store.key(instance, id).await?.map(|key| key.name),
        };
        names.insert(id, name.clone());
        // A key that was purged since took its registrations with it.
        if let Some(key_name) = name {
            views.push(RegistrationView { registration, key_name });
        }
    }
    Ok(views)
}
