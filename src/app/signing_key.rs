//! The file of the signing key: made at the first start, read ever after.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use crate::{event::SigningKey, random::Random};

/// Reads the key, or makes one where there is no file.
pub(super) fn load_or_generate(path: &Path, random: &Random) -> anyhow::Result<SigningKey> {
    let shown = path.display();
    let key = match read(path) {
        Ok(None) => generate(path, random),
        Ok(Some(key)) => Ok(key),
        Err(error) => Err(error),
    };
    key.with_context(|| format!("the signing key in {shown} cannot be used"))
}

/// The key in the file; `None`: there is no file.
fn read(path: &Path) -> anyhow::Result<Option<SigningKey>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        bail!("anybody on this machine may read it (mode {mode:04o}); run `chmod o-rwx` on it");
    }
    let text = Zeroizing::new(io::read_to_string(file)?);
    Ok(Some(SigningKey::from_key_file(&text)?))
}

/// Makes a key and its file. The file appears whole, or not at all; where another process was
/// faster its key counts.
fn generate(path: &Path, random: &Random) -> anyhow::Result<SigningKey> {
    // The version is the key's name among the server's keys, as Synapse makes it.
    let version = format!("a_{}", random.alphanumeric(4));
    let key = SigningKey::from_seed(&version, Zeroizing::new(random.bytes()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("new-{}", random.alphanumeric(8)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(key.to_key_file().as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => {
            tracing::info!(key = %key.id(), "a signing key was made");
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.context("it went away")
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/signing.key");
        let key = load_or_generate(&path, &Random::from_os()).unwrap();
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let read = load_or_generate(&path, &Random::from_os()).unwrap();
        assert_eq!((key.id(), key.public_key()), (read.id(), read.public_key()));
        assert_eq!(fs::read_dir(folder.path().join("keys")).unwrap().count(), 1);
    }

    #[test]
    fn an_exposed_or_known_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        load_or_generate(&path, &Random::from_os()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_generate(&path, &Random::from_os()).unwrap_err();
        assert!(format!("{error:#}").contains("chmod o-rwx"), "{error:#}");

        // The key of the specification's test vectors.
        let known = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";
        fs::write(&path, known).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = load_or_generate(&path, &Random::from_os()).unwrap_err();
        assert!(format!("{error:#}").contains("known"), "{error:#}");
        assert!(!format!("{error:#}").contains("YJDBA9"), "{error:#}");
    }
}
