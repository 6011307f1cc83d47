//! Compiled code, kept from one start to the next.
//!
//! Compiled code is machine code: whoever can put a file here could run anything. So a file carries a MAC under a key that
//! lies beside it and that only the gateway's user can read; the directory must be that user's own; and the MAC is checked
//! over the very bytes that are then used. Nothing in here can make a start fail: what does not fit is compiled anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keygate_core::ports::Entropy;
use rustix::fs::OFlags;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

const MAGIC: &[u8; 16] = b"keygate-code-1\n\0";
const MAC: usize = 32;
const KEY_FILE: &str = "key";

/// To be raised whenever a snapshot of the same component and settings would come out otherwise than before: how it is
/// taken, or what `configure` is given.
const SNAPSHOT_FORMAT: u32 = 1;

/// What compiled code was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeId([u8; 32]);

impl CodeId {
    /// The code of a component as it is.
    pub(crate) fn plain(component: &[u8; 32]) -> Self {
        Self(Self::hash(&[b"plain", component]))
    }

    /// The code of a snapshot that was taken after a component was given these settings through this interface: a
    /// component can export more than one that has a `configure`.
    pub(crate) fn snapshot(component: &[u8; 32], interface: &str, settings: &str) -> Self {
        let format = SNAPSHOT_FORMAT.to_le_bytes();
        Self(Self::hash(&[b"snapshot", &format, component, interface.as_bytes(), settings.as_bytes()]))
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        // The host's version is part of it, because the host drives `configure` and takes the snapshot.
        let mut hasher = blake3::Hasher::new_derive_key("keygate 2026-11 compiled code identity");
        for part in [env!("CARGO_PKG_VERSION").as_bytes()].iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// A directory of compiled code.
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: Zeroizing<[u8; 32]>,
    /// What makes an engine's code another engine's code too.
    compatibility: [u8; 32],
}

impl CodeCache {
    /// Opens the directory, and makes it when it is not there.
    ///
    /// # Errors
    /// Why it is not to be trusted or cannot be used, for the operator. There is then no cache.
    pub(crate) fn open(dir: &Path, engine: &Engine, entropy: &dyn Entropy) -> Result<Self, String> {
        if !dir.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|e| format!("it cannot be made: {e}; make it, or set another one"))?;
        }
        check_dir(dir)?;
        let key = key(&dir.join(KEY_FILE), entropy)?;
        let mut hasher = CompatibilityHasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), key, compatibility: *hasher.0.finalize().as_bytes() })
    }

    /// The code, if it is here and sound.
    pub(crate) fn get(&self, engine: &Engine, id: CodeId) -> Option<Component> {
        check_dir(&self.dir).map_err(|why| tracing::warn!(%why, "the code cache is not used")).ok()?;
        let path = self.path(id);
        let file = match read(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                tracing::warn!(path = %path.display(), error = %e, "compiled code cannot be read; compiling anew");
                return None;
            }
        };
        let component = self.verified(id, &file).and_then(|code| {
            deserialize(engine, code).map_err(|e| tracing::debug!(error = %format!("{e:#}"), "not deserialized")).ok()
        });
        if component.is_none() {
            tracing::warn!(path = %path.display(), "compiled code was damaged or is another's; compiling anew");
            let _ = fs::remove_file(&path);
        }
        component
    }

    /// Keeps code. Failing to is worth a warning and no more.
    pub(crate) fn put(&self, id: CodeId, component: &Component) {
        let stored = component.serialize().map_err(|e| format!("{e:#}")).and_then(|code| {
            check_dir(&self.dir)?;
            let mac = self.mac(id, &code);
            write(&self.path(id), &[MAGIC, mac.as_bytes(), &code]).map_err(|e| e.to_string())
        });
        if let Err(error) = stored {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code was not kept; the next start compiles again");
        }
    }

    fn verified<'a>(&self, id: CodeId, file: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, code) = file.strip_prefix(MAGIC)?.split_at_checked(MAC)?;
        let mac = blake3::Hash::from_bytes(mac.try_into().ok()?);
        // The comparison of `Hash` takes the same time wherever the two differ.
        (self.mac(id, code) == mac).then_some(code)
    }

    fn mac(&self, id: CodeId, code: &[u8]) -> blake3::Hash {
        let mut mac = blake3::Hasher::new_keyed(&self.key);
        mac.update(&id.0).update(&self.compatibility).update(code);
        mac.finalize()
    }

    fn path(&self, id: CodeId) -> PathBuf {
        let compatibility = blake3::Hash::from_bytes(self.compatibility).to_hex();
        self.dir.join(format!("{}-{}.code", blake3::Hash::from_bytes(id.0).to_hex(), &compatibility[..16]))
    }
}

#[allow(unsafe_code, reason = "the one use of unsafe code in this crate: running code that was compiled earlier")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` needs bytes that `Component::serialize` made. These are: the caller has just checked their
    // MAC, in memory, under a key that nobody but this user can read, and only `put` makes such MACs. wasmtime itself
    // refuses code that was made by another version of it or for another machine.
    unsafe { Component::deserialize(engine, code) }
}

fn check_dir(dir: &Path) -> Result<(), String> {
    let found = fs::symlink_metadata(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let dir = dir.display();
    if !found.is_dir() {
        return Err(format!("{dir} is not a directory; symbolic links are not followed here"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("{dir} belongs to another user; change its owner, or set another directory"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("{dir} can be written to by others; `chmod 700 {dir}`"));
    }
    Ok(())
}

/// The key of the MACs; a new one, and with it an empty cache, where there is none that can be trusted.
fn key(path: &Path, entropy: &dyn Entropy) -> Result<Zeroizing<[u8; 32]>, String> {
    match read_key(path) {
        Ok(key) => return Ok(key),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "the code cache's key is replaced; compiling anew")
        }
    }
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(&mut *key).map_err(|e| e.to_string())?;
    write(path, &[&*key]).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(key)
}

fn read_key(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut file = open(path)?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 || found.len() != 32 {
        return Err(io::Error::other("not a file of 32 bytes that only its owner can read"));
    }
    let mut key = Zeroizing::new([0; 32]);
    file.read_exact(&mut *key)?;
    Ok(key)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Takes in what an engine hashes of itself.
struct CompatibilityHasher(blake3::Hasher);

impl Hasher for CompatibilityHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use keygate_core::ports::EntropyError;

    use super::*;
    use crate::engine::{EngineRoom, RuntimeConfig};

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(7);
            Ok(())
        }
    }

    const ID: CodeId = CodeId([1; 32]);

    fn engine() -> Engine {
        EngineRoom::new(&RuntimeConfig { max_sandboxes: 1, ..RuntimeConfig::default() }).unwrap().engine
    }

    /// A cache that keeps the empty component under [`ID`], and the file that it keeps it in.
    fn filled(dir: &Path, engine: &Engine) -> (CodeCache, PathBuf) {
        let cache = CodeCache::open(dir, engine, &Sevens).unwrap();
        let component = Component::new(engine, b"\0asm\x0d\0\x01\0").unwrap();
        cache.put(ID, &component);
        let path = cache.path(ID);
        assert!(path.exists());
        (cache, path)
    }

    #[test]
    fn code_is_told_apart_by_all_that_it_was_made_from() {
        let ids = [
            CodeId::plain(&[1; 32]),
            CodeId::plain(&[2; 32]),
            CodeId::snapshot(&[1; 32], "a:b/c", "{}"),
            CodeId::snapshot(&[2; 32], "a:b/c", "{}"),
            CodeId::snapshot(&[1; 32], "a:b/d", "{}"),
            CodeId::snapshot(&[1; 32], "a:b/c", "{ }"),
            CodeId::snapshot(&[1; 32], "a:b/c{", "}"),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(ids.iter().position(|other| other == id), Some(at));
        }
        assert!(CodeId::plain(&[1; 32]) == ids[0]);
    }

    #[test]
    fn what_is_put_in_comes_out_again_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let engine = engine();
        let (cache, _) = filled(&dir, &engine);
        assert!(cache.get(&engine, ID).is_some());
        assert!(cache.get(&engine, CodeId([2; 32])).is_none());
        let again = CodeCache::open(&dir, &engine, &Sevens).unwrap();
        assert!(again.get(&engine, ID).is_some());
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_that_was_tampered_with_is_deleted_and_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let (cache, path) = filled(dir.path(), &engine);
        let sound = fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            bytes
        };
        let cases = [
            flipped(0),
            flipped(MAGIC.len()),
            flipped(MAGIC.len() + MAC),
            flipped(sound.len() - 1),
            sound[..sound.len() - 1].to_vec(),
            sound[..20].to_vec(),
            Vec::new(),
        ];
        for bytes in cases {
            fs::write(&path, bytes).unwrap();
            assert!(cache.get(&engine, ID).is_none());
            assert!(!path.exists(), "the damaged file is still there");
        }
        fs::write(&path, sound).unwrap();
        assert!(cache.get(&engine, ID).is_some());
    }

    #[test]
    fn a_file_moved_to_another_component_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let (cache, path) = filled(dir.path(), &engine);
        let other = CodeId([2; 32]);
        fs::rename(path, cache.path(other)).unwrap();
        assert!(cache.get(&engine, other).is_none());
    }

    #[test]
    fn a_file_made_under_another_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let (_, path) = filled(dir.path(), &engine);
        fs::write(dir.path().join(KEY_FILE), [8; 32]).unwrap();
        let cache = CodeCache::open(dir.path(), &engine, &Sevens).unwrap();
        assert!(cache.get(&engine, ID).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_others_could_have_read_is_replaced() {
        struct Nines;
        impl Entropy for Nines {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
                bytes.fill(9);
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        filled(dir.path(), &engine);
        let key = dir.path().join(KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let cache = CodeCache::open(dir.path(), &engine, &Nines).unwrap();
        assert_eq!(fs::read(&key).unwrap(), [9; 32]);
        assert!(cache.get(&engine, ID).is_none());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let (cache, path) = filled(dir.path(), &engine);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let refused = CodeCache::open(dir.path(), &engine, &Sevens).err().unwrap();
        assert!(refused.contains("chmod 700"), "{refused}");
        assert!(cache.get(&engine, ID).is_none(), "the directory was looked at once only");
        assert!(path.exists(), "nothing is touched in a directory that is not ours alone");
    }

    #[test]
    fn a_symbolic_link_is_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(CodeCache::open(&link, &engine(), &Sevens).is_err());
    }
}
