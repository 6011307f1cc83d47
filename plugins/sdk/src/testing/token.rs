//! A token for unit tests: in memory, with real AES-GCM, AES key wrapping and RSA-OAEP, and with what a real one does only
//! when it is in the mood: losses, refusals, answers that never arrive.
//!
//! It belongs to the thread, as the rest of the host in [`crate::testing`] does, and keeps to the rules of
//! `keygate:host/pkcs11`, so that a plugin that breaks one learns of it in its unit tests.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rsa::RsaPrivateKey;

use crate::host::pkcs11::{Digest, Error, KeyTemplate, Result, Usage, Wrapping};

mod aes_modes;
mod door;
mod rsa_modes;

pub(crate) use door::{Key, Token};
pub use rsa_modes::encrypt_oaep;

use aes_modes::Closed;

/// The mechanisms of a new token.
const MECHANISMS: [&str; 10] = [
    "CKM_AES_GCM",
    "CKM_AES_CMAC",
    "CKM_AES_KEY_WRAP",
    "CKM_AES_KEY_WRAP_PAD",
    "CKM_AES_KEY_WRAP_KWP",
    "CKM_AES_CBC_PAD",
    "CKM_AES_KEY_GEN",
    "CKM_RSA_PKCS_KEY_PAIR_GEN",
    "CKM_RSA_PKCS_OAEP",
    "CKM_RSA_AES_KEY_WRAP",
];

/// What is in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
    /// `AES` or `RSA`.
    pub algorithm: &'static str,
    /// What for.
    pub usage: Usage,
    /// Whether it is a token object.
    pub persistent: bool,
    /// CKA_EXTRACTABLE.
    pub exportable: bool,
    /// CKA_LOCAL.
    pub local: bool,
}

#[derive(Clone)]
enum Material {
    Aes(Vec<u8>),
    Rsa(Box<RsaPrivateKey>),
}

struct Kept {
    seen: Object,
    material: Material,
}

/// What goes wrong.
#[derive(Clone)]
enum Trouble {
    /// The call fails and has done nothing, so many times.
    Fail(Error, u32),
    /// The call is done, once, and its answer lost.
    Lose(Error),
}

#[derive(Default)]
struct Soft {
    objects: BTreeMap<u64, Kept>,
    next: u64,
    mechanisms: BTreeSet<&'static str>,
    oaep: Vec<Digest>,
    manufacturer: String,
    trouble: BTreeMap<&'static str, Trouble>,
    calls: Vec<&'static str>,
    primes: Option<Vec<u8>>,
    grants_transport: bool,
    forgotten: Vec<Vec<u8>>,
}

thread_local! {
    static TOKENS: RefCell<BTreeMap<String, Control>> = RefCell::default();
}

pub(super) fn revoke_all() {
    TOKENS.with_borrow_mut(BTreeMap::clear);
}

/// Grants an empty token of this name. What comes back steers it.
pub fn grant(name: &str) -> Control {
    let soft = Soft {
        mechanisms: MECHANISMS.into(),
        oaep: vec![Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512],
        manufacturer: "Keygate".to_owned(),
        ..Soft::default()
    };
    let control = Control(Rc::new(RefCell::new(soft)));
    TOKENS.with_borrow_mut(|tokens| tokens.insert(name.to_owned(), control.clone()));
    control
}

/// The far side of a token.
#[derive(Clone)]
pub struct Control(Rc<RefCell<Soft>>);

impl Control {
    fn soft(&self) -> RefMut<'_, Soft> {
        self.0.borrow_mut()
    }

    /// What is in it now.
    pub fn objects(&self) -> Vec<Object> {
        self.soft().objects.values().map(|kept| kept.seen.clone()).collect()
    }

    /// Those that stay.
    pub fn persistent(&self) -> Vec<Object> {
        self.objects().into_iter().filter(|object| object.persistent).collect()
    }

    /// Empties it, as if it were made anew.
    pub fn clear(&self) {
        self.soft().objects.clear();
    }

    /// The next call of this function (`open`, `seal`, `generate-key`, ...; `token` is [`Token::open`]) fails and does
    /// nothing.
    pub fn fail(&self, function: &'static str, error: Error) {
        self.fail_times(function, error, 1);
    }

    /// The same, so many times.
    pub fn fail_times(&self, function: &'static str, error: Error, times: u32) {
        self.soft().trouble.insert(function, Trouble::Fail(error, times));
    }

    /// The next call of this function is done, and its answer lost.
    pub fn lose_answer(&self, function: &'static str, error: Error) {
        self.soft().trouble.insert(function, Trouble::Lose(error));
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.soft().trouble.clear();
    }

    /// Takes a mechanism away.
    pub fn without(&self, mechanism: &str) {
        self.soft().mechanisms.remove(mechanism);
    }

    /// The hashes that its OAEP can do.
    pub fn set_oaep(&self, digests: &[Digest]) {
        self.soft().oaep = digests.to_vec();
    }

    /// Who made it.
    pub fn set_manufacturer(&self, name: &str) {
        name.clone_into(&mut self.soft().manufacturer);
    }

    /// The two primes of the key pairs that it makes from now on, one behind the other: finding some takes seconds.
    pub fn set_primes(&self, primes: &[u8]) {
        self.soft().primes = Some(primes.to_vec());
    }

    /// Whether `wrap-to` is granted; at first it is not.
    pub fn grant_transport(&self, granted: bool) {
        self.soft().grants_transport = granted;
    }

    /// The wrapped bytes of all that was to be forgotten.
    pub fn forgotten(&self) -> Vec<Vec<u8>> {
        self.soft().forgotten.clone()
    }

    /// The functions that were called since the last time, oldest first.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.soft().calls)
    }

    /// Runs a call, unless there is trouble.
    fn call<R>(&self, function: &'static str, work: impl FnOnce(&mut Soft) -> Result<R>) -> Result<R> {
        let mut soft = self.soft();
        soft.calls.push(function);
        match soft.trouble.remove(function) {
            None => work(&mut soft),
            Some(Trouble::Fail(error, times)) => {
                if times > 1 {
                    soft.trouble.insert(function, Trouble::Fail(error.clone(), times - 1));
                }
                Err(error)
            }
            Some(Trouble::Lose(error)) => {
                let before = soft.next;
                work(&mut soft)?;
                // Session objects of which nobody got the handle are the host's to destroy.
                soft.objects.retain(|number, kept| *number <= before || kept.seen.persistent);
                Err(error)
            }
        }
    }

    fn key(&self, number: Result<u64>) -> Result<Key> {
        number.map(|number| Key::new(self.clone(), number))
    }
}

impl Soft {
    fn need(&self, mechanism: &str) -> Result<()> {
        if self.mechanisms.contains(mechanism) { Ok(()) } else { Err(Error::Unsupported(mechanism.to_owned())) }
    }

    fn find(&self, id: &[u8]) -> Option<u64> {
        self.objects.iter().find(|(_, kept)| kept.seen.id.as_deref() == Some(id)).map(|(number, _)| *number)
    }

    fn kept(&self, number: u64) -> Result<&Kept> {
        self.objects.get(&number).ok_or(Error::NotFound)
    }

    /// The bytes of an AES key that may be used so.
    fn aes(&self, number: u64, usage: Usage) -> Result<&[u8]> {
        let kept = self.kept(number)?;
        match &kept.material {
            Material::Aes(bytes) if kept.seen.usage & usage == usage => Ok(bytes),
            Material::Aes(_) => Err(not_permitted()),
            Material::Rsa(_) => Err(invalid("an RSA key does not do AES")),
        }
    }

    fn rsa(&self, number: u64, usage: Usage) -> Result<&RsaPrivateKey> {
        let kept = self.kept(number)?;
        match &kept.material {
            Material::Rsa(key) if kept.seen.usage & usage == usage => Ok(key),
            Material::Rsa(_) => Err(not_permitted()),
            Material::Aes(_) => Err(invalid("an AES key does not do RSA")),
        }
    }

    fn oaep(&self, digest: Digest) -> Result<()> {
        self.need("CKM_RSA_PKCS_OAEP")?;
        if self.oaep.contains(&digest) { Ok(()) } else { Err(Error::Unsupported(format!("OAEP with {digest:?}"))) }
    }

    fn keep(&mut self, template: &KeyTemplate, material: Material, local: bool) -> Result<u64> {
        let algorithm = match material {
            Material::Aes(_) => "AES",
            Material::Rsa(_) => "RSA",
        };
        if template.algorithm != algorithm {
            return Err(invalid("`template.algorithm` is another than the key's"));
        }
        if template.usage & Usage::MAC == Usage::MAC && algorithm != "AES" {
            return Err(invalid("`template.usage`: `mac` is a use of AES keys only"));
        }
        if template.persistent != template.id.is_some() {
            return Err(invalid("`template.id`: a persistent key has one, and no other"));
        }
        if let Some(id) = &template.id {
            if !(1..=64).contains(&id.len()) {
                return Err(invalid("`template.id`: 1 to 64 bytes"));
            }
            if self.find(id).is_some() {
                return Err(Error::AlreadyExists);
            }
        }
        let seen = Object {
            id: template.id.clone(),
            algorithm,
            usage: template.usage,
            persistent: template.persistent,
            exportable: template.exportable,
            local,
        };
        self.next += 1;
        self.objects.insert(self.next, Kept { seen, material });
        Ok(self.next)
    }

    /// The bytes of a key that is to leave, wrapped.
    fn leaving(&self, number: u64) -> Result<Vec<u8>> {
        let kept = self.kept(number)?;
        if !kept.seen.exportable {
            return Err(rejected("C_WrapKey", 0x6A, "CKR_KEY_UNEXTRACTABLE"));
        }
        Ok(match &kept.material {
            Material::Aes(bytes) => bytes.clone(),
            Material::Rsa(key) => rsa_modes::primes(key),
        })
    }

    fn unwrap(&mut self, number: u64, how: &Wrapping, wrapped: &[u8], template: &KeyTemplate) -> Result<u64> {
        if wrapped.len() > 4_096 {
            return Err(invalid("`wrapped`: at most 4,096 bytes"));
        }
        let closed = |_: Closed| Error::AuthenticationFailed;
        let bytes = if let Wrapping::RsaOaep(digest) = how {
            self.oaep(*digest)?;
            rsa_modes::decrypt_oaep(*digest, self.rsa(number, Usage::UNWRAP)?, wrapped)?
        } else {
            self.need(mechanism(how))?;
            let key = self.aes(number, Usage::UNWRAP)?;
            match how {
                Wrapping::AesKeyWrap => aes_modes::kw_open(key, wrapped).map_err(closed)?,
                Wrapping::AesCbcPad(iv) => aes_modes::cbc_open(key, iv, wrapped).map_err(closed)?,
                _ => aes_modes::kwp_open(key, wrapped).map_err(closed)?,
            }
        };
        let material = match template.algorithm.as_str() {
            "AES" if matches!(bytes.len(), 16 | 24 | 32) => Material::Aes(bytes),
            // The host makes this of CKR_WRAPPED_KEY_LEN_RANGE and what else modules say to it.
            "AES" => return Err(Error::AuthenticationFailed),
            _ => Material::Rsa(Box::new(rsa_modes::from_primes(&bytes)?)),
        };
        self.keep(template, material, false)
    }
}

fn invalid(text: &str) -> Error {
    Error::InvalidInput(text.to_owned())
}

fn not_permitted() -> Error {
    rejected("C_EncryptInit", 0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED")
}

/// A return value of the module.
pub fn rejected(function: &str, rv: u64, name: &str) -> Error {
    Error::Rejected(crate::host::pkcs11::Rejection { function: function.to_owned(), rv, name: name.to_owned() })
}

fn mechanism(how: &Wrapping) -> &'static str {
    match how {
        Wrapping::AesKeyWrap => "CKM_AES_KEY_WRAP",
        Wrapping::AesKeyWrapPad => "CKM_AES_KEY_WRAP_PAD",
        Wrapping::AesKeyWrapKwp => "CKM_AES_KEY_WRAP_KWP",
        Wrapping::AesCbcPad(_) => "CKM_AES_CBC_PAD",
        Wrapping::RsaOaep(_) => "CKM_RSA_PKCS_OAEP",
    }
}
