//! What the host can do for a plugin, one capability a file. A plugin is linked with what it is granted and nothing else;
//! names are looked at once more at each call.

pub(crate) mod clock;
pub(crate) mod log;
pub(crate) mod pkcs11;
pub(crate) mod random;
pub(crate) mod secrets;
pub(crate) mod wasi;

use std::sync::Arc;

use keygate_core::ports::{Clock, Entropy};
use wasmtime::component::{Component, Linker};

use crate::faults::HostCallRefused;
use crate::manifest::Grants;
use crate::sandbox::{Phase, State};
use pkcs11::Tokens;
use secrets::SecretSource;

/// What the host has to grant from.
#[derive(Clone)]
pub struct HostServices {
    /// Secrets by name.
    pub secrets: Arc<dyn SecretSource>,
    /// Tokens by name.
    pub tokens: Arc<dyn Tokens>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The version of `keygate:host` that this host offers.
pub(crate) const VERSION: &str = "0.1.0";

/// The capabilities that this host has, by the name of their interface and of their grant.
pub(crate) const CAPABILITIES: [&str; 5] = ["log", "random", "secrets", "clock", "pkcs11"];

/// Links a plugin with what it is granted.
pub(crate) fn link(linker: &mut Linker<State>, grants: &Grants, component: &Component) -> wasmtime::Result<()> {
    if grants.has("log") {
        log::link(linker)?;
    }
    if grants.has("random") {
        random::link(linker)?;
    }
    if grants.has("secrets") {
        secrets::link(linker)?;
    }
    if grants.has("clock") {
        clock::link(linker)?;
    }
    if grants.has("pkcs11") {
        pkcs11::link(linker)?;
    }
    if grants.has(wasi::GRANT) {
        wasi::link(linker, component)?;
    }
    Ok(())
}

/// Refuses what `configure` may not call: its outcome is kept for ever after and must come from the settings alone.
fn only_at_work(state: &State, function: &str) -> Result<(), HostCallRefused> {
    match state.phase {
        Phase::Working => Ok(()),
        Phase::Configuring => {
            Err(HostCallRefused(format!("it called `{function}` in `configure`, which may call nothing but `log`")))
        }
    }
}

#[cfg(test)]
#[path = "../../tests/support/log.rs"]
#[allow(unreachable_pub, reason = "the crate's other tests have it in common")]
mod kept_log;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::OnceLock;
    use std::time::Instant;

    use keygate_core::clock::Timestamp;
    use keygate_core::ports::EntropyError;
    use keygate_core::secret::SecretBytes;
    use wasmtime::Store;

    use super::secrets::{Secret, SecretError};
    use super::*;
    use crate::bindings::open::keygate::host::clock::Host as _;
    use crate::bindings::secrets::keygate::host::secrets::Host as _;
    use crate::engine::{EngineRoom, RuntimeConfig};
    use crate::manifest::{PluginLimits, World};
    use crate::sandbox::{Facts, store};

    struct Same;

    impl SecretSource for Same {
        fn current(&self, _: &str) -> Result<Secret, SecretError> {
            Ok(Secret { version: 1, value: SecretBytes::new(vec![1; 32]) })
        }

        fn version(&self, name: &str, _: u32) -> Result<Secret, SecretError> {
            self.current(name)
        }

        fn exists(&self, _: &str) -> bool {
            true
        }
    }

    impl Entropy for Same {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(7);
            Ok(())
        }
    }

    impl Clock for Same {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(5)
        }
    }

    /// A backend's store with every grant in which nothing has run.
    pub(crate) fn idle() -> Store<State> {
        idle_in(World::SoftwareBackend)
    }

    /// A rule's.
    pub(crate) fn idle_rule() -> Store<State> {
        idle_in(World::PolicyRule)
    }

    fn idle_in(world: World) -> Store<State> {
        let room = EngineRoom::new(&RuntimeConfig { max_sandboxes: 1, ..RuntimeConfig::default() }).unwrap();
        let facts = Arc::new(Facts {
            name: "x".to_owned(),
            digest: String::new(),
            world,
            grants: Grants {
                log: true,
                random: true,
                clock: true,
                wasi_minimal: true,
                secrets: vec!["kek".to_owned()],
                pkcs11: vec!["hsm".to_owned()],
                pkcs11_transport: true,
            },
            limits: PluginLimits { memory: 100, ..PluginLimits::default() },
            settings: "{}".to_owned(),
            services: HostServices {
                secrets: Arc::new(Same),
                tokens: Arc::new(pkcs11::NoTokens),
                entropy: Arc::new(Same),
                clock: Arc::new(Same),
            },
            loading: room.share_of_its_own(None),
            live: OnceLock::new(),
        });
        store(&room, &facts, "test", Instant::now())
    }

    #[test]
    fn secrets_and_the_clock_are_there_for_work_and_not_for_settings() {
        let mut store = idle();
        let state = store.data_mut();
        let refused = [
            state.current("kek".to_owned()).err().unwrap(),
            state.version("kek".to_owned(), 1).err().unwrap(),
            state.now_unix_ms().err().unwrap(),
        ];
        for error in refused {
            let refused = error.downcast_ref::<HostCallRefused>().unwrap();
            assert!(refused.0.contains("in `configure`, which may call nothing but `log`"), "{refused}");
        }
        state.begin();
        assert_eq!(state.now_unix_ms().unwrap(), 5);
        assert_eq!(state.current("kek".to_owned()).unwrap().unwrap().value, [1; 32]);
        assert!(state.current("other".to_owned()).unwrap().is_err());
    }
}
