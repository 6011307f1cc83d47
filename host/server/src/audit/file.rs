//! The file that audit events are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keygate_core::audit::AuditEvent;
use keygate_core::instance::Instances;
use keygate_core::ports::{AuditError, AuditSink, BoxFuture};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::bounds::{LONGEST, line};
use super::event::{EventLine, StatusOf};

/// How much space is set aside ahead of what the requests in work need, in bytes: as often as this was written, more is.
const AHEAD: u64 = 4 << 20;

/// Events of what nobody asked for, which is in work beside the requests.
const BY_ITSELF: usize = 16;

/// How many requests are in work at once, if nothing else is said.
const REQUESTS: usize = 256;

/// The space that so many requests in work need for their events, in bytes. One that takes too long has two: that it took too
/// long, and, when it is done, that it is.
const fn margin(requests: usize) -> u64 {
    (requests.saturating_mul(2).saturating_add(BY_ITSELF) as u64).saturating_mul(LONGEST as u64)
}

/// The most that is kept to be written later, in bytes. What is beyond was not done, or its answer said so.
const MOST_OWED: usize = 1 << 20;

/// Audit events as lines of JSON in a file that only grows.
///
/// When `record` returns, the line is with the operating system: it survives the end of the gateway, kill -9 included.
/// Against power loss it is as safe as the file system makes it within its own flush interval. Space for what is to come
/// is set aside beforehand, where the file system can, so that a full disk shows before anything is done.
#[derive(Debug)]
pub struct FileAudit {
    file: Mutex<Lines<File>>,
    instances: Instances,
    status_of: StatusOf,
    record_input: bool,
}

/// Why the audit file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditFileError {
    /// A directory, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// The operating system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileAudit {
    /// Opens the file for appending; makes it, with mode 0600, if it is not there. Events hold what the rules were asked:
    /// see [`FileAudit::recording_input`].
    ///
    /// # Errors
    /// When it is no regular file, or cannot be opened for writing.
    pub fn open(path: &Path, instances: Instances, status_of: StatusOf) -> Result<Self, AuditFileError> {
        let file = open(path, true)?;
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        Ok(Self { file: Mutex::new(Lines::new(file, last != [b'\n'])), instances, status_of, record_input: true })
    }

    /// Says whether events hold what the rules were asked. Without it a decision cannot be made again.
    #[must_use]
    pub fn recording_input(self, record_input: bool) -> Self {
        Self { record_input, ..self }
    }

    /// Whether a file that is there can be used. Changes nothing.
    ///
    /// # Errors
    /// As for [`FileAudit::open`], and when it is not there.
    pub fn check(path: &Path) -> Result<(), AuditFileError> {
        open(path, false).map(drop)
    }

    /// Says how many requests are in work at once: there is always space for the events of as many.
    #[must_use]
    pub fn with_requests(self, requests: usize) -> Self {
        let mut lines = self.file.into_inner().unwrap_or_else(PoisonError::into_inner);
        lines.margin = margin(requests);
        Self { file: Mutex::new(lines), ..self }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path, create: bool) -> Result<File, AuditFileError> {
    // Looked at before it is opened: to open a pipe is to wait for its other end.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(AuditFileError::NotAFile);
    }
    let file = OpenOptions::new().read(true).append(true).create(create).mode(0o600).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(AuditFileError::NotAFile) }
}

impl AuditSink for FileAudit {
    fn reserve(&self) -> Result<(), AuditError> {
        self.lines().reserve().map_err(|error| audit_error(&error))
    }

    fn record<'a>(&'a self, event: &'a AuditEvent) -> BoxFuture<'a, Result<(), AuditError>> {
        Box::pin(async move {
            let event = EventLine::new(event, &self.instances, self.status_of, self.record_input);
            let line = line(&event).map_err(|error| AuditError(error.to_string()))?;
            // An append to the page cache takes microseconds: less than handing it to another thread would.
            self.lines().append(line.as_bytes()).map_err(|error| audit_error(&error))
        })
    }
}

fn audit_error(error: &io::Error) -> AuditError {
    AuditError(format!("the audit file: {error}"))
}

/// Where lines go.
trait Sink: Write {
    /// Makes sure that this many bytes more can be written.
    fn set_aside(&self, bytes: u64) -> io::Result<()>;
}

impl Sink for File {
    fn set_aside(&self, bytes: u64) -> io::Result<()> {
        // From where it ends now: somebody may have cut it.
        let end = self.metadata()?.len();
        loop {
            match fallocate(self, FallocateFlags::KEEP_SIZE, end, bytes) {
                Err(Errno::INTR) => {}
                // A file system that cannot: a full disk shows when a line is written.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                done => return done.map_err(io::Error::from),
            }
        }
    }
}

/// A writer of whole lines.
#[derive(Debug)]
struct Lines<W> {
    out: W,
    /// What a full disk did not take, to be written first. It may begin in the middle of a line.
    owed: Vec<u8>,
    /// How much of what was set aside is left, in bytes.
    left: u64,
    /// When less is left than this, in bytes, more is set aside: it is for the events of all requests in work.
    margin: u64,
}

impl<W: Sink> Lines<W> {
    /// On a file that ends in the middle of a line, or not. Such a line is ended first, so that it spoils itself only.
    fn new(out: W, torn: bool) -> Self {
        Self { out, owed: if torn { vec![b'\n'] } else { Vec::new() }, left: 0, margin: margin(REQUESTS) }
    }

    /// Makes sure that lines can be written: pays what is owed, and sets space aside.
    fn reserve(&mut self) -> io::Result<()> {
        self.pay()?;
        if self.left < self.margin {
            let space = self.margin.saturating_add(AHEAD);
            self.out.set_aside(space)?;
            self.left = space;
        }
        Ok(())
    }

    /// Writes a line. One that the disk does not take is an error, and is written later all the same, before any other.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.owed.len() + line.len() >= MOST_OWED {
            self.pay()?;
        }
        self.owed.reserve(line.len() + 1);
        self.owed.extend_from_slice(line);
        self.owed.push(b'\n');
        self.pay()
    }

    fn pay(&mut self) -> io::Result<()> {
        while !self.owed.is_empty() {
            match self.out.write(&self.owed) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.owed.drain(..n);
                    self.left = self.left.saturating_sub(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
