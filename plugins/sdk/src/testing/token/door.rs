//! What a plugin sees of the token: the functions of `keygate:host/pkcs11`.

use super::aes_modes::{self, Closed};
use super::{Control, Material, TOKENS, encrypt_oaep, invalid, mechanism, rejected, rsa_modes};
use crate::host::pkcs11::{
    Digest, Error, IvSource, KeyTemplate, MAX_MAC, MAX_RANDOM, MAX_SEAL, Result, Sealed, TokenInfo, Usage, Wrapping,
};

/// The near side of a token.
pub(crate) struct Token(Control);

impl Token {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let control = TOKENS.with_borrow(|tokens| tokens.get(name).cloned()).ok_or(Error::NotGranted)?;
        control.call("token", |_| Ok(()))?;
        Ok(Self(control))
    }

    pub(crate) fn info(&self) -> Result<TokenInfo> {
        self.0.call("info", |soft| {
            let mechanisms = soft.mechanisms.iter().map(|name| (*name).to_owned()).collect();
            Ok(TokenInfo { manufacturer: soft.manufacturer.clone(), model: "in memory".to_owned(), mechanisms })
        })
    }

    pub(crate) fn find_key(&self, id: &[u8]) -> Result<Key> {
        self.0.key(self.0.call("find-key", |soft| soft.find(id).ok_or(Error::NotFound)))
    }

    pub(crate) fn generate_key(&self, template: &KeyTemplate, bits: u32) -> Result<Key> {
        self.0.key(self.0.call("generate-key", |soft| {
            soft.need("CKM_AES_KEY_GEN")?;
            if !matches!(bits, 128 | 192 | 256) {
                return Err(invalid("`bits`: 128, 192 or 256"));
            }
            soft.keep(template, Material::Aes(crate::testing::random(bits / 8)), true)
        }))
    }

    pub(crate) fn generate_key_pair(&self, template: &KeyTemplate, bits: u32) -> Result<Key> {
        self.0.key(self.0.call("generate-key-pair", |soft| {
            soft.need("CKM_RSA_PKCS_KEY_PAIR_GEN")?;
            let key = match &soft.primes {
                Some(primes) => rsa_modes::from_primes(primes)?,
                None => rsa_modes::generate(bits)?,
            };
            soft.keep(template, Material::Rsa(Box::new(key)), true)
        }))
    }

    pub(crate) fn import_key(&self, template: &KeyTemplate, material: &[u8]) -> Result<Key> {
        self.0.key(self.0.call("import-key", |soft| {
            if !matches!(material.len(), 16 | 24 | 32) {
                return Err(invalid("`material`: 16, 24 or 32 bytes"));
            }
            soft.keep(template, Material::Aes(material.to_vec()), false)
        }))
    }

    pub(crate) fn destroy_key(&self, id: &[u8]) -> Result<()> {
        self.0.call("destroy-key", |soft| {
            let number = soft.find(id).ok_or(Error::NotFound)?;
            soft.objects.remove(&number);
            Ok(())
        })
    }

    pub(crate) fn random(&self, len: u32) -> Result<Vec<u8>> {
        self.0.call("random", |_| {
            if len > MAX_RANDOM { Err(invalid("`len`: at most 4,096")) } else { Ok(crate::testing::random(len)) }
        })
    }
}

/// The near side of a key. A session object ends with it.
pub(crate) struct Key {
    control: Control,
    number: u64,
}

impl Key {
    pub(super) const fn new(control: Control, number: u64) -> Self {
        Self { control, number }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let mut soft = self.control.soft();
        if soft.objects.get(&self.number).is_some_and(|kept| !kept.seen.persistent) {
            soft.objects.remove(&self.number);
        }
    }
}

impl Key {
    pub(crate) fn seal(&self, _: IvSource, plaintext: &[u8], aad: &[u8]) -> Result<Sealed> {
        self.control.call("seal", |soft| {
            soft.need("CKM_AES_GCM")?;
            if plaintext.is_empty() {
                // Some modules do not take it, so no plugin should count on it.
                return Err(rejected("C_Encrypt", 0x21, "CKR_DATA_LEN_RANGE"));
            }
            if plaintext.len() > MAX_SEAL || aad.len() > MAX_SEAL {
                return Err(invalid("`plaintext` and `aad`: at most 65,536 bytes"));
            }
            let key = soft.aes(self.number, Usage::ENCRYPT)?;
            let iv = crate::testing::random(12);
            let ciphertext = aes_modes::gcm(key, &iv, plaintext, aad, true).map_err(|_| invalid("GCM"))?;
            Ok(Sealed { iv, ciphertext })
        })
    }

    pub(crate) fn open(&self, sealed: &Sealed, aad: &[u8]) -> Result<Vec<u8>> {
        self.control.call("open", |soft| {
            soft.need("CKM_AES_GCM")?;
            if !(12..=16).contains(&sealed.iv.len()) {
                return Err(invalid("`iv`: 12 to 16 bytes"));
            }
            let key = soft.aes(self.number, Usage::DECRYPT)?;
            aes_modes::gcm(key, &sealed.iv, &sealed.ciphertext, aad, false).map_err(|_| Error::AuthenticationFailed)
        })
    }

    pub(crate) fn open_public(&self, sealed: &Sealed, aad: &[u8]) -> Result<Vec<u8>> {
        self.open(sealed, aad)
    }

    pub(crate) fn mac(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.control.call("mac", |soft| {
            soft.need("CKM_AES_CMAC")?;
            if data.len() > MAX_MAC {
                return Err(invalid("`data`: at most 1,024 bytes"));
            }
            aes_modes::cmac(soft.aes(self.number, Usage::MAC)?, data).map_err(|_| invalid("CMAC"))
        })
    }

    pub(crate) fn decrypt_cbc(&self, iv: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>> {
        self.control.call("decrypt-cbc", |soft| {
            soft.need("CKM_AES_CBC_PAD")?;
            if iv.len() != 16 {
                return Err(invalid("`iv`: 16 bytes"));
            }
            let key = soft.aes(self.number, Usage::DECRYPT)?;
            aes_modes::cbc_open(key, iv, ciphertext).map_err(|_| Error::AuthenticationFailed)
        })
    }

    pub(crate) fn decrypt_oaep(&self, digest: Digest, ciphertext: &[u8]) -> Result<Vec<u8>> {
        self.control.call("decrypt-oaep", |soft| {
            soft.oaep(digest)?;
            rsa_modes::decrypt_oaep(digest, soft.rsa(self.number, Usage::DECRYPT)?, ciphertext)
        })
    }

    pub(crate) fn wrap_key(&self, how: &Wrapping, target: &Self) -> Result<Vec<u8>> {
        self.control.call("wrap-key", |soft| {
            soft.need(mechanism(how))?;
            let seen = &soft.kept(self.number)?.seen;
            if !seen.local || seen.exportable {
                return Err(invalid("the wrapping key must have been made in the token, and not be exportable"));
            }
            let (key, bytes) = (soft.aes(self.number, Usage::WRAP)?, soft.leaving(target.number)?);
            let wrapped = match how {
                Wrapping::AesKeyWrap => aes_modes::kw(key, &bytes),
                Wrapping::AesKeyWrapPad | Wrapping::AesKeyWrapKwp => aes_modes::kwp(key, &bytes),
                Wrapping::AesCbcPad(_) | Wrapping::RsaOaep(_) => Err(Closed),
            };
            wrapped.map_err(|_| Error::Unsupported(mechanism(how).to_owned()))
        })
    }

    pub(crate) fn unwrap_key(&self, how: &Wrapping, wrapped: &[u8], template: &KeyTemplate) -> Result<Self> {
        let number = self.control.call("unwrap-key", |soft| soft.unwrap(self.number, how, wrapped, template));
        self.control.key(number)
    }

    /// Here no object outlives its handle: what is asked for is noted.
    pub(crate) fn forget_unwrapped(&self, _: &Wrapping, wrapped: &[u8], _: &KeyTemplate) -> Result<()> {
        self.control.call("forget-unwrapped", |soft| {
            soft.forgotten.push(wrapped.to_vec());
            Ok(())
        })
    }

    pub(crate) fn wrap_to(&self, digest: Digest, recipient: &[u8]) -> Result<Vec<u8>> {
        self.control.call("wrap-to", |soft| {
            if !soft.grants_transport {
                return Err(Error::NotGranted);
            }
            soft.oaep(digest)?;
            let transport = crate::testing::random(32);
            let sealed = encrypt_oaep(digest, recipient, &transport)?;
            let wrapped = aes_modes::kwp(&transport, &soft.leaving(self.number)?).map_err(|_| invalid("KWP"))?;
            Ok([sealed, wrapped].concat())
        })
    }

    pub(crate) fn public_key(&self) -> Result<Vec<u8>> {
        self.control.call("public-key", |soft| match &soft.kept(self.number)?.material {
            Material::Rsa(key) => Ok(rsa_modes::public(key)),
            Material::Aes(_) => Err(Error::Unsupported("a secret key has no public half".to_owned())),
        })
    }
}
