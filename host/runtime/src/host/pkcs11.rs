//! `keygate:host/pkcs11`: tokens by name, to whom they were granted.
//!
//! Every function waits for the token's answer as a task waits, on no thread of its own, and no longer than the sandbox's
//! deadline allows: shortly before it the plugin is told that the token is busy or does not answer, so that it can say so
//! itself. Handles are the sandbox's and go with it; what is behind them (sessions, unwrapped keys) is the token's and stays.
//!
//! Linked by hand: `bindgen!` would drop plaintexts that it copied into a sandbox without wiping them.

mod convert;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::secret::SecretBytes;
use keygate_pkcs11::{Key, Pending, Token};
use wasmtime::component::{
    ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceTable, ResourceType,
};

use crate::bindings::tokens::keygate::host::pkcs11 as wit;
use crate::faults::HostCallRefused;
use crate::sandbox::State;

/// The most handles of tokens and keys that a sandbox can have at a time.
const MAX_HANDLES: usize = 256;

/// So much of what is left of a sandbox's time, and at most [`SPARE`], is the plugin's to say what came of a call.
const SPARE_SHARE: u32 = 8;
/// See [`SPARE_SHARE`].
const SPARE: Duration = Duration::from_millis(50);

/// Where tokens come from.
pub trait Tokens: Send + Sync {
    /// The token of this name. Asked when plugins are loaded and whenever one opens it; waits for nothing.
    fn token(&self, name: &str) -> Option<Token>;
}

/// No tokens at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTokens;

impl Tokens for NoTokens {
    fn token(&self, _: &str) -> Option<Token> {
        None
    }
}

/// A sandbox's handles.
pub(crate) struct Handles(ResourceTable);

impl Default for Handles {
    fn default() -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self(table)
    }
}

impl Handles {
    fn add<T: Send + 'static>(&mut self, handle: T) -> wasmtime::Result<Resource<T>> {
        let full = |_| HostCallRefused(format!("it has more than {MAX_HANDLES} handles of tokens and keys at a time"));
        Ok(self.0.push(handle).map_err(full)?)
    }

    fn get<T: 'static>(&self, handle: &Resource<T>) -> wasmtime::Result<&T> {
        Ok(self.0.get(handle)?)
    }
}

type Answer<T> = Result<T, wit::Error>;
/// What beginning a call comes to: an answer that is on its way, or an answer.
type Begun<T> = wasmtime::Result<Answer<Pending<T>>>;

/// A linked interface in the making.
struct Interface<'a>(LinkerInstance<'a, State>);

impl Interface<'_> {
    /// Adds a function that asks a token. `begin` hands the work to the token and does not wait, `finish` takes the answer.
    fn asks<P, T, R>(
        &mut self,
        name: &'static str,
        begin: fn(&mut State, P) -> Begun<T>,
        finish: fn(&mut State, T) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        T: Send + 'static,
        R: Send + 'static,
        (Answer<R>,): ComponentNamedList + Lower + 'static,
    {
        self.0.func_wrap_async(name, move |mut store, params: P| {
            Box::new(async move {
                super::only_at_work(store.data(), name)?;
                let pending = match begin(store.data_mut(), params)? {
                    Ok(pending) => pending,
                    Err(error) => return Ok((Err(error),)),
                };
                Ok((match pending.await {
                    Ok(answer) => Ok(finish(store.data_mut(), answer)?),
                    Err(error) => {
                        if let keygate_pkcs11::Error::Unavailable { retry_after, .. } = &error {
                            store.data_mut().come_again = *retry_after;
                        }
                        Err(error.into())
                    }
                },))
            })
        })
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = Interface(linker.instance("keygate:host/pkcs11@0.1.0")?);
    interface.0.resource("token", ResourceType::host::<Token>(), |mut store, rep| {
        store.data_mut().handles.0.delete(Resource::<Token>::new_own(rep))?;
        Ok(())
    })?;
    interface.0.resource("key", ResourceType::host::<Key>(), |mut store, rep| {
        store.data_mut().handles.0.delete(Resource::<Key>::new_own(rep))?;
        Ok(())
    })?;
    interface
        .0
        .func_wrap("[static]token.open", |mut store, (name,): (String,)| Ok((open(store.data_mut(), &name)?,)))?;
    link_tokens(&mut interface)?;
    link_keys(&mut interface)
}

/// No more than a look at the grants: the token is logged in, or will be, and each call says if that fails.
fn open(state: &mut State, name: &str) -> wasmtime::Result<Answer<Resource<Token>>> {
    super::only_at_work(state, "[static]token.open")?;
    let granted = state.facts.grants.pkcs11.iter().any(|granted| granted == name);
    match state.facts.services.tokens.token(name).filter(|_| granted) {
        Some(token) => Ok(Ok(state.handles.add(token)?)),
        None => Ok(Err(wit::Error::NotGranted)),
    }
}

fn link_tokens(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.asks(
        "[method]token.info",
        |state, (token,): (Resource<Token>,)| Ok(Ok(state.handles.get(&token)?.info(by(state)))),
        |_, info| Ok(wit::TokenInfo::from(info)),
    )?;
    interface.asks(
        "[method]token.find-key",
        |state, (token, id): (Resource<Token>, Vec<u8>)| Ok(Ok(state.handles.get(&token)?.find_key(&id, by(state)))),
        new_key,
    )?;
    interface.asks(
        "[method]token.generate-key",
        |state, (token, template, bits): (Resource<Token>, wit::KeyTemplate, u32)| {
            let token = state.handles.get(&token)?;
            Ok(template.try_into().map(|template| token.generate_key(&template, bits, by(state))))
        },
        new_key,
    )?;
    interface.asks(
        "[method]token.generate-key-pair",
        |state, (token, template, bits): (Resource<Token>, wit::KeyTemplate, u32)| {
            let token = state.handles.get(&token)?;
            Ok(template.try_into().map(|template| token.generate_key_pair(&template, bits, by(state))))
        },
        new_key,
    )?;
    interface.asks(
        "[method]token.import-key",
        |state, (token, template, material): (Resource<Token>, wit::KeyTemplate, Vec<u8>)| {
            let (token, material) = (state.handles.get(&token)?, SecretBytes::new(material));
            Ok(template.try_into().map(|template| token.import_key(&template, material, by(state))))
        },
        new_key,
    )?;
    interface.asks(
        "[method]token.destroy-key",
        |state, (token, id): (Resource<Token>, Vec<u8>)| Ok(Ok(state.handles.get(&token)?.destroy_key(&id, by(state)))),
        |_, ()| Ok(()),
    )?;
    interface.asks(
        "[method]token.random",
        |state, (token, len): (Resource<Token>, u32)| Ok(Ok(state.handles.get(&token)?.random(len, by(state)))),
        secret,
    )
}

fn link_keys(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.asks(
        "[method]key.seal",
        |state, (key, source, plaintext, aad): (Resource<Key>, wit::IvSource, Vec<u8>, Vec<u8>)| {
            let plaintext = SecretBytes::new(plaintext);
            Ok(Ok(state.handles.get(&key)?.seal(source.into(), plaintext, aad, by(state))))
        },
        |_, sealed| Ok(wit::Sealed::from(sealed)),
    )?;
    interface.asks(
        "[method]key.open",
        |state, (key, sealed, aad): (Resource<Key>, wit::Sealed, Vec<u8>)| {
            Ok(Ok(state.handles.get(&key)?.open(sealed.into(), aad, by(state))))
        },
        secret,
    )?;
    interface.asks(
        "[method]key.open-public",
        |state, (key, sealed, aad): (Resource<Key>, wit::Sealed, Vec<u8>)| {
            Ok(Ok(state.handles.get(&key)?.open_public(sealed.into(), aad, by(state))))
        },
        |_, opened| Ok(opened),
    )?;
    interface.asks(
        "[method]key.mac",
        |state, (key, data): (Resource<Key>, Vec<u8>)| Ok(Ok(state.handles.get(&key)?.mac(data, by(state)))),
        secret,
    )?;
    interface.asks(
        "[method]key.decrypt-cbc",
        |state, (key, iv, ciphertext): (Resource<Key>, Vec<u8>, Vec<u8>)| {
            Ok(Ok(state.handles.get(&key)?.decrypt_cbc(&iv, ciphertext, by(state))))
        },
        secret,
    )?;
    interface.asks(
        "[method]key.decrypt-oaep",
        |state, (key, digest, ciphertext): (Resource<Key>, wit::Digest, Vec<u8>)| {
            Ok(Ok(state.handles.get(&key)?.decrypt_oaep(digest.into(), ciphertext, by(state))))
        },
        secret,
    )?;
    link_wrapping(interface)
}

fn link_wrapping(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.asks(
        "[method]key.wrap-key",
        |state, (key, how, target): (Resource<Key>, wit::Wrapping, Resource<Key>)| {
            let (key, target) = (state.handles.get(&key)?, state.handles.get(&target)?);
            Ok(how.try_into().map(|how| key.wrap_key(how, target, by(state))))
        },
        |_, wrapped| Ok(wrapped),
    )?;
    interface.asks(
        "[method]key.unwrap-key",
        |state, (key, how, wrapped, template): (Resource<Key>, wit::Wrapping, Vec<u8>, wit::KeyTemplate)| {
            let key = state.handles.get(&key)?;
            let parts = how.try_into().and_then(|how| Ok((how, template.try_into()?)));
            Ok(parts.map(|(how, template)| key.unwrap_key(how, wrapped, &template, by(state))))
        },
        new_key,
    )?;
    interface
        .0
        .func_wrap("[method]key.forget-unwrapped", |mut store, params| Ok((forget(store.data_mut(), params)?,)))?;
    interface.asks(
        "[method]key.wrap-to",
        |state, (key, digest, recipient): (Resource<Key>, wit::Digest, Vec<u8>)| {
            let key = state.handles.get(&key)?;
            if !state.facts.grants.pkcs11_transport {
                return Ok(Err(wit::Error::NotGranted));
            }
            Ok(Ok(key.wrap_to(digest.into(), &recipient, by(state))))
        },
        |_, wrapped| Ok(wrapped),
    )?;
    interface.asks(
        "[method]key.public-key",
        |state, (key,): (Resource<Key>,)| Ok(Ok(state.handles.get(&key)?.public_key(by(state)))),
        |_, public| Ok(public),
    )
}

type Unwrapping = (Resource<Key>, wit::Wrapping, Vec<u8>, wit::KeyTemplate);

/// Nothing that the token is asked: what the door keeps of it is let go.
fn forget(state: &mut State, (key, how, wrapped, template): Unwrapping) -> wasmtime::Result<Answer<()>> {
    super::only_at_work(state, "[method]key.forget-unwrapped")?;
    let key = state.handles.get(&key)?;
    let parts = how.try_into().and_then(|how| Ok((how, template.try_into()?)));
    Ok(parts.map(|(how, template)| key.forget_unwrapped(how, wrapped, &template)))
}

/// By when a call must be answered.
fn by(state: &State) -> Instant {
    let (until, left) = (state.time.until, state.time.until.saturating_duration_since(Instant::now()));
    until - (left / SPARE_SHARE).min(SPARE)
}

fn new_key(state: &mut State, key: Key) -> wasmtime::Result<Resource<Key>> {
    state.handles.add(key)
}

/// Bytes that go into the sandbox, and are wiped on this side.
fn secret(state: &mut State, bytes: SecretBytes) -> wasmtime::Result<Arc<Vec<u8>>> {
    Ok(state.random.keep(bytes.expose().to_vec()))
}

#[cfg(test)]
mod tests;
