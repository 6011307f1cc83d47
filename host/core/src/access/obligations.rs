//! Obligations: what rules make their allow depend on. The host keeps every one of them, or refuses the request. One that
//! it does not know, whose value it does not understand, or that it could not keep in what is asked for, is a denial: an
//! allow that holds only if something is done is no allow where nobody does it.
//!
//! Where each can be kept is said once, in [`Duty::actions`], and [`Obligations::understand`] goes by it. The bound on data
//! is kept by the pipeline, before any work; the others by the use cases.

use super::{Action, Denial, DenialKind, Obligation};
use crate::error::ReasonCode;
use crate::ids::KeyRingId;
use crate::key;

/// The longest audit note, in bytes.
pub const MAX_NOTE: usize = 256;

macro_rules! duties {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The obligations that this host knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Duty {
            $($(#[$doc])* $name,)*
        }

        impl Duty {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name by which rules ask for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

duties! {
    /// Treat the key as if it were under dual authorization. The value is empty.
    RequireDualAuthorization = "require-dual-authorization";
    /// Refuse more data than this: bytes, in decimal.
    MaxDataBytes = "max-data-bytes";
    /// Make the key in this ring.
    NewKeyRing = "new-key-ring";
    /// Give the new key these tags, beside those that it is to have anyway: a JSON list of texts.
    NewKeyTags = "new-key-tags";
    /// Put this text of 1 to 256 bytes into the audit event.
    AuditNote = "audit-note";
}

impl Duty {
    /// The actions in which it can be kept.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::RequireDualAuthorization => &[Action::Delete, Action::SetKeyForDeletion, Action::UnsetKeyForDeletion],
            Self::MaxDataBytes => &[Action::Create, Action::CreateWithOverrides, Action::Rotate, Action::Wrap],
            Self::NewKeyRing | Self::NewKeyTags => &[Action::Create, Action::CreateWithOverrides],
            Self::AuditNote => Action::ALL,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|duty| duty.name() == name)
    }
}

/// A note for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The rule that left it.
    pub rule: String,
    /// What it says.
    pub text: String,
}

/// Something that a rule said, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said<T> {
    rule: String,
    what: T,
}

/// The obligations of all rules, understood, and made into one set. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    dual_authorization: bool,
    max_data_bytes: Option<Said<u64>>,
    ring: Option<Said<KeyRingId>>,
    tags: Vec<String>,
    notes: Vec<Note>,
}

impl Obligations {
    /// Understands what rules ask for beside `action`. Of several bounds the smallest holds; tags are put together; every
    /// note is kept.
    ///
    /// # Errors
    /// `UNKNOWN_OBLIGATION_ERR`, naming rule and obligation, for one that is not known, not understood, or cannot be kept in
    /// this action, and for two that cannot both be.
    pub fn understand(action: Action, asked: &[Obligation]) -> Result<Self, Denial> {
        let mut all = Self::default();
        for obligation in asked {
            all.take(action, obligation).map_err(|why| unknown(obligation, &why))?;
        }
        Ok(all)
    }

    fn take(&mut self, action: Action, asked: &Obligation) -> Result<(), String> {
        let duty = Duty::named(&asked.name).ok_or("which this gateway does not know")?;
        if !duty.actions().contains(&action) {
            return Err(format!("which cannot be kept in {}", action.iam()));
        }
        let rule = asked.rule.clone();
        match duty {
            Duty::RequireDualAuthorization if !asked.value.is_empty() => return Err(expected("empty")),
            Duty::RequireDualAuthorization => self.dual_authorization = true,
            Duty::MaxDataBytes => {
                let bytes = decimal(&asked.value).ok_or_else(|| expected("a number of bytes in decimal"))?;
                if self.max_data_bytes.as_ref().is_none_or(|bound| bytes < bound.what) {
                    self.max_data_bytes = Some(Said { rule, what: bytes });
                }
            }
            Duty::NewKeyRing => {
                let ring = KeyRingId::parse(&asked.value).map_err(|_| expected("the id of a key ring"))?;
                match &self.ring {
                    Some(other) if other.what != ring => {
                        return Err(format!("and rule `{}` asks for another ring", other.rule));
                    }
                    _ => self.ring = Some(Said { rule, what: ring }),
                }
            }
            Duty::NewKeyTags => {
                let tags = tags(&asked.value).ok_or_else(|| {
                    expected("a JSON list of tags: at most 30, of at most 30 characters each that tags may have")
                })?;
                unite(&mut self.tags, tags);
            }
            Duty::AuditNote => {
                if !(1..=MAX_NOTE).contains(&asked.value.len()) || asked.value.chars().any(is_disturbing) {
                    return Err(expected("a line of 1 to 256 bytes"));
                }
                self.notes.push(Note { rule, text: asked.value.clone() });
            }
        }
        Ok(())
    }

    /// Whether the key is to be treated as one that takes two people to delete.
    pub const fn dual_authorization(&self) -> bool {
        self.dual_authorization
    }

    /// Checks how much data a request brings, in bytes.
    ///
    /// # Errors
    /// `DATA_TOO_LARGE_ERR`, with the bound and the rule that set it.
    pub fn check_data(&self, bytes: u64) -> Result<(), Denial> {
        match &self.max_data_bytes {
            Some(Said { rule, what: bound }) if bytes > *bound => Err(Denial {
                kind: DenialKind::Forbidden,
                code: ReasonCode::DataTooLarge.as_str().to_owned(),
                message: format!(
                    "Rule `{rule}` allows at most {bound} bytes of data before base64, and the request has {bytes}; send \
                     less, or ask the operator of the gateway"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The ring that a new key must be made in.
    pub fn new_key_ring(&self) -> Option<&KeyRingId> {
        self.ring.as_ref().map(|said| &said.what)
    }

    /// Adds the tags that a new key must have to those that it is to have anyway. There may be too many then.
    pub fn add_new_key_tags(&self, tags: &mut Vec<String>) {
        unite(tags, self.tags.iter().cloned());
    }

    /// The notes for the audit log, in the order of the chain.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

fn unknown(obligation: &Obligation, why: &str) -> Denial {
    Denial {
        kind: DenialKind::Forbidden,
        code: ReasonCode::UnknownObligation.as_str().to_owned(),
        message: format!(
            "Rule `{}` allows this only with the obligation `{}`, {why}; tell the operator of the gateway",
            obligation.rule, obligation.name
        ),
    }
}

/// The value itself is not told: it is whatever a rule wrote.
fn expected(what: &str) -> String {
    format!("whose value should be {what} and is not")
}

/// A number as programs write it: digits, no sign, no zeros before it.
fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

fn tags(text: &str) -> Option<Vec<String>> {
    let tags: Vec<String> = serde_json::from_str(text).ok()?;
    let sound = |tag: &String| {
        tag.chars().count() <= key::MAX_TAG_CHARS && !tag.contains(key::NOT_IN_TAGS) && !tag.chars().any(is_disturbing)
    };
    (tags.len() <= key::MAX_TAGS && tags.iter().all(sound)).then_some(tags)
}

fn unite(tags: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for tag in more {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// Control characters, the ends of lines and paragraphs, and the marks that turn the direction of writing, with which a
/// line can be made to read as another.
fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
