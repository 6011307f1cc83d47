//! Who has a store open: a note beside the file, for the message that somebody else gets. The lock is what keeps them
//! out; the note only gives the lock a name, so no failure to write or read it matters.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use keygate_core::clock::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Who has a store open, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The lock is held, and no note says by whom.
    Unknown,
    /// This very process.
    ThisProcess,
    /// A process on this machine.
    Running {
        /// Its id.
        pid: i32,
        /// What it called itself.
        program: String,
        /// Since when it has the store open.
        since: Option<Timestamp>,
    },
    /// The note's process is not to be seen here, and yet the lock is held.
    NotSeen {
        /// Its id, where it runs.
        pid: i32,
        /// What it called itself.
        program: String,
        /// Since when it has, or had, the store open.
        since: Option<Timestamp>,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since =
            |since: &Option<Timestamp>| since.map_or_else(String::new, |at| format!(" since {}", at.to_rfc3339()));
        match self {
            Self::Unknown => f.write_str("a process that left no note; find it with `fuser` or `lsof`, and stop it"),
            Self::ThisProcess => f.write_str("this process itself; open a store once and share it"),
            Self::Running { pid, program, since: at } => write!(
                f,
                "process {pid} ({program}{}), which is running; stop it, or give this Keygate a store of its own",
                since(at)
            ),
            Self::NotSeen { pid, program, since: at } => write!(
                f,
                "somebody: the last note is from process {pid} ({program}{}), which cannot be seen from here and may \
                 run in another container or on another host; find it there and stop it, or give this Keygate a store \
                 of its own",
                since(at)
            ),
        }
    }
}

/// Where the note of a store lies.
fn note_of(store: &Path) -> PathBuf {
    let mut name: OsString = store.as_os_str().to_owned();
    name.push(".owner");
    PathBuf::from(name)
}

/// Writes the note, whole or not at all. Only whoever has the lock may.
pub(super) fn write_note(store: &Path, program: &str) -> io::Result<()> {
    let pid = std::process::id();
    let started = i32::try_from(pid).ok().and_then(ticks_at_start).unwrap_or(0);
    let program: String = program.chars().filter(|c| !c.is_control()).collect();
    let path = note_of(store);
    let draft = path.with_extension("owner-draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(format!("pid={pid}\nstarted={started}\nprogram={program}\n").as_bytes())?;
    fs::rename(&draft, &path)
}

/// Takes the note away. Only whoever has the lock may.
pub(super) fn remove_note(store: &Path) -> io::Result<()> {
    fs::remove_file(note_of(store))
}

/// Reads who holds a store whose lock could not be got.
pub(super) fn holder(store: &Path) -> Holder {
    let path = note_of(store);
    let Ok(text) = fs::read_to_string(&path) else { return Holder::Unknown };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let Some(pid) = field("pid").and_then(|pid| pid.parse().ok()) else { return Holder::Unknown };
    let started = field("started").and_then(|ticks| ticks.parse().ok()).filter(|ticks| *ticks != 0);
    let program = field("program").unwrap_or("a program without a name").to_owned();
    let since = written_at(&path);
    if !is_running(pid, started) {
        Holder::NotSeen { pid, program, since }
    } else if u32::try_from(pid) == Ok(std::process::id()) {
        Holder::ThisProcess
    } else {
        Holder::Running { pid, program, since }
    }
}

/// The file system's own time of the note: nobody needs a clock for it.
fn written_at(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let since_epoch = modified.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since_epoch.as_millis()).ok().map(Timestamp::from_unix_ms)
}

/// Whether the process that wrote the note is running. A process id is used again some day; the time at which its
/// process started tells the two apart.
fn is_running(pid: i32, started: Option<u64>) -> bool {
    let Some(process) = Pid::from_raw(pid).filter(|_| pid > 0) else { return false };
    match test_kill_process(process) {
        Ok(()) | Err(Errno::PERM) => match (started, ticks_at_start(pid)) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        },
        Err(_) => false,
    }
}

/// When a process started, in clock ticks since the machine did: field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
/// `None` where there is no such file.
fn ticks_at_start(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2 is the program's name in parentheses and may have blanks in it, so count from behind the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(pid: u32, started: u64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("keys.redb");
        fs::write(note_of(&store), format!("pid={pid}\nstarted={started}\nprogram=keygate 9\n")).unwrap();
        (dir, store)
    }

    #[test]
    fn the_note_names_this_process() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("keys.redb");
        assert_eq!(holder(&store), Holder::Unknown);
        write_note(&store, "keygate\n9").unwrap();
        assert_eq!(holder(&store), Holder::ThisProcess);
        remove_note(&store).unwrap();
        assert_eq!(holder(&store), Holder::Unknown);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_process_that_got_the_number_of_another_is_not_that_one() {
        let pid = std::process::id();
        let ticks = ticks_at_start(i32::try_from(pid).unwrap()).unwrap();
        let (_dir, store) = note(pid, ticks);
        assert_eq!(holder(&store), Holder::ThisProcess);
        let (_dir, store) = note(pid, ticks + 1);
        assert!(matches!(holder(&store), Holder::NotSeen { .. }));
    }

    #[test]
    fn another_process_is_named_with_whether_it_runs() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let ticks = ticks_at_start(i32::try_from(child.id()).unwrap()).unwrap();
        let (_dir, store) = note(child.id(), ticks);
        let text = holder(&store).to_string();
        assert!(text.contains(&format!("process {} (keygate 9 since 2", child.id())), "{text}");
        assert!(text.contains("is running"), "{text}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(holder(&store), Holder::NotSeen { .. }));
    }

    #[test]
    fn nonsense_in_the_note_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("keys.redb");
        for text in ["", "pid=", "pid=x\nprogram=y", "\u{0}\u{1}"] {
            fs::write(note_of(&store), text).unwrap();
            assert_eq!(holder(&store), Holder::Unknown, "{text:?}");
        }
    }
}
