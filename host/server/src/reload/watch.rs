//! Looks at the files that a generation is made from, again and again, and tells when they are others and nobody is writing
//! them any more.
//!
//! By looking, and not by the kernel's notices: those differ between file systems, do not come over a network, and miss what
//! is put in place by renaming a directory. A look costs a `stat` a file; what is read is read when that shows a change.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use keygate_runtime::manifest::SettingsFiles;
use serde_json::Value;

use super::Origin;
use crate::config::Source;
use crate::files::open_regular;

/// The lists of the configuration whose entries name files.
const LISTS: [&str; 2] = ["plugins", "trusted_keys"];

/// A file's times are good to this, in nanoseconds: what was written so shortly before a look may be written again without
/// them showing it.
const COARSE: i128 = 2_000_000_000;

/// Watches the files of a configuration.
pub struct Watch {
    origin: Arc<Origin>,
    every: Duration,
    files: BTreeSet<PathBuf>,
    debounce: Debounce,
}

impl Watch {
    /// Takes the first look: what is there now is what is, or is about to be, loaded. Waits for the disk.
    pub fn new(origin: Arc<Origin>, every: Duration) -> Self {
        let mut watch = Self { origin, every, files: BTreeSet::new(), debounce: Debounce::default() };
        let look = watch.look();
        watch.debounce = Debounce { taken: Some(look.contents()), before: look };
        watch
    }

    /// How long from look to look.
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Whether the files are others than those that were taken last, and the same as at the last look. They are then taken.
    /// Waits for the disk.
    pub fn has_changed(&mut self) -> bool {
        let look = self.look();
        self.debounce.saw(look)
    }

    /// What was taken last was not made use of: it is another again.
    pub fn put_back(&mut self) {
        self.debounce.taken = None;
    }

    fn look(&mut self) -> Look {
        // Where the configuration cannot be read, the files that it named before are looked at.
        if let Some(files) = files(&self.origin.source) {
            self.files = files;
        }
        Look(self.files.iter().map(|file| (file.clone(), see(file, self.debounce.before.0.get(file)))).collect())
    }
}

/// The files that a configuration is made from: itself, and every `file`, `..._file` and `..._files` in the entries of the
/// lists, settings and all; the signature that may be beside each component; and what `settings_files` means now, so that a
/// file that a pattern begins to fit, or that goes, is a change as well.
fn files(source: &Source) -> Option<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    match source {
        Source::File(file) => {
            let tree: toml::Table = text(file)?.parse().ok()?;
            let tree = serde_json::to_value(tree).ok()?;
            let base = file.parent().unwrap_or(Path::new(""));
            LISTS.iter().filter_map(|list| tree.get(list)).for_each(|entries| gather(entries, base, &mut files));
            files.insert(file.clone());
        }
        Source::Made { tree, base } => {
            LISTS.iter().filter_map(|list| tree.get(list)).for_each(|entries| gather(entries, base, &mut files));
        }
    }
    Some(files)
}

fn gather(value: &Value, base: &Path, files: &mut BTreeSet<PathBuf>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                if key == SETTINGS_FILES {
                    files.extend(settings_files(value, base).paths());
                    continue;
                }
                if key == "file" || key.ends_with("_file") || key.ends_with("_files") {
                    let one = value.as_str().into_iter();
                    let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                    files.extend(one.chain(many).map(|name| base.join(name)));
                }
                gather(value, base, files);
            }
            if let Some(component) = table.get("file").and_then(Value::as_str) {
                files.insert(base.join(format!("{component}.sig")));
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, base, files)),
        _ => {}
    }
}

/// The key whose value names files by patterns, as the loader follows them.
const SETTINGS_FILES: &str = "settings_files";

/// As much of it as makes sense; what does not is for the loader to refuse.
fn settings_files(value: &Value, base: &Path) -> SettingsFiles {
    let names =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let lists = value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), names(value)));
    SettingsFiles { base: base.to_owned(), lists: lists.collect() }
}

fn text(file: &Path) -> Option<String> {
    io::read_to_string(open_regular(file).ok()?).ok()
}

/// What a look at a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    /// In nanoseconds since the epoch: when it was written, and when anything about it changed.
    times: [i128; 2],
    digest: blake3::Hash,
}

/// What a look shows; `None` where there is no file, or none that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look(BTreeMap<PathBuf, Option<Seen>>);

impl Look {
    /// What the files hold, whenever they were written.
    fn contents(&self) -> Contents {
        self.0.iter().map(|(file, seen)| (file.clone(), seen.as_ref().map(|seen| seen.digest))).collect()
    }
}

type Contents = BTreeMap<PathBuf, Option<blake3::Hash>>;

/// Looks at a file. It is read when its size or one of its times is another than before.
fn see(file: &Path, before: Option<&Option<Seen>>) -> Option<Seen> {
    let found = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let times = [nanos(found.mtime(), found.mtime_nsec()), nanos(found.ctime(), found.ctime_nsec())];
    let seen = Seen { device: found.dev(), inode: found.ino(), size: found.size(), times, digest: [0; 32].into() };
    if let Some(Some(before)) = before
        && *before == (Seen { digest: before.digest, ..seen.clone() })
        && !is_fresh(times)
    {
        return Some(before.clone());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open_regular(file).ok()?).ok()?;
    Some(Seen { digest: hasher.finalize(), ..seen })
}

fn is_fresh(times: [i128; 2]) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.ok().and_then(|now| i128::try_from(now.as_nanos()).ok()).unwrap_or_default();
    times.iter().any(|time| now - time < COARSE)
}

/// Tells a change that is done from one that is under way: two looks in a row show the same.
#[derive(Default)]
struct Debounce {
    /// What was taken last.
    taken: Option<Contents>,
    before: Look,
}

impl Debounce {
    fn saw(&mut self, look: Look) -> bool {
        let is_still = look == self.before;
        self.before = look;
        let contents = self.before.contents();
        let is_new = is_still && self.taken.as_ref() != Some(&contents);
        if is_new {
            self.taken = Some(contents);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn watch(source: Source) -> Watch {
        let (environment, flags) = (Environment::new(), Flags::default());
        let origin = Arc::new(Origin { source, environment, flags, require_digest: true });
        Watch::new(origin, Duration::from_secs(1))
    }

    #[test]
    fn every_file_that_is_named_is_watched() {
        let tree = serde_json::json!({
            "store": {"file": "none-of-it"},
            "plugins": [
                {"name": "a", "file": "a.wasm", "sha256_file": "/sums", "settings": {"rules": {"policy_files": ["p", "q"]}}},
                {"name": "b", "file": "b.wasm", "signature_file": "b.sig"},
            ],
            "trusted_keys": [{"name": "k", "public_key_file": "k.pem"}],
        });
        let found = files(&Source::Made { tree, base: PathBuf::from("/base") }).unwrap();
        let found: Vec<_> = found.iter().map(|file| file.to_str().unwrap()).collect();
        let expected = [
            "/base/a.wasm",
            "/base/a.wasm.sig",
            "/base/b.sig",
            "/base/b.wasm",
            "/base/b.wasm.sig",
            "/base/k.pem",
            "/base/p",
            "/base/q",
            "/sums",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_change_is_told_once_and_when_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let (config, component) = (dir.path().join("plugins.toml"), dir.path().join("a.wasm"));
        fs::write(&config, "[[plugins]]\nfile = \"a.wasm\"\n").unwrap();
        fs::write(&component, "one").unwrap();
        let mut watch = watch(Source::File(config.clone()));
        assert!(!watch.has_changed() && !watch.has_changed());
        // While it is written, every look shows something else.
        for text in ["t", "tw", "two"] {
            fs::write(&component, text).unwrap();
            assert!(!watch.has_changed(), "{text}");
        }
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "twice");
        // Written anew with the same in it is no change; nor is one that was taken back in between.
        fs::write(&component, "two").unwrap();
        assert!(!watch.has_changed() && !watch.has_changed());
        fs::write(&component, "three").unwrap();
        assert!(!watch.has_changed());
        fs::write(&component, "two").unwrap();
        assert!(!watch.has_changed() && !watch.has_changed());
        // Gone, and there again.
        fs::remove_file(&component).unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        fs::write(&component, "two").unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        watch.put_back();
        assert!(watch.has_changed() && !watch.has_changed());
    }

    #[test]
    fn rule_files_are_watched_as_they_are_written_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let rules = dir.path().join("rules");
        fs::create_dir(&rules).unwrap();
        fs::write(rules.join("a.cedar"), "permit").unwrap();
        fs::write(dir.path().join("one.txt"), "1").unwrap();
        let entry = "[[plugins]]\nname = \"rules\"\nfile = \"rules.wasm\"\nworld = \"policy-rule\"\n\
                     settings_files = { policies = [\"rules/*.cedar\"], lists = [\"one.txt\", \"none/*\"] }\n";
        let config = dir.path().join("plugins.toml");
        fs::write(&config, entry).unwrap();
        let mut watch = watch(Source::File(config));
        let mut told = || !watch.has_changed() && watch.has_changed();
        assert!(!told(), "nothing happened");
        fs::write(rules.join("a.cedar"), "forbid").unwrap();
        assert!(told(), "one was edited");
        fs::write(rules.join("b.cedar"), "forbid").unwrap();
        assert!(told(), "a new one fits the pattern");
        fs::write(rules.join("notes.md"), "about them").unwrap();
        assert!(!told(), "no pattern fits that");
        fs::write(dir.path().join("one.txt"), "2").unwrap();
        assert!(told(), "one that is named without a pattern was edited");
        fs::remove_file(rules.join("a.cedar")).unwrap();
        assert!(told(), "one is gone");
        fs::remove_dir_all(&rules).unwrap();
        assert!(told(), "all are gone");
        assert!(!told(), "nothing happened");
    }

    #[test]
    fn a_configuration_that_names_other_files_is_followed_and_one_that_is_broken_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("plugins.toml");
        fs::write(&config, "[[plugins]]\nfile = \"a.wasm\"\n").unwrap();
        let mut watch = watch(Source::File(config.clone()));
        fs::write(dir.path().join("b.wasm"), "b").unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "nobody names it");
        fs::write(&config, "[[plugins]]\nfile = \"b.wasm\"\n").unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        fs::write(dir.path().join("b.wasm"), "B").unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        fs::write(&config, "[[plugins\n").unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        fs::write(dir.path().join("b.wasm"), "b").unwrap();
        assert!(!watch.has_changed() && watch.has_changed(), "it is still looked at");
    }
}
