//! Provisioned instances: nothing comes into one that is deleted meanwhile, and who may use a crypto instance is asked where
//! the keys are.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::entropy::{Entropy, EntropyError};
use crate::instance::{Binding, CryptoInstance};
use crate::key::KeyState;
use crate::ops::instances::{self, NewInstance};
use crate::store::{KeyFilter, PageRequest, Sort};

/// Entropy that lets something happen the first time that it is asked, which is in the middle of the work.
struct Interrupted<F> {
    gateway: Gateway,
    what: F,
    done: AtomicBool,
}

impl<F: Fn(&Gateway) + Send + Sync> Entropy for Interrupted<F> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if !self.done.swap(true, Ordering::SeqCst) {
            (self.what)(&self.gateway);
        }
        self.gateway.entropy.fill(bytes)
    }
}

impl World {
    fn interrupted(&self, what: impl Fn(&Gateway) + Send + Sync + 'static) -> Gateway {
        let done = AtomicBool::new(false);
        Gateway { entropy: Arc::new(Interrupted { gateway: self.twin(), what, done }), ..self.twin() }
    }

    fn provisioned(&self, binding: Binding) -> InstanceId {
        let text = |text: &str| text.to_owned();
        let new = NewInstance { name: text("n"), region: text("r"), account: text("a"), binding };
        block_on(instances::create(&self.gateway, &cx(FIRST), Ok(new))).unwrap().instance.id
    }

    /// The configuration with a crypto instance, which the backend stands for.
    fn crypto(&self, number: u8) -> InstanceId {
        let id = InstanceId::from_bytes([number; 16]);
        let [name, region, account, backend] = ["c", "r", "a", "fake"].map(str::to_owned);
        let crypto =
            CryptoInstance { id, name, region, account, backend, plugin: String::new(), token_labels: Vec::new() };
        let configured = [FIRST, SECOND].map(|id| (*self.gateway.instances.get(id).unwrap()).clone());
        self.gateway.instances.configure(configured, vec![crypto]);
        id
    }
}

#[test]
fn no_key_is_made_in_an_instance_that_is_deleted_meanwhile() {
    let world = World::new();
    let id = world.provisioned(Binding::Backend("fake".to_owned()));
    let gone = id.to_string();
    let gateway = world.interrupted(move |gateway| {
        block_on(instances::delete(gateway, &cx(FIRST), &gone)).unwrap();
    });
    let destroyed = world.backend.destroyed();
    let error = block_on(create::create(&gateway, &cx(id), false, Ok(root("late")))).unwrap_err();
    assert_eq!(error.reason_code(), Some(ReasonCode::Conflict), "{error:?}");
    assert_eq!(world.backend.destroyed(), destroyed + 1, "what was made for it is taken back");
    let all = PageRequest { offset: 0, limit: 10 };
    let (filter, sort) = (KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() }, Sort::default());
    assert!(block_on(world.gateway.store.keys(id, &filter, &sort, all)).unwrap().is_empty());
}

#[test]
fn a_crypto_instance_is_not_to_be_had_by_the_name_of_its_backend() {
    let world = World::new();
    world.crypto(9);
    let [name, region, account] = ["n", "r", "a"].map(str::to_owned);
    let new = NewInstance { name, region, account, binding: Binding::Backend("fake".to_owned()) };
    let error = block_on(instances::create(&world.gateway, &cx(FIRST), Ok(new))).unwrap_err();
    assert_eq!(error.reason_code(), Some(ReasonCode::InvalidField));
    assert!(format!("{error:?}").contains("crypto_instance"), "{error:?}");
}

#[test]
fn who_may_use_a_key_is_asked_where_the_key_is() {
    let world = World::new();
    let crypto = world.crypto(9);
    let id = world.provisioned(Binding::Crypto(crypto));
    let create = || block_on(create::create(&world.gateway, &cx(id), false, Ok(root("k"))));
    let refused = Some(ReasonCode::CryptoInstanceNotAuthorized);
    assert_eq!(create().unwrap_err().reason_code(), refused);
    let (source, target) = (id.to_string(), crypto.to_string());
    block_on(instances::authorize(&world.gateway, &cx(FIRST), &source, &target)).unwrap();
    let key = create().unwrap().key;
    let wrap = || block_on(wrap::wrap(&world.gateway, &cx(id), &by_id(&key), Ok(wrap::Wrap::default())));
    assert!(wrap().is_ok());
    block_on(instances::revoke(&world.gateway, &cx(FIRST), &source, &target)).unwrap();
    assert_eq!(wrap().map(drop).unwrap_err().reason_code(), refused);
    // What the configuration itself binds to the backend was given leave by that.
    assert!(world.create(root("first")).is_ok());
}
