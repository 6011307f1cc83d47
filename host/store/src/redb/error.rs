//! What goes wrong, when a store is opened and later.

use std::io;
use std::path::PathBuf;

use keygate_core::store::StoreError;

use super::owner::Holder;

/// Why a store could not be opened. Says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the file is not there and could not be made.
    #[error("cannot make the directory {path} for the store: {source}; make it, owned by the user Keygate runs as")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file could not be made, read or written.
    #[error("cannot open the store {path}: {source}; check that it is a file that the user Keygate runs as may write")]
    Io {
        /// The store's file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody has it open. A store of this kind has one user at a time.
    #[error("the store {path} is in use by {holder}")]
    InUse {
        /// The store's file.
        path: PathBuf,
        /// Who, as far as can be told.
        holder: Holder,
    },
    /// The file is something else.
    #[error("{path} is not a store: it does not begin as one; name another file as the store, or move this one away")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is a redb database, but of another program.
    #[error("{path} is a database of another program; name another file as the store, or move this one away")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer Keygate has written to it.
    #[error(
        "the store {path} has format {found}, and this Keygate knows formats up to {known}: a newer Keygate wrote it; \
         run that version or a later one, or restore the backup from before the upgrade"
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file is damaged.
    #[error("the store {path} is damaged: {detail}; keep the file as it is and restore the store from a backup")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// How, as far as can be told.
        detail: String,
    },
    /// The file is not the one that was opened at first: while the store was open it was moved, replaced or emptied.
    #[error("the store {path} is not the file that was opened at first; put that one back, and start Keygate again")]
    Replaced {
        /// The store's file.
        path: PathBuf,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the store's writer: {0}; raise the limit on threads")]
    Thread(io::Error),
}

/// Why a call did not work: because of what the store holds, or because the engine failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The answer to the call.
    Refused(StoreError),
    /// The engine's failure; boxed, because it is large and rare.
    Engine(Box<::redb::Error>),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

macro_rules! engine {
    ($($error:ident),*) => {
        $(impl From<::redb::$error> for Trouble {
            fn from(error: ::redb::$error) -> Self {
                Self::Engine(Box::new(error.into()))
            }
        })*
    };
}

engine!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) => error,
            Trouble::Engine(error) => match *error {
                ::redb::Error::Corrupted(detail) => Self::Corrupt(detail),
                other => Self::Unavailable(other.to_string()),
            },
        }
    }
}
