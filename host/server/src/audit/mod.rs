//! Audit events on their way out: one line of JSON each, in the words of the CADF (`api-contract`, a).

mod bounds;
mod event;
mod file;

pub use self::event::{EventLine, StatusOf};
pub use self::file::{AuditFileError, FileAudit};
