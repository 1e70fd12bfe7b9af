//! Finds the PostgreSQL programs of the machine, and chooses a version.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::{ClusterError, account::Account, failed, place::Place};

/// The oldest major version whose settings and statements are those we use.
const OLDEST: u32 = 14;

/// Where Debian and its kin keep one folder per major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The installations that were found.
#[derive(Debug)]
pub(super) struct Binaries {
    /// By major version; of two with the same one, the first that was found.
    folders: BTreeMap<u32, PathBuf>,
    /// The version found first, which a new cluster gets.
    first: u32,
}

/// The installation to use.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    folder: PathBuf,
}

impl Binaries {
    /// Looks in `folder` alone or, when it is `None`, where `pg_config` says, in Debian's folders
    /// with the highest version first, and in `PATH`.
    pub(super) async fn find(folder: Option<&Path>) -> Result<Self, ClusterError> {
        let candidates = match folder {
            Some(folder) => vec![folder.to_path_buf()],
            None => machine().await,
        };
        let mut found = Vec::new();
        for folder in candidates {
            if let Some(version) = version(&folder).await {
                found.push((version, folder));
            }
        }
        let Some(newest) = found.iter().map(|(version, _)| *version).max() else {
            return Err(ClusterError::NoBinaries);
        };
        found.retain(|(version, _)| *version >= OLDEST);
        let Some((first, _)) = found.first() else {
            return Err(ClusterError::TooOld {
                found: newest,
                oldest: OLDEST,
            });
        };
        Ok(Self {
            first: *first,
            // Of equal versions the last one stays.
            folders: found.into_iter().rev().collect(),
        })
    }

    /// The version that made the cluster in `place`, or the first when there is none yet.
    pub(super) async fn choose(mut self, place: &Place) -> Result<Chosen, ClusterError> {
        let file = place.data().join("PG_VERSION");
        let version = if place.data().exists() {
            let text = tokio::fs::read_to_string(&file)
                .await
                .map_err(failed("read", &file))?;
            parse_version(&text).unwrap_or(self.first)
        } else {
            self.first
        };
        let found = || {
            let versions: Vec<String> = self.folders.keys().map(u32::to_string).collect();
            versions.join(", ")
        };
        let other_version = ClusterError::OtherVersion {
            folder: place.data(),
            needed: version,
            found: found(),
        };
        let folder = self.folders.remove(&version).ok_or(other_version)?;
        Ok(Chosen { folder })
    }
}

impl Chosen {
    /// The file of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A program that runs as `account`, out of reach of the terminal's signals, with none of our
    /// environment: some of it would change what PostgreSQL does.
    pub(super) fn command(&self, name: &str, account: Option<&Account>) -> Command {
        let mut command = Command::new(self.program(name));
        command
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

/// The folders of the machine that may hold PostgreSQL, best first.
async fn machine() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let pg_config = Command::new("pg_config").arg("--bindir").output().await;
    if let Ok(output) = pg_config
        && let Ok(folder) = String::from_utf8(output.stdout)
    {
        folders.push(PathBuf::from(folder.trim_end()));
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    folders.extend(versions.into_iter().map(|(_, folder)| folder));
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders
}

/// The major version of the server in `folder`, if there is one, and the means to make clusters.
async fn version(folder: &Path) -> Option<u32> {
    let postgres = folder.join("postgres");
    if !folder.is_absolute() || !postgres.is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(postgres).arg("--version").output().await;
    parse_version(&String::from_utf8(output.ok()?.stdout).ok()?)
}

/// The first number of `text`, such as `postgres (PostgreSQL) 15.8 (Debian 15.8-1)`.
fn parse_version(text: &str) -> Option<u32> {
    let digits = text
        .split(|letter: char| !letter.is_ascii_digit())
        .find(|part| !part.is_empty());
    digits?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.8 (Debian 15.8-1)"),
            Some(15)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_version("16\n"), Some(16));
        assert_eq!(parse_version("none"), None);
    }
}
