//! What can be seen of a gateway from outside, as plain data.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::steps::Kind;

/// What comes of a step: the reason's code where it is refused.
pub(crate) type Outcome = Result<Answer, &'static str>;

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// That it was done.
    Done,
    /// Whether it is new.
    New(bool),
    /// The sequence of the version that a ciphertext is under.
    Wrapped(u32),
    /// What a ciphertext held, the version that it was under, and the version that it was wrapped under anew.
    Opened(u8, u32, Option<u32>),
    /// The versions that a ciphertext was under, and is.
    Rewrapped(u32, u32),
    /// When versions were made.
    Versions(Vec<u64>),
}

/// A key. Instants are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyView {
    pub(crate) kind: Kind,
    pub(crate) state: u8,
    pub(crate) ring: u8,
    pub(crate) aliases: Vec<u8>,
    pub(crate) created: u64,
    pub(crate) updated: Updated,
    pub(crate) rotated: Option<u64>,
    pub(crate) expires: Option<u64>,
    /// When its versions were made, newest first.
    pub(crate) versions: Vec<u64>,
    pub(crate) deleted: Option<(u64, u8)>,
    pub(crate) rotation: Option<(bool, u8)>,
    pub(crate) dual: Option<bool>,
    /// Who authorized its deletion, and until when that holds, while it does.
    pub(crate) authorized: Option<(u8, u64)>,
    /// By resource: its state (`A`, `S`, `D`) and whether it keeps the key from being deleted.
    pub(crate) registrations: BTreeMap<u8, (char, bool)>,
    /// What adopters have not acknowledged, oldest first within a resource.
    pub(crate) events: Vec<(u8, &'static str)>,
}

/// When a key was changed last.
#[derive(Clone, Copy, Debug, Eq)]
pub(crate) enum Updated {
    /// Then.
    At(u64),
    /// At either, because it is the gateway's affair when it notes what has come by itself.
    Either(u64, u64),
}

impl PartialEq for Updated {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::At(a), Self::At(b)) => a == b,
            (Self::At(at), Self::Either(a, b)) | (Self::Either(a, b), Self::At(at)) => at == a || at == b,
            (Self::Either(a, b), Self::Either(c, d)) => (a, b) == (c, d),
        }
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) now: u64,
    /// By their number, in the order in which they were made. A key that is not there any more is not here.
    pub(crate) keys: BTreeMap<usize, KeyView>,
    /// Which key an alias leads to.
    pub(crate) aliases: BTreeMap<u8, usize>,
    /// Those that are there beside `default`.
    pub(crate) rings: Vec<u8>,
    /// Which keys lists by state have.
    pub(crate) by_state: BTreeMap<u8, Vec<usize>>,
    /// Which keys lists by ring have, in whatever state.
    pub(crate) by_ring: BTreeMap<u8, Vec<usize>>,
    /// Which keys the list has that asks for nothing.
    pub(crate) by_default: Vec<usize>,
}

/// Where two views differ; nothing where they do not.
pub(crate) fn difference(is: &View, should: &View) -> String {
    let mut told = String::new();
    let numbers: std::collections::BTreeSet<_> = is.keys.keys().chain(should.keys.keys()).collect();
    for number in numbers {
        let (is, should) = (is.keys.get(number), should.keys.get(number));
        if is != should {
            let _ = writeln!(told, "key {number} is {is:#?}\nand should be {should:#?}");
        }
    }
    let mut rest = |what: &str, is: &dyn std::fmt::Debug, should: &dyn std::fmt::Debug, same: bool| {
        if !same {
            let _ = writeln!(told, "{what}: {is:?}, and should be {should:?}");
        }
    };
    rest("the time", &is.now, &should.now, is.now == should.now);
    rest("aliases", &is.aliases, &should.aliases, is.aliases == should.aliases);
    rest("rings", &is.rings, &should.rings, is.rings == should.rings);
    rest("lists by state", &is.by_state, &should.by_state, is.by_state == should.by_state);
    rest("lists by ring", &is.by_ring, &should.by_ring, is.by_ring == should.by_ring);
    rest("the list", &is.by_default, &should.by_default, is.by_default == should.by_default);
    told
}
