//! What must be well for the process to serve.

use std::{path::PathBuf, time::Duration};

use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    http::Readiness,
    store::{Store, StoreError},
};

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// With less free space than this, in bytes, the data folder's disk is full.
const LEAST_FREE: u64 = 100 << 20;

/// The checks of a server: database, migrations, signing key, disk.
pub(super) fn checks(store: &Store, data_folder: PathBuf) -> Readiness {
    let (answers, migrated) = (store.clone(), store.clone());
    Readiness::default()
        .with("database", move || {
            let store = answers.clone();
            async move {
                match check(&store).await {
                    Some(Ok(()) | Err(StoreError::Inconsistent { .. })) => Ok(()),
                    Some(Err(_)) | None => Err("does not answer".to_owned()),
                }
            }
        })
        .with("migrations", move || {
            let store = migrated.clone();
            async move {
                match check(&store).await {
                    Some(Ok(())) => Ok(()),
                    Some(Err(StoreError::Inconsistent { .. })) => {
                        Err("the database is older than the program".to_owned())
                    }
                    Some(Err(_)) | None => Err("unknown".to_owned()),
                }
            }
        })
        // Without a key the server would not have started, and it keeps the one it has.
        .with("signing_key", async || Ok(()))
        .with("disk", move || disk(data_folder.clone()))
}

async fn check(store: &Store) -> Option<Result<(), StoreError>> {
    timeout(PATIENCE, store.check()).await.ok()
}

async fn disk(folder: PathBuf) -> Result<(), String> {
    // A file system over a network may hang.
    let asked = spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
    let Ok(Ok(stat)) = asked else {
        return Err("the data folder cannot be read".to_owned());
    };
    if is_full(stat.f_bavail, stat.f_blocks, stat.f_frsize) {
        return Err("the data folder's disk is full".to_owned());
    }
    Ok(())
}

/// Whether less than a hundredth, or less than [`LEAST_FREE`], is left.
fn is_full(free_blocks: u64, blocks: u64, block_bytes: u64) -> bool {
    free_blocks.saturating_mul(block_bytes) < LEAST_FREE || free_blocks < blocks / 100
}

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn a_disk_is_full_before_nothing_is_left() {
        let gib = (1 << 30) / 4096;
        assert!(!is_full(gib, 50 * gib, 4096));
        assert!(is_full(gib, 101 * gib, 4096), "less than a hundredth");
        assert!(is_full(gib / 20, gib, 4096), "less than 100 MiB");
        assert!(!is_full(gib / 5, gib, 4096));
    }
}
