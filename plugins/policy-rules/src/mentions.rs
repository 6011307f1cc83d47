//! Which facts policies ask for. What none asks for is not worked out.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions(u64);

macro_rules! facts {
    ($($name:ident = $text:literal in $where:ident;)*) => {
        impl Mentions {
            facts!(@constants 0; $($name)*);
        }

        /// Names of attributes, whose they are, and the fact.
        const NAMES: &[(&str, Whose, Mentions)] = &[$(($text, Whose::$where, Mentions::$name),)*];
    };
    (@constants $at:expr; $name:ident $($rest:ident)*) => {
        pub(crate) const $name: Self = Self(1 << $at);
        facts!(@constants $at + 1; $($rest)*);
    };
    (@constants $at:expr;) => {
        /// The caller's tags, the host's own names for facts, and the two hierarchies.
        pub(crate) const PRINCIPAL_TAGS: Self = Self(1 << $at);
        pub(crate) const REQUEST_TAGS: Self = Self(1 << ($at + 1));
        /// Something is asked whether it is `in` something.
        pub(crate) const HIERARCHY: Self = Self(1 << ($at + 2));
        pub(crate) const ALL: Self = Self((1 << ($at + 3)) - 1);
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Principal,
    Resource,
    Context,
    Time,
    NewKey,
}

facts! {
    CALLER_ID = "id" in Principal;
    ACCOUNT = "account" in Principal;
    SERVICE = "service" in Principal;
    ROLES = "roles" in Principal;
    ROLES_ANYWHERE = "rolesAnywhere" in Principal;
    INSTANCE = "instance" in Resource;
    POLICIES = "policies" in Resource;
    RING = "ring" in Resource;
    KEY_ID = "id" in Resource;
    NAME = "name" in Resource;
    ALIASES = "aliases" in Resource;
    TAGS = "tags" in Resource;
    KIND = "kind" in Resource;
    STATE = "state" in Resource;
    IMPORTED = "imported" in Resource;
    CREATED_BY = "createdBy" in Resource;
    CREATED_AT = "createdAt" in Resource;
    AGE = "ageDays" in Resource;
    ROTATED = "lastRotatedDaysAgo" in Resource;
    MATERIAL_AGE = "materialAgeDays" in Resource;
    EXPIRES = "expiresInDays" in Resource;
    DUAL_AUTH = "dualAuthDelete" in Resource;
    DELETION = "deletionAuthorizedBy" in Resource;
    ADDRESS = "address" in Context;
    ENDPOINT = "endpoint" in Context;
    TIME = "time" in Context;
    KEY_NAME = "keyName" in Context;
    FORCE = "force" in Context;
    NEW_KEY = "newKey" in Context;
    NEW_RING = "newRing" in Context;
    IMPORT_TOKEN = "importToken" in Context;
    PLAINTEXT_BYTES = "plaintextBytes" in Context;
    RESOURCE_SERVICE = "resourceService" in Context;
    REQUEST = "request" in Context;
    HOUR = "hour" in Time;
    MINUTE = "minute" in Time;
    CLOCK = "clock" in Time;
    WEEKDAY = "weekday" in Time;
    DATE = "date" in Time;
    DAY = "day" in Time;
    UNIX_MS = "unixMs" in Time;
    NEW_KIND = "kind" in NewKey;
    NEW_IMPORTED = "imported" in NewKey;
    NEW_RETURNED = "returned" in NewKey;
}

impl Mentions {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of these is among them.
    pub(crate) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// What the caller's entity has to have.
    pub(crate) const PRINCIPAL: Self = Self::CALLER_ID
        .or(Self::ACCOUNT)
        .or(Self::SERVICE)
        .or(Self::ROLES)
        .or(Self::ROLES_ANYWHERE)
        .or(Self::PRINCIPAL_TAGS)
        .or(Self::HIERARCHY);

    /// Known of a key that does not exist as well.
    const OF_PLACE: Self = Self::INSTANCE.or(Self::POLICIES);

    /// Known only of a key that exists, or of any ring.
    pub(crate) const OF_KEY: Self = Self::RING
        .or(Self::KEY_ID)
        .or(Self::NAME)
        .or(Self::ALIASES)
        .or(Self::TAGS)
        .or(Self::KIND)
        .or(Self::STATE)
        .or(Self::IMPORTED)
        .or(Self::CREATED_BY)
        .or(Self::CREATED_AT)
        .or(Self::AGE)
        .or(Self::ROTATED)
        .or(Self::MATERIAL_AGE)
        .or(Self::EXPIRES)
        .or(Self::DUAL_AUTH)
        .or(Self::DELETION);

    /// What the resource's entity has to have.
    pub(crate) const RESOURCE: Self = Self::OF_PLACE.or(Self::OF_KEY).or(Self::HIERARCHY);

    /// Adds what an expression asks for.
    pub(crate) fn add(&mut self, expr: &Expr) {
        self.visit(expr);
    }

    fn visit(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::GetAttr { expr: base, attr } | ExprKind::HasAttr { expr: base, attr } => {
                self.attribute(base, attr);
                self.visit_base(base);
            }
            ExprKind::ExtHasAttr { expr: base, attrs } => {
                // A path: whose the later names are does not matter.
                for attr in attrs {
                    self.named(attr, None);
                }
                self.visit_base(base);
            }
            // As a whole: whatever is in it.
            ExprKind::Var(Var::Context) => *self = self.or(Self::ALL),
            ExprKind::Var(_) | ExprKind::Lit(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {}
            ExprKind::If { test_expr, then_expr, else_expr } => {
                for part in [test_expr, then_expr, else_expr] {
                    self.visit_value(part);
                }
            }
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                self.visit(left);
                self.visit(right);
            }
            ExprKind::UnaryApp { arg, .. } => self.visit_value(arg),
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                match op {
                    BinaryOp::In => *self = self.or(Self::HIERARCHY),
                    BinaryOp::GetTag | BinaryOp::HasTag => *self = self.or(Self::PRINCIPAL_TAGS).or(Self::REQUEST_TAGS),
                    _ => {}
                }
                self.visit_value(arg1);
                self.visit_value(arg2);
            }
            ExprKind::ExtensionFunctionApp { args, .. } => args.iter().for_each(|arg| self.visit_value(arg)),
            ExprKind::Like { expr, .. } | ExprKind::Is { expr, .. } => self.visit_value(expr),
            ExprKind::Set(items) => items.iter().for_each(|item| self.visit_value(item)),
            ExprKind::Record(fields) => fields.values().for_each(|field| self.visit_value(field)),
        }
    }

    /// An expression whose value goes somewhere: of a record all is asked for.
    fn visit_value(&mut self, expr: &Expr) {
        if let ExprKind::GetAttr { attr, .. } = expr.expr_kind()
            && (attr == "time" || attr == "newKey")
        {
            *self = self.or(Self::ALL);
        }
        self.visit(expr);
    }

    /// What attributes are taken of.
    fn visit_base(&mut self, base: &Expr) {
        if !matches!(base.expr_kind(), ExprKind::Var(_)) {
            self.visit(base);
        }
    }

    fn attribute(&mut self, base: &Expr, attr: &str) {
        let whose = match base.expr_kind() {
            ExprKind::Var(Var::Principal) => Some(Whose::Principal),
            ExprKind::Var(Var::Resource) => Some(Whose::Resource),
            ExprKind::Var(Var::Context) => Some(Whose::Context),
            _ => None,
        };
        self.named(attr, whose);
    }

    fn named(&mut self, attr: &str, whose: Option<Whose>) {
        for (name, owner, fact) in NAMES {
            if *name == attr && whose.is_none_or(|whose| whose == *owner) {
                *self = self.or(*fact);
            }
        }
    }
}

/// A text in quotes, where the expression is one.
pub(crate) fn literal(expr: &Expr) -> Option<&str> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    }
}
