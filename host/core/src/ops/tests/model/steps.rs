//! What can happen to a gateway, as plain data, and how a sequence of it is made up.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A generated root key.
    Root,
    /// A root key whose material came from outside.
    Imported,
    /// A generated standard key.
    Standard,
}

/// Which key, and how it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// 0 is the newest key, 1 the one before it. One too many is a key that never was.
    pub(crate) back: usize,
    /// By this alias, whosoever it is, in the place of the id.
    pub(crate) alias: Option<u8>,
    /// The ring that the request names.
    pub(crate) ring: Option<u8>,
}

/// Something in the life of a key that a wait begins or ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edge {
    /// It can be enabled.
    Enable,
    /// It can be rotated again.
    Rotate,
    /// It can be synced again.
    Sync,
    /// It can be restored.
    Restore,
    /// It can still be restored.
    RestoreEnd,
    /// It can be purged.
    Purge,
    /// It is purged.
    PurgedByItself,
    /// The authorization to delete it lapses.
    Lapse,
    /// It expires.
    Expiry,
    /// It is rotated by its policy.
    Rotation,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        kind: Kind,
        ring: Option<u8>,
        aliases: Vec<u8>,
        expires_in: Option<i64>,
        overrides: Option<Overrides>,
    },
    Versions {
        target: Target,
        all: bool,
    },
    Wrap {
        target: Target,
        plaintext: u8,
    },
    /// Unwraps what was wrapped last, or so many before that; of what this key wrapped, if that is asked for.
    Unwrap {
        target: Target,
        back: usize,
        own: bool,
    },
    Rewrap {
        target: Target,
        back: usize,
        own: bool,
    },
    Rotate {
        target: Target,
        payload: bool,
    },
    Disable {
        target: Target,
    },
    Enable {
        target: Target,
    },
    Authorize {
        target: Target,
        user: u8,
    },
    Unauthorize {
        target: Target,
        user: u8,
    },
    Delete {
        target: Target,
        user: u8,
        force: bool,
    },
    Restore {
        target: Target,
        payload: bool,
    },
    Purge {
        target: Target,
    },
    Sync {
        target: Target,
    },
    Move {
        target: Target,
        ring: u8,
    },
    WritePolicies {
        target: Target,
        rotation: Option<(Option<bool>, Option<u8>)>,
        dual: Option<bool>,
    },
    AddAlias {
        target: Target,
        alias: u8,
    },
    DropAlias {
        target: Target,
        alias: u8,
    },
    MakeRing {
        ring: u8,
    },
    DropRing {
        ring: u8,
        force: bool,
    },
    Register {
        target: Target,
        resource: u8,
        prevent: bool,
    },
    Unregister {
        target: Target,
        resource: u8,
    },
    Deactivate {
        target: Target,
        resource: u8,
    },
    Acknowledge {
        number: usize,
    },
    /// The instance policies on new keys: dualAuthDelete, and every how many months they are rotated, 0 is never.
    InstancePolicies {
        dual: Option<bool>,
        rotation: Option<u8>,
    },
    /// Time passes.
    Travel {
        ms: u64,
    },
    /// Time passes until so many milliseconds after something, unless that is past.
    TravelTo {
        back: usize,
        edge: Edge,
        after: i64,
    },
    /// The gateway looks for what has come due.
    Tend,
}

/// The policies that a new key is given: rotation, on or off and every how many months; and dual authorization.
pub(crate) type Overrides = (Option<(bool, u8)>, Option<bool>);

/// How many aliases there are.
pub(crate) const ALIASES: u8 = 14;

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const HOUR: u64 = 3_600 * SECOND;
pub(crate) const DAY: u64 = 24 * HOUR;

fn target() -> impl Strategy<Value = Target> {
    let back = prop_oneof![8 => Just(0_usize), 4 => Just(1), 3 => 2..4_usize, 1 => 4..8_usize];
    let alias = prop_oneof![6 => Just(None), 1 => alias().prop_map(Some)];
    let named = prop_oneof![9 => Just(None), 1 => ring().prop_map(Some)];
    (back, alias, named).prop_map(|(back, alias, ring)| Target { back, alias, ring })
}

fn alias() -> impl Strategy<Value = u8> {
    0..ALIASES
}

/// 0 is `default`. 3 is made less often than it is asked for.
fn ring() -> impl Strategy<Value = u8> {
    0..4_u8
}

fn resource() -> impl Strategy<Value = u8> {
    0..2_u8
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => Just(Kind::Root), 2 => Just(Kind::Imported), 1 => Just(Kind::Standard)]
}

fn user() -> impl Strategy<Value = u8> {
    0..3_u8
}

fn months() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 1..4_u8, 1 => 0..14_u8]
}

fn create() -> impl Strategy<Value = Step> {
    let expires_in =
        prop_oneof![Just(0), 1..60_000_i64, Just(HOUR as i64), Just(8 * DAY as i64), Just(40 * DAY as i64),];
    let overrides = (option::of((any::<bool>(), 1..=12_u8)), option::of(any::<bool>()));
    let here = prop_oneof![2 => Just(None), 1 => ring().prop_map(Some)];
    // One too many now and then.
    let aliases = prop_oneof![8 => vec(alias(), 0..2), 1 => vec(alias(), 4..8)];
    let expires_in = prop_oneof![5 => Just(None), 2 => expires_in.prop_map(Some)];
    let overrides = prop_oneof![3 => Just(None), 1 => overrides.prop_map(Some)];
    (kind(), here, aliases, expires_in, overrides).prop_map(|(kind, ring, mut aliases, expires_in, overrides)| {
        aliases.sort_unstable();
        aliases.dedup();
        Step::Create { kind, ring, aliases, expires_in, overrides }
    })
}

fn travel() -> impl Strategy<Value = Step> {
    let ms = prop_oneof![
        4 => 1..1_000_u64,
        4 => 1..60 * SECOND,
        4 => 1..5 * HOUR,
        2 => 1..10 * DAY,
        1 => 1..100 * DAY,
    ];
    ms.prop_map(|ms| Step::Travel { ms })
}

fn travel_to() -> impl Strategy<Value = Step> {
    let edge = prop_oneof![
        4 => Just(Edge::Enable),
        3 => Just(Edge::Rotate),
        3 => Just(Edge::Sync),
        4 => Just(Edge::Restore),
        1 => Just(Edge::RestoreEnd),
        2 => Just(Edge::Purge),
        1 => Just(Edge::PurgedByItself),
        2 => Just(Edge::Lapse),
        2 => Just(Edge::Expiry),
        1 => Just(Edge::Rotation),
    ];
    (0..3_usize, edge, -1..=1_i64).prop_map(|(back, edge, after)| Step::TravelTo { back, edge, after })
}

fn own() -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(true), 1 => Just(false)]
}

/// Using a key.
fn use_key() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (target(), any::<u8>()).prop_map(|(target, plaintext)| Step::Wrap { target, plaintext }),
        4 => (target(), 0..4_usize, own()).prop_map(|(target, back, own)| Step::Unwrap { target, back, own }),
        2 => (target(), 0..4_usize, own()).prop_map(|(target, back, own)| Step::Rewrap { target, back, own }),
        1 => (target(), any::<bool>()).prop_map(|(target, all)| Step::Versions { target, all }),
    ]
}

/// Changing its life.
fn change_key() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (target(), any::<bool>()).prop_map(|(target, payload)| Step::Rotate { target, payload }),
        3 => target().prop_map(|target| Step::Disable { target }),
        4 => target().prop_map(|target| Step::Enable { target }),
        3 => (target(), user()).prop_map(|(target, user)| Step::Authorize { target, user }),
        1 => (target(), user()).prop_map(|(target, user)| Step::Unauthorize { target, user }),
        5 => (target(), user(), any::<bool>()).prop_map(|(target, user, force)| Step::Delete { target, user, force }),
        5 => (target(), prop_oneof![4 => Just(false), 1 => Just(true)])
            .prop_map(|(target, payload)| Step::Restore { target, payload }),
        2 => target().prop_map(|target| Step::Purge { target }),
        2 => target().prop_map(|target| Step::Sync { target }),
    ]
}

/// What is around it.
fn around_key() -> impl Strategy<Value = Step> {
    let rotation = option::of((option::of(any::<bool>()), option::of(months())));
    let dual = option::of(prop_oneof![1 => Just(true), 1 => Just(false)]);
    prop_oneof![
        3 => (target(), rotation, dual)
            .prop_map(|(target, rotation, dual)| Step::WritePolicies { target, rotation, dual }),
        2 => (target(), ring()).prop_map(|(target, ring)| Step::Move { target, ring }),
        3 => (target(), alias()).prop_map(|(target, alias)| Step::AddAlias { target, alias }),
        2 => (target(), alias(), any::<bool>()).prop_map(|(target, alias, own)| {
            // By the alias itself, so that there is one to drop.
            let target = if own { Target { alias: Some(alias), ring: None, ..target } } else { target };
            Step::DropAlias { target, alias }
        }),
        5 => (target(), resource(), prop_oneof![6 => Just(false), 1 => Just(true)])
            .prop_map(|(target, resource, prevent)| Step::Register { target, resource, prevent }),
        1 => (target(), resource()).prop_map(|(target, resource)| Step::Unregister { target, resource }),
        4 => (target(), resource()).prop_map(|(target, resource)| Step::Deactivate { target, resource }),
        2 => (0..6_usize).prop_map(|number| Step::Acknowledge { number }),
    ]
}

/// What is around all keys.
fn around_all() -> impl Strategy<Value = Step> {
    let policy = (option::of(any::<bool>()), option::of(prop_oneof![Just(0_u8), 1..=12_u8]));
    prop_oneof![
        2 => (0..3_u8).prop_map(|ring| Step::MakeRing { ring }),
        2 => (ring(), any::<bool>()).prop_map(|(ring, force)| Step::DropRing { ring, force }),
        1 => policy.prop_map(|(dual, rotation)| Step::InstancePolicies { dual, rotation }),
    ]
}

/// A sequence of steps.
pub(crate) fn sequence(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => create(),
        8 => use_key(),
        12 => change_key(),
        6 => around_key(),
        1 => around_all(),
        2 => travel(),
        4 => travel_to(),
        2 => Just(Step::Tend),
    ];
    // From one on, or no failure could be told in a few.
    vec(step, 1..most)
}
