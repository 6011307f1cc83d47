//! `keygate:host/clock`: the gateway's clock.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::open::keygate::host::clock;
use crate::sandbox::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl clock::Host for State {
    fn now_unix_ms(&mut self) -> wasmtime::Result<u64> {
        super::only_at_work(self, "clock.now-unix-ms")?;
        Ok(self.facts.services.clock.now().unix_ms())
    }
}
