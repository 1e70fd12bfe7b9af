//! The user that runs PostgreSQL: whoever runs us, unless that is root, whom PostgreSQL refuses.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::{ClusterError, failed};

/// The users that root runs PostgreSQL as, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Execution by the owner, the group and the others: for a folder, permission to enter.
const MAY_ENTER: [u32; 3] = [0o100, 0o010, 0o001];

/// An unprivileged user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Who is to run the cluster whose data are, or will be, in `data`. `None` is whoever runs us.
    ///
    /// Root goes on with the owner of the data that exist.
    pub(super) fn choose(data: &Path) -> Result<Option<Self>, ClusterError> {
        let own = geteuid();
        let owner = fs::metadata(data).ok();
        if let Some(owner) = &owner
            && own.is_root() == (owner.uid() == 0)
            && (own.is_root() || owner.uid() != own.as_raw())
        {
            return Err(ClusterError::OtherOwner {
                folder: data.to_path_buf(),
                owner: owner.uid(),
            });
        }
        if !own.is_root() {
            return Ok(None);
        }
        if let Some(owner) = owner {
            return Ok(Some(Self {
                name: owner.uid().to_string(),
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
        let file = "/etc/passwd";
        let passwd = fs::read_to_string(file).map_err(failed("read", file))?;
        CANDIDATES
            .iter()
            .find_map(|name| Self::parse(&passwd, name))
            .map(Some)
            .ok_or(ClusterError::NoAccount)
    }

    /// The first folder on the way to `folder` that this user cannot enter.
    pub(super) fn closed(&self, folder: &Path) -> Option<PathBuf> {
        folder
            .ancestors()
            .filter(|step| !self.may_enter(step))
            .last()
            .map(Path::to_path_buf)
    }

    fn may_enter(&self, folder: &Path) -> bool {
        let Ok(metadata) = fs::metadata(folder) else {
            return false;
        };
        let [owner, group, others] = MAY_ENTER;
        let permission = if metadata.uid() == self.uid {
            owner
        } else if metadata.gid() == self.gid {
            group
        } else {
            others
        };
        metadata.mode() & permission != 0
    }

    /// The user `name` of a file in the format of `/etc/passwd`, unless that is root by another
    /// name.
    fn parse(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then(|| Self {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          toor:x:0:0::/root:/bin/sh\n\
                          postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn a_user_is_found_by_name() {
        let account = Account::parse(PASSWD, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert_eq!(Account::parse(PASSWD, "nobody"), None);
    }

    #[test]
    fn root_by_another_name_is_no_account() {
        assert_eq!(Account::parse(PASSWD, "toor"), None);
    }
}
