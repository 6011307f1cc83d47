//! The file that audit events are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use keygate_core::audit::AuditEvent;
use keygate_core::instance::Instances;
use keygate_core::ports::{AuditError, AuditSink, BoxFuture};

use super::event::{StatusOf, to_json};

/// Audit events as lines of JSON in a file that only grows.
///
/// When `record` returns, the line is with the operating system: it survives the end of the gateway, kill -9 included.
/// Against power loss it is as safe as the file system makes it within its own flush interval.
#[derive(Debug)]
pub struct FileAudit {
    file: Mutex<Line<File>>,
    instances: Instances,
    status_of: StatusOf,
}

impl FileAudit {
    /// Opens the file for appending; makes it, with mode 0600, if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path, instances: Instances, status_of: StatusOf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file: Mutex::new(Line { out: file, torn: false }), instances, status_of })
    }
}

impl AuditSink for FileAudit {
    fn record<'a>(&'a self, event: &'a AuditEvent) -> BoxFuture<'a, Result<(), AuditError>> {
        Box::pin(async move {
            let line = to_json(event, &self.instances, self.status_of).to_string();
            // An append to the page cache takes microseconds: less than handing it to another thread would.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(line.as_bytes()).map_err(|error| AuditError(format!("the audit file: {error}")))
        })
    }
}

/// A writer of whole lines.
#[derive(Debug)]
struct Line<W> {
    out: W,
    /// Whether the last write left half a line behind.
    torn: bool,
}

impl<W: Write> Line<W> {
    /// Writes a line in one write. Half a line that a full disk left is ended first, so that it spoils itself only.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        loop {
            match self.out.write(&bytes) {
                Ok(n) if n == bytes.len() => {
                    self.torn = false;
                    return self.out.flush();
                }
                Ok(n) => {
                    self.torn |= n > 0;
                    return Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of the line was written"));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
