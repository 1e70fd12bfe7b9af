//! Where the cluster is: its folders, their permissions, its lock and its address.
//!
//! The home folder belongs to whoever runs us. Inside it `data` and `socket` belong to the user
//! that runs PostgreSQL, and are closed to all others.

use std::{
    env,
    ffi::OsStr,
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use url::Url;

use super::{ClusterError, NAME, SOON, account::Account, failed};

/// The port, which is only a part of the socket's name.
pub(super) const PORT: u16 = 5432;

/// The longest name of a socket, in bytes, on all systems.
const LONGEST_SOCKET: usize = 103;

/// How long a process that just ended may still hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The link that leads from the folder that was asked for to the one in the shelter.
const LINK: &str = "elsewhere";

/// The folders of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Place {
    home: PathBuf,
    socket: PathBuf,
    account: Option<Account>,
}

impl Place {
    /// Settles where the cluster of `folder` is and who runs it, and makes its folders.
    ///
    /// When the user that runs PostgreSQL cannot get to `folder`, a new cluster goes to `shelter`,
    /// and a link in `folder` leads there: later starts follow it, even after `folder` was moved.
    pub(super) fn settle(
        folder: &Path,
        shelter: &Path,
        progress: &(impl Fn(&str) + Sync),
    ) -> Result<Self, ClusterError> {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let folder = fs::canonicalize(folder).map_err(failed("find", folder))?;
        let link = folder.join(LINK);
        let mut home = fs::read_link(&link).unwrap_or_else(|_| folder.clone());
        let account = Account::choose(&home.join("data"))?;
        let mode = if account.is_some() { 0o711 } else { 0o700 };
        set_mode(&home, mode)?;
        if let Some(account) = &account
            && let Some(closed) = account.closed(&home)
        {
            let new_home = shelter.join(format!("postgres-{}", short_hash(&folder)));
            let error = |closed| ClusterError::Closed {
                closed,
                folder: home.clone(),
                account: account.name.clone(),
            };
            if home != folder || home.join("data").exists() {
                return Err(error(closed));
            }
            make_sheltered(shelter, &new_home)?;
            if let Some(closed) = account.closed(&new_home) {
                return Err(error(closed));
            }
            symlink(&new_home, &link).map_err(failed("make", &link))?;
            home = new_home;
        }
        if home != folder {
            progress(&format!(
                "the database is in {}, since {} is closed to the user that runs PostgreSQL",
                home.display(),
                folder.display()
            ));
        }
        let mut place = Self {
            socket: home.join("socket"),
            home,
            account,
        };
        if !place.is_fit_for_socket() {
            place.socket = place.short_socket_folder();
        }
        place.make_private(&place.socket)?;
        Ok(place)
    }

    /// The folder that holds all others.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// PostgreSQL's data.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// PostgreSQL's data while they are made.
    pub(super) fn draft(&self) -> PathBuf {
        self.home.join("data.new")
    }

    /// The folder of the socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The socket.
    pub(super) fn socket_file(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{PORT}"))
    }

    /// The file with the server's settings.
    pub(super) fn settings_file(&self) -> PathBuf {
        self.home.join("postgresql.conf")
    }

    /// What the server says before it has a log.
    pub(super) fn startup_log(&self) -> PathBuf {
        self.home.join("startup.log")
    }

    /// Who runs the server, when that is not whoever runs us.
    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The database's address. It leaves nothing to the environment.
    pub(super) fn url(&self) -> Result<String, ClusterError> {
        let malformed = |_| failed("name", &self.socket)(io::ErrorKind::InvalidFilename.into());
        let mut url =
            Url::parse(&format!("postgres://{NAME}@localhost:{PORT}/{NAME}")).map_err(malformed)?;
        url.query_pairs_mut()
            .append_pair("host", &self.socket.to_string_lossy())
            .append_pair("sslmode", "disable");
        Ok(url.into())
    }

    /// Takes the cluster for this process.
    pub(super) async fn lock(&self) -> Result<File, ClusterError> {
        let path = self.home.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
                Err(TryLockError::WouldBlock) if since.elapsed() > LOCK_WAIT => {
                    return Err(ClusterError::InUse {
                        folder: self.home.clone(),
                    });
                }
                Err(TryLockError::WouldBlock) => sleep(SOON).await,
            }
        }
    }

    /// Whether the settings in force are `settings`.
    pub(super) fn has_settings(&self, settings: &str) -> bool {
        fs::read(self.settings_file()).is_ok_and(|text| text == settings.as_bytes())
    }

    /// Writes the server's settings, which are no secret.
    pub(super) fn write_settings(&self, settings: &str) -> Result<(), ClusterError> {
        let file = self.settings_file();
        fs::write(&file, settings).map_err(failed("write", &file))?;
        set_mode(&file, 0o644)
    }

    /// Makes a folder that only the user that runs PostgreSQL may enter. One that exists must be
    /// so.
    pub(super) fn make_private(&self, folder: &Path) -> Result<(), ClusterError> {
        let made = DirBuilder::new().mode(0o700).create(folder);
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed("make", folder)(error));
        }
        let metadata = fs::symlink_metadata(folder).map_err(failed("find", folder))?;
        let own = geteuid().as_raw();
        let owner = self.account.as_ref().map_or(own, |account| account.uid);
        let is_ours = metadata.uid() == own || metadata.uid() == owner;
        if !metadata.is_dir() || !is_ours || metadata.mode() & 0o077 != 0 {
            return Err(ClusterError::OpenSocketFolder {
                folder: folder.to_path_buf(),
            });
        }
        if let Some(account) = &self.account {
            chown(folder, Some(account.uid), Some(account.gid)).map_err(failed("give", folder))?;
        }
        Ok(())
    }

    /// Removes the socket's folder when it is outside of the home folder.
    pub(super) fn clean(&self) {
        if !self.socket.starts_with(&self.home) {
            // It is made again at the next start.
            drop(fs::remove_dir(&self.socket));
        }
    }

    /// Whether the socket's path is short, and has no letter that PostgreSQL's settings or an
    /// address would need quotes for.
    fn is_fit_for_socket(&self) -> bool {
        let file = self.socket_file();
        let path = file.as_os_str().as_bytes();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=@ ".contains(byte);
        path.len() <= LONGEST_SOCKET && path.iter().all(is_plain)
    }

    /// A short folder that the same home always gets.
    fn short_socket_folder(&self) -> PathBuf {
        let name = format!("chappe-{}", short_hash(&self.home));
        // The folder of a login session is closed to other users.
        let session = env::var_os("XDG_RUNTIME_DIR")
            .filter(|_| self.account.is_none())
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute() && folder.is_dir());
        let in_session = session.map(|folder| Self {
            socket: folder.join(&name),
            ..self.clone()
        });
        in_session
            .filter(Self::is_fit_for_socket)
            .map_or_else(|| Path::new("/tmp").join(name), |place| place.socket)
    }
}

/// Makes a home in the shelter, and the shelter itself.
fn make_sheltered(shelter: &Path, home: &Path) -> Result<(), ClusterError> {
    let is_new = !shelter.exists();
    fs::create_dir_all(home).map_err(failed("make", home))?;
    if is_new {
        set_mode(shelter, 0o711)?;
    }
    set_mode(home, 0o711)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ClusterError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(failed("set the permissions of", path))
}

/// Sixteen letters that stand for a path.
fn short_hash(path: impl AsRef<OsStr>) -> String {
    let digest = Sha256::digest(path.as_ref().as_bytes());
    let start = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    format!("{start:016x}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Place;

    fn place(home: &str) -> Place {
        let home = PathBuf::from(home);
        Place {
            socket: home.join("socket"),
            home,
            account: None,
        }
    }

    #[test]
    fn a_socket_path_is_short_and_plain() {
        assert!(place("/srv/chappe/postgres").is_fit_for_socket());
        assert!(!place(&format!("/srv/{}", "a".repeat(90))).is_fit_for_socket());
        assert!(!place("/srv/a,b").is_fit_for_socket());
        assert!(!place("/srv/l'été").is_fit_for_socket());
    }

    #[test]
    fn the_address_quotes_the_path() {
        assert_eq!(
            place("/srv/my data").url().unwrap(),
            "postgres://chappe@localhost:5432/chappe?host=%2Fsrv%2Fmy+data%2Fsocket&sslmode=disable"
        );
    }
}
