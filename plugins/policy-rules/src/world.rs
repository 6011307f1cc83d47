//! The request in Cedar's terms: entities and a context, with what the policies at hand mention and nothing else.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Eid, Entity, EntityType, EntityUID, EntityUIDEntry, Name, PartialValue, Request as CedarRequest, Value,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::rule::{Endpoint, KeyFacts, KeyKind, KeyState, PrincipalKind, Request};
use smol_str::SmolStr;

use crate::actions::{ACTIONS, groups};
use crate::mentions::Mentions;
use crate::roles;
use crate::zone::{DAY, Local, Zone};

type Attributes = BTreeMap<SmolStr, PartialValue>;
type Record = BTreeMap<SmolStr, Value>;

/// Names of types, made once.
#[derive(Debug)]
pub(crate) struct Types {
    role: EntityType,
    user: EntityType,
    service: EntityType,
    instance: EntityType,
    ring: EntityType,
    key: EntityType,
    request: EntityType,
    action: EntityType,
    ip: Name,
}

impl Types {
    pub(crate) fn new() -> Result<Self, SettingsError> {
        let name =
            |text: &str| Name::parse_unqualified_name(text).map_err(|error| SettingsError::whole(error.to_string()));
        let kind = |text: &str| name(text).map(EntityType::from);
        Ok(Self {
            role: kind("Role")?,
            user: kind("User")?,
            service: kind("Service")?,
            instance: kind("Instance")?,
            ring: kind("Ring")?,
            key: kind("Key")?,
            request: kind("Request")?,
            action: kind("Action")?,
            ip: name("ip")?,
        })
    }
}

fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}

/// What the request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resource<'a> {
    Key(&'a KeyFacts),
    /// A key that does not exist, by the name that the request has for it.
    MissingKey(&'a str),
    Ring(&'a str),
    Instance,
}

/// The request, seen by policies.
pub(crate) struct World<'a> {
    pub(crate) request: &'a Request,
    pub(crate) resource: Resource<'a>,
    types: &'a Types,
    zone: &'a Zone,
    mentions: Mentions,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        request: &'a Request,
        resource: Resource<'a>,
        types: &'a Types,
        zone: &'a Zone,
        mentions: Mentions,
    ) -> Self {
        Self { request, resource, types, zone, mentions }
    }

    fn wants(&self, fact: Mentions) -> bool {
        self.mentions.any(fact)
    }

    /// The request, with these constants in its context.
    ///
    /// # Errors
    /// A fact that a policy asks for and that the host's words do not tell.
    pub(crate) fn request(&self, constants: impl Iterator<Item = (SmolStr, Value)>) -> Result<CedarRequest, String> {
        let mut context: Record = constants.collect();
        self.context(&mut context)?;
        let entry = |uid: EntityUID| EntityUIDEntry::known(uid, None);
        Ok(CedarRequest::new_unchecked(
            entry(self.principal()),
            entry(uid(&self.types.action, &self.request.action)),
            entry(self.resource()),
            Some(Context::Value(Arc::new(context))),
        ))
    }

    /// The entities.
    ///
    /// # Errors
    /// None that is known.
    pub(crate) fn entities(&self) -> Result<Entities, String> {
        let mut entities = Vec::with_capacity(4);
        if self.wants(Mentions::PRINCIPAL) {
            entities.push(self.principal_entity());
        }
        if self.wants(Mentions::RESOURCE) {
            entities.push(self.resource_entity());
        }
        if self.wants(Mentions::REQUEST_TAGS) && self.wants(Mentions::REQUEST) {
            let tags = self.request.attributes.iter().map(pair);
            let uid = uid(&self.types.request, &self.request.request_id);
            entities.push(Entity::new_with_attr_partial_value(uid, [], HashSet::new(), HashSet::new(), tags));
        }
        if self.wants(Mentions::HIERARCHY)
            && let Some(row) = ACTIONS.iter().find(|row| row.0 == self.request.action)
        {
            let parents = groups(row).iter().map(|group| uid(&self.types.action, group)).collect();
            let uid = uid(&self.types.action, &self.request.action);
            entities.push(Entity::new_with_attr_partial_value(uid, [], HashSet::new(), parents, []));
        }
        Entities::from_entities(
            entities,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map_err(|error| error.to_string())
    }

    fn principal(&self) -> EntityUID {
        let kind = match self.request.principal.kind {
            PrincipalKind::User => &self.types.user,
            PrincipalKind::Service => &self.types.service,
        };
        uid(kind, &self.request.principal.id)
    }

    fn principal_entity(&self) -> Entity {
        let principal = &self.request.principal;
        let mut attributes = Attributes::new();
        let mut put = |fact, name: &'static str, value: &dyn Fn() -> Value| {
            if self.wants(fact) {
                attributes.insert(SmolStr::new_static(name), value().into());
            }
        };
        put(Mentions::CALLER_ID, "id", &|| text(&principal.id));
        put(Mentions::ACCOUNT, "account", &|| text(&principal.account));
        put(Mentions::ROLES, "roles", &|| texts(roles::here(self.request)));
        put(Mentions::ROLES_ANYWHERE, "rolesAnywhere", &|| texts(roles::anywhere(self.request)));
        if let (PrincipalKind::Service, Some(service)) = (principal.kind, &principal.service_name) {
            put(Mentions::SERVICE, "service", &|| text(service));
        }
        let parents = if self.wants(Mentions::HIERARCHY) {
            roles::here(self.request).map(|role| uid(&self.types.role, role)).collect()
        } else {
            HashSet::new()
        };
        let tags = principal.attributes.iter().filter(|_| self.wants(Mentions::PRINCIPAL_TAGS)).map(pair);
        Entity::new_with_attr_partial_value(self.principal(), attributes, HashSet::new(), parents, tags)
    }

    fn resource(&self) -> EntityUID {
        match self.resource {
            Resource::Key(key) => uid(&self.types.key, &key.id),
            Resource::MissingKey(name) => uid(&self.types.key, name),
            Resource::Ring(ring) => uid(&self.types.ring, ring),
            Resource::Instance => uid(&self.types.instance, &self.request.target.instance_id),
        }
    }

    fn resource_entity(&self) -> Entity {
        let target = &self.request.target;
        let mut attributes = Attributes::new();
        if self.wants(Mentions::INSTANCE) {
            attributes.insert(SmolStr::new_static("instance"), text(&target.instance_id).into());
        }
        if self.wants(Mentions::POLICIES) {
            let kinds = target.instance_policies.iter().map(|policy| policy.kind.as_str());
            attributes.insert(SmolStr::new_static("policies"), texts(kinds).into());
        }
        if let (true, Some(ring)) = (self.wants(Mentions::RING), &target.key_ring) {
            attributes.insert(SmolStr::new_static("ring"), text(ring).into());
        }
        if let Resource::Key(key) = self.resource {
            self.key_attributes(key, &mut attributes);
        }
        let mut parents = HashSet::new();
        if self.wants(Mentions::HIERARCHY) && self.resource != Resource::Instance {
            parents.insert(uid(&self.types.instance, &target.instance_id));
            if let (Some(ring), true) = (&target.key_ring, !matches!(self.resource, Resource::Ring(_))) {
                parents.insert(uid(&self.types.ring, ring));
            }
        }
        Entity::new_with_attr_partial_value(self.resource(), attributes, HashSet::new(), parents, [])
    }

    fn key_attributes(&self, key: &KeyFacts, attributes: &mut Attributes) {
        let now = self.request.now_unix_ms;
        let mut put = |fact, name: &'static str, value: &dyn Fn() -> Value| {
            if self.wants(fact) {
                attributes.insert(SmolStr::new_static(name), value().into());
            }
        };
        put(Mentions::KEY_ID, "id", &|| text(&key.id));
        put(Mentions::NAME, "name", &|| text(&key.name));
        put(Mentions::ALIASES, "aliases", &|| texts(key.aliases.iter().map(String::as_str)));
        put(Mentions::TAGS, "tags", &|| texts(key.tags.iter().map(String::as_str)));
        put(Mentions::KIND, "kind", &|| word(kind(key.kind)));
        put(Mentions::STATE, "state", &|| word(state(key.state)));
        put(Mentions::IMPORTED, "imported", &|| Value::from(key.imported));
        put(Mentions::CREATED_BY, "createdBy", &|| text(&key.created_by));
        put(Mentions::CREATED_AT, "createdAt", &|| number(key.created_unix_ms));
        put(Mentions::AGE, "ageDays", &|| days(key.created_unix_ms, now));
        let material = key.last_rotated_unix_ms.unwrap_or(key.created_unix_ms);
        put(Mentions::MATERIAL_AGE, "materialAgeDays", &|| days(material, now));
        put(Mentions::DUAL_AUTH, "dualAuthDelete", &|| Value::from(key.dual_auth_delete));
        if let Some(rotated) = key.last_rotated_unix_ms {
            put(Mentions::ROTATED, "lastRotatedDaysAgo", &|| days(rotated, now));
        }
        if let Some(expires) = key.expires_unix_ms {
            put(Mentions::EXPIRES, "expiresInDays", &|| days(now, expires));
        }
        if let Some(given) = key.deletion_authorization.as_ref().filter(|given| given.expires_unix_ms > now) {
            put(Mentions::DELETION, "deletionAuthorizedBy", &|| text(&given.by));
        }
    }

    fn context(&self, context: &mut Record) -> Result<(), String> {
        let mut put = |name: &'static str, value: Value| {
            context.insert(SmolStr::new_static(name), value);
        };
        if self.wants(Mentions::ADDRESS) {
            put("address", self.address()?);
        }
        if self.wants(Mentions::ENDPOINT) {
            put("endpoint", word(endpoint(self.request.network.endpoint)));
        }
        if self.wants(Mentions::TIME) {
            put("time", self.time());
        }
        if let (true, Some(name)) = (self.wants(Mentions::KEY_NAME), &self.request.target.key_name) {
            put("keyName", text(name));
        }
        if self.wants(Mentions::REQUEST) {
            put("request", Value::from(uid(&self.types.request, &self.request.request_id)));
        }
        for (fact, name, host) in [
            (Mentions::NEW_RING, "newRing", "new-ring"),
            (Mentions::RESOURCE_SERVICE, "resourceService", "resource.service"),
        ] {
            if let (true, Some(value)) = (self.wants(fact), self.request.attribute(host)) {
                put(name, text(value));
            }
        }
        if self.wants(Mentions::FORCE)
            && let Some(force) = self.truth("force")?
        {
            put("force", Value::from(force));
        }
        if self.wants(Mentions::IMPORT_TOKEN)
            && let Some(token) = self.truth("import-token")?
        {
            put("importToken", Value::from(token));
        }
        if let (true, Some(bytes)) = (self.wants(Mentions::PLAINTEXT_BYTES), self.request.attribute("plaintext-bytes"))
        {
            let bytes = bytes.parse::<i64>().map_err(|_| unreadable("plaintext-bytes"))?;
            put("plaintextBytes", Value::from(bytes));
        }
        if self.wants(Mentions::NEW_KEY)
            && let Some(new) = self.new_key()?
        {
            put("newKey", new);
        }
        Ok(())
    }

    fn address(&self) -> Result<Value, String> {
        let Some(address) = &self.request.network.address else {
            return Err("a policy asks for the address, and this request came from none".to_owned());
        };
        let parsed: std::net::IpAddr = address.parse().map_err(|_| "the address of the request is none".to_owned())?;
        let canonical = Value::from(SmolStr::new(parsed.to_canonical().to_string()));
        let function = Extensions::all_available().func(&self.types.ip).map_err(|error| error.to_string())?;
        match function.call(&[canonical]).map_err(|error| error.to_string())? {
            PartialValue::Value(value) => Ok(value),
            PartialValue::Residual(_) => Err("the address of the request is unknown".to_owned()),
        }
    }

    /// The wall's clock at the request's instant.
    pub(crate) fn local(&self) -> Local {
        self.zone.local(self.request.now_unix_ms)
    }

    fn time(&self) -> Value {
        let now = self.local();
        let mut time = Record::new();
        let mut put = |fact, name: &'static str, value: i64| {
            if self.wants(fact) {
                time.insert(SmolStr::new_static(name), Value::from(value));
            }
        };
        put(Mentions::HOUR, "hour", now.hour);
        put(Mentions::MINUTE, "minute", now.minute);
        put(Mentions::CLOCK, "clock", now.hour * 100 + now.minute);
        put(Mentions::WEEKDAY, "weekday", now.weekday);
        put(Mentions::DAY, "day", now.year * 10_000 + now.month * 100 + now.day);
        put(Mentions::UNIX_MS, "unixMs", i64::try_from(self.request.now_unix_ms).unwrap_or(i64::MAX));
        if self.wants(Mentions::DATE) {
            let date = format!("{:04}-{:02}-{:02}", now.year, now.month, now.day);
            time.insert(SmolStr::new_static("date"), text(&date));
        }
        Value::record_arc(Arc::new(time), None)
    }

    fn new_key(&self) -> Result<Option<Value>, String> {
        let mut new = Record::new();
        if let Some(kind) = self.request.attribute("new-key.kind") {
            new.insert(SmolStr::new_static("kind"), text(kind));
        }
        if let Some(imported) = self.truth("new-key.imported")? {
            new.insert(SmolStr::new_static("imported"), Value::from(imported));
        }
        if let Some(returned) = self.truth("new-key.returned")? {
            new.insert(SmolStr::new_static("returned"), Value::from(returned));
        }
        Ok((!new.is_empty()).then(|| Value::record_arc(Arc::new(new), None)))
    }

    /// A fact of the host's that is yes or no.
    fn truth(&self, name: &str) -> Result<Option<bool>, String> {
        match self.request.attribute(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(unreadable(name)),
        }
    }
}

fn unreadable(name: &str) -> String {
    format!(
        "a policy asks for the host's fact `{name}`, and its value cannot be read: the host is newer than this plugin"
    )
}

fn pair((name, value): &(String, String)) -> (SmolStr, PartialValue) {
    (SmolStr::new(name), text(value).into())
}

fn text(text: &str) -> Value {
    Value::from(SmolStr::new(text))
}

fn word(word: &'static str) -> Value {
    Value::from(SmolStr::new_static(word))
}

fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Value {
    Value::set(texts.map(text), None)
}

fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Whole days from one instant to another; negative where it comes before.
fn days(from: u64, to: u64) -> Value {
    let (from, to) = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(to).unwrap_or(i64::MAX));
    Value::from(to.saturating_sub(from).div_euclid(DAY))
}

fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Root => "root",
        KeyKind::Standard => "standard",
    }
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::PreActivation => "pre-activation",
        KeyState::Active => "active",
        KeyState::Suspended => "suspended",
        KeyState::Deactivated => "deactivated",
        KeyState::Destroyed => "destroyed",
    }
}

fn endpoint(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Public => "public",
        Endpoint::Private => "private",
    }
}
