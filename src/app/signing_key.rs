//! The signing key: a file that is made at the first start and read ever after, and its public half
//! in the database, so that no process of this server signs with another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use super::{AppOptions, database, settings};
use crate::{
    config::Config,
    event::SigningKey,
    random::Random,
    store::{
        Store, StoreError,
        signing_keys::{self, KEY_ID_UNIQUE, PublicKey},
    },
};

/// Checks that this is the key that signs for the server of this database. The first key that comes
/// is.
pub(super) async fn require_current(
    store: &Store,
    key: &SigningKey,
    path: &Path,
    now_ms: i64,
) -> anyhow::Result<()> {
    let ours = public(key);
    let current = async {
        let mut conn = store.conn().await?;
        signing_keys::find_or_insert(&mut conn, &ours, now_ms).await
    };
    let current: Result<_, StoreError> = current.await;
    let current = current.context("the public signing key cannot be read from the database")?;
    if current != ours {
        bail!(
            "the signing key in {} ({}) is not the one that signs for this server, which is {}: \
             use the file that its other processes have, or, to change the key of the server, stop \
             them all and run `chappe signing-key rotate`",
            path.display(),
            ours.key_id,
            current.key_id,
        );
    }
    Ok(())
}

/// Lets the key in the file sign for the server from now on, in the place of the one that the
/// database knows. Gives the names of both.
pub(super) async fn rotate(
    config: &Config,
    options: &AppOptions,
) -> anyhow::Result<(String, String)> {
    let server = &config.server;
    settings::prepare_data_folder(server)?;
    let path = server.signing_key_file();
    let key = load_or_generate(&path, &options.random)?;
    let opened = database::open(config, options).await?;
    let (store, _journal) = opened
        .database
        .start(options.memory)
        .await
        .context("the database cannot be read")?;
    let replaced = replace(&store, &key, &path, options.clock.now_i64()).await;
    store.close().await;
    if let Some(cluster) = opened.cluster {
        cluster.stop().await;
    }
    replaced
}

async fn replace(
    store: &Store,
    key: &SigningKey,
    path: &Path,
    now_ms: i64,
) -> anyhow::Result<(String, String)> {
    let new = public(key);
    let mut tx = store.begin().await?;
    let old = signing_keys::find_or_insert(&mut tx, &new, now_ms).await?;
    if old == new {
        Store::commit(tx).await?;
        bail!(
            "{} is the key that signs already: move its file {} away, or put the new key there",
            new.key_id,
            path.display(),
        );
    }
    signing_keys::replace(&mut tx, &new, now_ms)
        .await
        .map_err(|error| match error.unique() {
            Some(KEY_ID_UNIQUE) => anyhow::anyhow!(
                "another key of this server was called {} already: give the new one another name",
                new.key_id
            ),
            _ => error.into(),
        })?;
    Store::commit(tx).await?;
    Ok((old.key_id, new.key_id))
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey {
        key_id: key.id().to_string(),
        public_key: key.public_key_base64(),
    }
}

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
