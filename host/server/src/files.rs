//! Files that hold secrets: read only if nobody else can read them, and made so that nobody else can.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// Secret files are short; a longer one is something else. In bytes.
const LONGEST: u64 = 64 * 1024;

/// Why a secret file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// There is none.
    #[error("there is no file {0}")]
    Missing(String),
    /// Others than its owner can open it.
    #[error("{file} can be read or written by others than its owner (mode {mode:04o})")]
    TooOpen {
        /// Which.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a device, or far too long.
    #[error("{0} is not a file of at most 64 KiB")]
    NotAFile(String),
    /// The operating system says no.
    #[error("{file}: {error}")]
    Io {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
}

impl PrivateFileError {
    fn io(path: &Path, error: io::Error) -> Self {
        let file = path.display().to_string();
        if error.kind() == io::ErrorKind::NotFound { Self::Missing(file) } else { Self::Io { file, error } }
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Missing(file) => format!("create {file} with mode 0600, or correct its name in the configuration"),
            Self::TooOpen { file, .. } => format!("chmod 600 {file}"),
            Self::NotAFile(_) => "name a regular file that holds the secret and nothing else".to_owned(),
            Self::Io { file, .. } => format!("let the gateway's user read and write {file}"),
        }
    }
}

/// Opens a file to read it, if it is a regular one. Never waits for anybody: to open a pipe would be to wait for its other
/// end, so it is looked at first, and then what was opened is looked at.
///
/// # Errors
/// When it cannot be opened, or is a directory, a device or a pipe.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let regular = |metadata: fs::Metadata| {
        let other = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        if metadata.is_file() { Ok(()) } else { Err(other()) }
    };
    regular(fs::metadata(path)?)?;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// Reads a secret file. The permissions are those of the file that is read, not of one that had its name before.
///
/// # Errors
/// When it is missing, is no regular file of at most 64 KiB, or gives its group or others any right.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let io = |error| PrivateFileError::io(path, error);
    let name = || path.display().to_string();
    let mut file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(PrivateFileError::NotAFile(name())),
        opened => opened.map_err(io)?,
    };
    let metadata = file.metadata().map_err(io)?;
    if metadata.len() > LONGEST {
        return Err(PrivateFileError::NotAFile(name()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::TooOpen { file: name(), mode });
    }
    // Sized for the longest up front: a vector that grew would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(vec![0_u8; usize::try_from(LONGEST).unwrap_or(0) + 1]);
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(io)? {
            0 => break,
            n => len += n,
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Makes a new secret file with mode 0600. It appears whole or not at all, and is on the disk when this returns.
///
/// # Errors
/// When there is a file of that name already, or the disk says no.
pub fn write_private_new(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let io = |error| PrivateFileError::io(path, error);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = Path::new(&draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link, not a rename: it never replaces a file that somebody else made in the meantime.
        fs::hard_link(draft, path)
    })();
    let removed = fs::remove_file(draft);
    written.and(removed).map_err(io)?;
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|d| d.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_private_is_read_back_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        write_private_new(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret");
        assert!(write_private_new(&path, b"other").is_err());
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        write_private_new(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err();
            assert!(matches!(error, PrivateFileError::TooOpen { .. }), "{mode:o}: {error}");
            assert_eq!(error.mend(), format!("chmod 600 {}", path.display()));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn directories_devices_pipes_and_what_is_too_long_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_private(dir.path()), Err(PrivateFileError::NotAFile(_))));
        assert!(matches!(read_private(Path::new("/dev/zero")), Err(PrivateFileError::NotAFile(_))));
        // A pipe that nobody writes to.
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(matches!(read_private(&pipe), Err(PrivateFileError::NotAFile(_))));
        assert_eq!(open_regular(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let path = dir.path().join("long");
        write_private_new(&path, &vec![0; 64 * 1024 + 1]).unwrap();
        assert!(matches!(read_private(&path), Err(PrivateFileError::NotAFile(_))));
        assert!(matches!(read_private(&dir.path().join("none")), Err(PrivateFileError::Missing(_))));
    }
}
