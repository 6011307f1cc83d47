//! Whether an instance may use its backend.

use std::sync::Arc;

use crate::access::Action;
use crate::backend::CryptoBackend;
use crate::error::{Error, ReasonCode};
use crate::ids::InstanceId;
use crate::instance::Instance;
use crate::pipeline::Gateway;
use crate::store::{Batch, Change};

/// Whether an action makes keys on the backend that the instance is bound to. Those that use a key ask where the key is
/// ([`Gateway::may_use_place`]). What only looks at metadata, and what takes keys away, is done without an authorization too.
pub const fn makes_keys(action: Action) -> bool {
    matches!(
        action,
        Action::Create
            | Action::CreateWithOverrides
            | Action::Rotate
            | Action::Restore
            | Action::CreateImportToken
            | Action::ReadImportToken
    )
}

impl Gateway {
    /// Reads the instances that the store has, and shows them to everybody: at the start, and after each change.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read_instances(&self) -> Result<(), Error> {
        let ticket = self.instances.ticket();
        self.instances.show(ticket, self.store.instances().await?);
        Ok(())
    }

    /// Checks that an instance may use the crypto instance that it is bound to, where it is bound to one.
    ///
    /// # Errors
    /// `CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR` without an authorization, `Unavailable` where the crypto instance is not
    /// configured.
    pub fn may_use_backend(&self, instance: &Instance) -> Result<(), Error> {
        let Some(target) = instance.crypto_instance else { return Ok(()) };
        if self.instances.authorization(instance.id, target).is_none() {
            return Err(not_authorized(instance.id, target));
        }
        match self.instances.crypto_instance(target) {
            Some(_) => Ok(()),
            None => Err(Error::Unavailable {
                what: format!("crypto instance {target}"),
                detail: "it is not configured any more; bring its [[crypto_instances]] entry back".to_owned(),
                retry_after: None,
            }),
        }
    }

    /// Checks that an instance may use what is kept on a backend, wherever it is bound to by now. An instance that the
    /// configuration binds to a backend by its name was given leave by that.
    ///
    /// # Errors
    /// `CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR` where the backend is a crypto instance and there is no authorization.
    pub fn may_use_place(&self, instance: InstanceId, backend: &str) -> Result<(), Error> {
        let bound_by_name = || {
            self.instances.is_configured(instance)
                && self.instances.get(instance).is_some_and(|instance| instance.crypto_instance.is_none())
        };
        let all = self.instances.crypto_instances();
        let mut standing = all.iter().filter(|crypto| crypto.backend == backend).peekable();
        let Some(first) = standing.peek().map(|crypto| crypto.id) else { return Ok(()) };
        if bound_by_name() || standing.any(|crypto| self.instances.authorization(instance, crypto.id).is_some()) {
            return Ok(());
        }
        Err(not_authorized(instance, first))
    }

    /// A change that brings something into an instance, as a batch. One that was provisioned may be deleted at any moment,
    /// which takes that there is no key in it: then this is a conflict. Nor is it asked first whether there is still a record
    /// of the instance: that it went in between is what this is for.
    pub(crate) fn in_instance(&self, instance: InstanceId, change: Change) -> Batch {
        let provisioned = !self.instances.is_configured(instance);
        [change].into_iter().chain(provisioned.then_some(Change::RequireInstance { instance })).collect()
    }

    /// The backend that keys of an instance are kept on.
    ///
    /// # Errors
    /// As [`Gateway::may_use_place`] and [`Gateway::backend`].
    pub(crate) fn place(&self, instance: InstanceId, backend: &str) -> Result<Arc<dyn CryptoBackend>, Error> {
        self.may_use_place(instance, backend)?;
        self.backend(backend)
    }
}

fn not_authorized(source: InstanceId, target: InstanceId) -> Error {
    Error::refused(
        ReasonCode::CryptoInstanceNotAuthorized,
        format!(
            "The instance {source} may not use the crypto instance {target}, where these keys are or would be; have an \
             Administrator of the gateway authorize it (keygate instance authorize {source} {target})"
        ),
    )
}
