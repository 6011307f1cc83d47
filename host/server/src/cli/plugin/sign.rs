//! `keygate plugin keygen`, `sign` and `verify`: signatures that the gateway checks, and OpenSSL too.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use keygate_runtime::signature::{self, PublicKey};
use zeroize::Zeroizing;

use super::{KeygenArgs, SignArgs, VerifyArgs};
use crate::system::OsEntropy;

/// Makes a pair of keys. Overwrites nothing.
pub(super) fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let public = public_path(&args.private);
    anyhow::ensure!(!public.exists(), "{} is there already; name another file", public.display());
    let key = signature::generate(&OsEntropy)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.private)
        .with_context(|| format!("{} cannot be made; an old key is never overwritten", args.private.display()))?;
    file.write_all(key.private.as_bytes()).with_context(|| args.private.display().to_string())?;
    fs::write(&public, &key.public).with_context(|| public.display().to_string())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}  the private key: keep it from everybody", args.private.display())?;
    writeln!(out, "{}  the public key: for the gateway's plugins.toml, as", public.display())?;
    let name = base_name(&args.private);
    writeln!(out, "\n    [[trusted_keys]]\n    name = \"{name}\"\n    public_key_file = \"{}\"", public.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Where the public key of a private one goes: `release-1.2.pub.pem` for `release-1.2.pem`, `release-1.2.pub.pem` for
/// `release-1.2` as well.
fn public_path(private: &Path) -> PathBuf {
    private.with_file_name(format!("{}.pub.pem", base_name(private)))
}

/// A file's name without `.pem`, and with any other dots in it.
fn base_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".pem").unwrap_or(&name).to_owned()
}

/// Signs a component.
pub(super) fn sign(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let key = Zeroizing::new(read_text(&args.key)?);
    let signature = signature::sign(&read(&args.file)?, &key).with_context(|| args.key.display().to_string())?;
    let path = args.out.clone().unwrap_or_else(|| signature::default_path(&args.file));
    fs::write(&path, signature).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Checks a signature, as the gateway does.
pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let key = PublicKey::from_pem(&read_text(&args.key)?).with_context(|| args.key.display().to_string())?;
    let path = args.signature.clone().unwrap_or_else(|| signature::default_path(&args.file));
    signature::verify(&read(&args.file)?, &read(&path)?, &key).with_context(|| path.display().to_string())?;
    writeln!(io::stdout().lock(), "{}: signed with the key of {}", args.file.display(), args.key.display())?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_public_key_is_beside_the_private_one_under_its_whole_name() {
        for (private, public) in [
            ("keys/me.pem", "keys/me.pub.pem"),
            ("release-1.2", "release-1.2.pub.pem"),
            ("release-1.2.pem", "release-1.2.pub.pem"),
            ("me.key", "me.key.pub.pem"),
        ] {
            assert_eq!(public_path(Path::new(private)), Path::new(public));
        }
    }

    #[test]
    fn what_is_signed_with_a_new_key_is_verified_until_it_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (private, file) = (dir.path().join("me.pem"), dir.path().join("x.wasm"));
        fs::write(&file, "component").unwrap();
        keygen(&KeygenArgs { private: private.clone() }).unwrap();
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(keygen(&KeygenArgs { private: private.clone() }).is_err(), "a key was overwritten");
        sign(&SignArgs { file: file.clone(), key: private.clone(), out: None }).unwrap();
        let verify =
            || verify(&VerifyArgs { file: file.clone(), key: private.with_extension("pub.pem"), signature: None });
        verify().unwrap();
        fs::write(&file, "componens").unwrap();
        let refused = format!("{:#}", verify().unwrap_err());
        assert!(refused.contains("another key's, or the file was changed"), "{refused}");
    }
}
