//! Whether an instance may use its backend.

use crate::access::Action;
use crate::error::{Error, ReasonCode};
use crate::instance::Instance;
use crate::pipeline::Gateway;

/// Whether an action has the backend do something with keys. What only looks at metadata, and what takes keys away, is
/// done without an authorization too.
pub const fn uses_backend(action: Action) -> bool {
    matches!(
        action,
        Action::Create
            | Action::CreateWithOverrides
            | Action::Read
            | Action::Wrap
            | Action::Unwrap
            | Action::Rewrap
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
            let source = instance.id;
            return Err(Error::refused(
                ReasonCode::CryptoInstanceNotAuthorized,
                format!(
                    "The instance {source} may not use the crypto instance {target}, which it is bound to; have an \
                     Administrator of the gateway authorize it (keygate instance authorize {source} {target})"
                ),
            ));
        }
        match self.instances.crypto_instance(target) {
            Some(_) => Ok(()),
            None => Err(Error::Unavailable {
                what: format!("crypto instance {target}"),
                detail: "it is not configured any more; bring its [[crypto_instances]] entry back".to_owned(),
            }),
        }
    }
}
