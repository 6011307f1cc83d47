//! The table: which role may do what. `api-v2`, "Roles to actions", as data; and `events.list` and those that begin with
//! `keygate.`, which are the gateway's own.

/// A set of roles, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles(u8);

impl Roles {
    const READER: Self = Self(1);
    const READER_PLUS: Self = Self(1 << 1);
    const WRITER: Self = Self(1 << 2);
    const MANAGER: Self = Self(1 << 3);
    const KEY_PURGE: Self = Self(1 << 4);
    const KMIP_ADAPTER_MANAGER: Self = Self(1 << 5);
    /// Keygate's own: whoever looks after the gateway itself. It gives nothing in any instance.
    const ADMINISTRATOR: Self = Self(1 << 6);
    /// Keygate's own: whoever may see which instances there are. It gives nothing in any instance.
    const VIEWER: Self = Self(1 << 7);

    const NONE: Self = Self(0);
    /// Whoever may use keys.
    const EVERYONE: Self = Self::READER.or(Self::READER_PLUS).or(Self::WRITER).or(Self::MANAGER);
    /// Whoever may make keys.
    const WRITERS: Self = Self::WRITER.or(Self::MANAGER);
    /// Whoever may look at the gateway itself.
    const VIEWERS: Self = Self::VIEWER.or(Self::ADMINISTRATOR);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the role of this name is in the set. An unknown role, an operator's own, is in none.
    pub(crate) fn has(self, name: &str) -> bool {
        let role = match name {
            "Reader" => Self::READER,
            "ReaderPlus" => Self::READER_PLUS,
            "Writer" => Self::WRITER,
            "Manager" => Self::MANAGER,
            "KeyPurge" => Self::KEY_PURGE,
            "KmipAdapterManager" => Self::KMIP_ADAPTER_MANAGER,
            "Administrator" => Self::ADMINISTRATOR,
            "Viewer" => Self::VIEWER,
            _ => Self::NONE,
        };
        self.0 & role.0 != 0
    }
}

/// Who may ask at all, whatever their roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Users and services.
    Any,
    /// Services that hold one of the roles.
    Services,
}

/// What an action is about, which decides how the scope of an assignment meets it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// One key that the request names.
    Key,
    /// Keys in general: a list, or a key that does not exist yet.
    Keys,
    /// The instance and what is in it besides keys.
    Instance,
    /// A crypto instance, which has an id as instances have. Keygate's own.
    CryptoInstance,
    /// The gateway itself, and no instance.
    Gateway,
}

impl About {
    /// Whether actions about it are Keygate's own.
    const fn is_ours(self) -> bool {
        matches!(self, Self::CryptoInstance | Self::Gateway)
    }
}

/// What else must hold, beside the role, for an action to be allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Also {
    /// Nothing.
    Nothing,
    /// The role on the ring that the key is to move to, where it is to move.
    NewRing,
    /// The right to move the keys of the ring, where the deletion is forced.
    ForcedRing,
    /// The resource is the calling service's own.
    Owner,
    /// The instance's policy on new keys.
    Creation,
    /// The same policy, as far as it is about new material of a key that is there.
    Material,
    /// Somebody else's authorization, where the key is under dual authorization.
    SecondPerson,
}

/// A row of the table.
pub(crate) struct Row {
    /// The IAM action, without `kms.` in front where that is there.
    pub(crate) action: &'static str,
    /// Who has it.
    pub(crate) roles: Roles,
    /// Who may ask.
    pub(crate) callers: Callers,
    /// What about.
    pub(crate) about: About,
    /// What else must hold.
    pub(crate) also: Also,
}

impl Row {
    const fn and(self, also: Also) -> Self {
        Self { also, ..self }
    }
}

const fn row(action: &'static str, about: About, roles: Roles) -> Row {
    Row { action, roles, callers: Callers::Any, about, also: Also::Nothing }
}

const fn services(action: &'static str, about: About, roles: Roles) -> Row {
    Row { action, roles, callers: Callers::Services, about, also: Also::Nothing }
}

/// To move a key to another ring.
pub(crate) const PATCH: Row = row("secrets.patch", About::Key, Roles::MANAGER).and(Also::NewRing);

/// To take plugins anew. Keygate's own.
const RELOAD: &str = "keygate.plugins.reload";

/// Every action there is. What is not here is denied.
pub(crate) const TABLE: &[Row] = &[
    row("secrets.list", About::Keys, Roles::EVERYONE.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("secrets.head", About::Keys, Roles::EVERYONE.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("secrets.readmetadata", About::Key, Roles::EVERYONE),
    row("secrets.listkeyversions", About::Key, Roles::EVERYONE),
    row("secrets.read", About::Key, Roles::READER_PLUS.or(Roles::WRITERS)),
    row("secrets.wrap", About::Key, Roles::EVERYONE),
    row("secrets.unwrap", About::Key, Roles::EVERYONE),
    row("secrets.rewrap", About::Key, Roles::EVERYONE),
    row("secrets.create", About::Keys, Roles::WRITERS).and(Also::Creation),
    row("secrets.rotate", About::Key, Roles::WRITERS).and(Also::Material),
    row("secrets.setkeyfordeletion", About::Key, Roles::WRITERS),
    row("secrets.unsetkeyfordeletion", About::Key, Roles::WRITERS),
    row("secrets.sync", About::Key, Roles::WRITERS),
    row("secrets.disable", About::Key, Roles::MANAGER),
    row("secrets.enable", About::Key, Roles::MANAGER),
    row("secrets.delete", About::Key, Roles::MANAGER).and(Also::SecondPerson),
    row("secrets.restore", About::Key, Roles::MANAGER).and(Also::Material),
    PATCH,
    row("secrets.purge", About::Key, Roles::KEY_PURGE),
    row("secrets.createalias", About::Key, Roles::WRITERS),
    row("secrets.deletealias", About::Key, Roles::WRITERS),
    row("secrets-with-policy-overrides.create", About::Keys, Roles::MANAGER).and(Also::Creation),
    row("keyrings.list", About::Instance, Roles::EVERYONE.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("keyrings.create", About::Instance, Roles::WRITERS),
    row("keyrings.delete", About::Instance, Roles::MANAGER).and(Also::ForcedRing),
    row("policies.read", About::Key, Roles::MANAGER),
    row("policies.write", About::Key, Roles::MANAGER),
    row("instancepolicies.read", About::Instance, Roles::MANAGER),
    row("instancepolicies.write", About::Instance, Roles::MANAGER),
    row("instance.readallowedipport", About::Instance, Roles::MANAGER),
    row("importtoken.create", About::Instance, Roles::WRITERS),
    row("importtoken.read", About::Instance, Roles::WRITERS),
    row("registrations.list", About::Key, Roles::EVERYONE),
    services("registrations.create", About::Key, Roles::EVERYONE).and(Also::Owner),
    services("registrations.merge", About::Key, Roles::EVERYONE).and(Also::Owner),
    services("registrations.write", About::Key, Roles::EVERYONE).and(Also::Owner),
    services("registrations.delete", About::Key, Roles::EVERYONE).and(Also::Owner),
    services("secrets.eventack", About::Keys, Roles::EVERYONE),
    row("events.list", About::Instance, Roles::MANAGER),
    row("kmip-management.create", About::Instance, Roles::MANAGER.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("kmip-management.list", About::Instance, Roles::MANAGER.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("kmip-management.read", About::Instance, Roles::MANAGER.or(Roles::KMIP_ADAPTER_MANAGER)),
    row("kmip-management.delete", About::Instance, Roles::MANAGER.or(Roles::KMIP_ADAPTER_MANAGER)),
    row(RELOAD, About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.backends.list", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.backends.migrate", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.backends.migration.read", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.backends.migration.stop", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.instances.list", About::Gateway, Roles::VIEWERS),
    row("keygate.instances.read", About::Gateway, Roles::VIEWERS),
    row("keygate.instances.create", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.instances.bind", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.instances.delete", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.authorizations.list", About::Gateway, Roles::VIEWERS),
    row("keygate.authorizations.create", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.authorizations.delete", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.crypto-instances.list", About::Gateway, Roles::ADMINISTRATOR),
    row("keygate.crypto-instances.read", About::CryptoInstance, Roles::EVERYONE),
];

/// The row of an action.
pub(crate) fn find(action: &str) -> Option<&'static Row> {
    let (name, is_ours) = match action.strip_prefix("kms.") {
        Some(name) => (name, false),
        None => (action, true),
    };
    TABLE.iter().find(|row| row.action == name && row.about.is_ours() == is_ours)
}
