//! Reads the files that a configuration names, whatever they are: what is read must have an end, and soon.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// Beside those of reading: when it is longer, and when it is no regular file. A pipe would be waited for until somebody
/// writes into it, and some devices never end.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    // What its size is said to be is not believed: it may be written to meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// The same, of a text in UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|e| io::Error::other(format!("it is not UTF-8 from byte {} on", e.utf8_error().valid_up_to())))
}

/// Opens a regular file. What was opened is looked at, not what the name means: that can change in between.
fn open(path: &Path) -> io::Result<File> {
    // Or opening a pipe would wait for who writes into it. For regular files it means nothing.
    let patience = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(patience.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(io::Error::other("it is a directory, and a file is needed"))
    } else {
        Err(io::Error::other("it is a pipe or a device, and a regular file is needed"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, Mode};

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().to_string(), "it has more than 4 bytes");
        assert_eq!(read_text(&path, u64::MAX).unwrap(), "12345");
        fs::write(&path, b"caf\xe9").unwrap();
        assert_eq!(read_text(&path, 5).unwrap_err().to_string(), "it is not UTF-8 from byte 3 on");
        assert_eq!(read(&dir.path().join("absent"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_has_no_end_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for endless in [pipe.as_path(), Path::new("/dev/zero")] {
            let told = read(endless, 5).unwrap_err().to_string();
            assert_eq!(told, "it is a pipe or a device, and a regular file is needed", "{}", endless.display());
        }
        assert!(read(dir.path(), 5).unwrap_err().to_string().starts_with("it is a directory"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert!(read(&link, 5).is_err(), "by another name");
    }
}
