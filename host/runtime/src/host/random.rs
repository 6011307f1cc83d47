//! `keygate:host/random`: the host's generator, in measured portions.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use zeroize::Zeroize;

use crate::faults::HostCallRefused;
use crate::sandbox::State;

/// The most bytes a call.
const PER_CALL: u32 = 4_096;
/// The most bytes a sandbox.
const PER_SANDBOX: u32 = 65_536;

/// What a sandbox has had of it.
///
/// These bytes become keys. wasmtime copies them into the sandbox and drops its reference; the one kept here is then the
/// last, so that the bytes can be wiped before they go back to the allocator.
#[derive(Default)]
pub(crate) struct Portion {
    spent: u32,
    last: Option<Arc<Vec<u8>>>,
}

impl Portion {
    /// Keeps bytes that go into a sandbox until the next do, or the sandbox ends, and wipes them then.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        self.wipe();
        let bytes = Arc::new(bytes);
        self.last = Some(Arc::clone(&bytes));
        bytes
    }

    fn wipe(&mut self) {
        if let Some(bytes) = self.last.as_mut().and_then(Arc::get_mut) {
            bytes.zeroize();
        }
        self.last = None;
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// By hand rather than by `bindgen!`, whose vector would be dropped without being wiped.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance("keygate:host/random@0.1.0")?
        .func_wrap("bytes", |mut store: StoreContextMut<'_, State>, (len,): (u32,)| {
            Ok((bytes(store.data_mut(), len)?,))
        })
}

fn bytes(state: &mut State, len: u32) -> Result<Arc<Vec<u8>>, HostCallRefused> {
    super::only_at_work(state, "random.bytes")?;
    let len = portion(state, len.into())?;
    draw(state, len)
}

/// Takes so many bytes from what the sandbox may have.
pub(super) fn portion(state: &mut State, len: u64) -> Result<usize, HostCallRefused> {
    let Some(some) = u32::try_from(len).ok().filter(|len| *len <= PER_CALL) else {
        return Err(HostCallRefused(format!("it asked for {len} random bytes at once; {PER_CALL} is the most")));
    };
    if state.random.spent + some > PER_SANDBOX {
        return Err(HostCallRefused(format!("it asked for more than {PER_SANDBOX} random bytes in one call")));
    }
    state.random.spent += some;
    Ok(some as usize)
}

/// Bytes of the host's generator.
pub(super) fn draw(state: &mut State, len: usize) -> Result<Arc<Vec<u8>>, HostCallRefused> {
    let mut bytes = vec![0; len];
    state.facts.services.entropy.fill(&mut bytes).map_err(|e| HostCallRefused(e.to_string()))?;
    Ok(state.random.keep(bytes))
}
