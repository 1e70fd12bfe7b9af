//! Opens the database: the configured one, or the private cluster; with the newest schema.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::{AppOptions, Progress};
use crate::{
    cluster::{Cluster, ClusterError, ClusterOptions},
    config::{self, Config},
    store::{Database, StoreOptions},
};

/// The folder of the private cluster, in the data folder.
const FOLDER: &str = "postgresql";

/// After which time migrations are called slow, and said to be.
const SLOW: Duration = Duration::from_millis(300);

/// A database with the newest schema.
pub(super) struct Opened {
    pub(super) database: Database,
    /// The private cluster, if this process looks after it.
    pub(super) cluster: Option<Cluster>,
}

/// Opens the database and brings its schema up to date.
pub(super) async fn open(config: &Config, options: &AppOptions) -> anyhow::Result<Opened> {
    let progress = &options.progress;
    let (url, cluster) = match &config.database.url {
        Some(url) => (url.expose().to_owned(), None),
        None => private(config, options).await?,
    };
    let options = store_options(&config.database, url);
    migrate(&options, progress).await?;
    let database = Database::open(&options).context("database.url cannot be used")?;
    Ok(Opened { database, cluster })
}

/// The address of the private cluster, which is started unless another process did.
async fn private(config: &Config, app: &AppOptions) -> anyhow::Result<(String, Option<Cluster>)> {
    let options = ClusterOptions::new(config.server.data_folder.join(FOLDER));
    match Cluster::start(options.clone(), |line| (app.progress)(line)).await {
        Ok(cluster) => Ok((cluster.url(), Some(cluster))),
        Err(ClusterError::InUse { .. }) if app.shares_cluster => {
            Ok((Cluster::url_in(&options)?, None))
        }
        Err(error) => Err(error.into()),
    }
}

async fn migrate(options: &StoreOptions, progress: &Progress) -> anyhow::Result<()> {
    // A migration may take as long as it needs.
    let unbounded = StoreOptions {
        statement_timeout: Duration::ZERO,
        max_connections: 1,
        ..options.clone()
    };
    let database = Database::open(&unbounded).context("database.url cannot be used")?;
    let migrated = async {
        let mut migrating = std::pin::pin!(database.migrate());
        tokio::select! {
            migrated = &mut migrating => migrated,
            () = sleep(SLOW) => {
                progress("bringing the tables of the database up to date");
                migrating.await
            }
        }
    };
    migrated.await.map_err(|error| {
        let said = if error.is_connection_lost() {
            "the database does not answer"
        } else {
            "the tables of the database cannot be brought up to date"
        };
        anyhow::Error::new(error).context(said)
    })
}

fn store_options(config: &config::Database, url: String) -> StoreOptions {
    StoreOptions {
        url,
        max_connections: config.max_connections,
        acquire_timeout: Duration::from_millis(config.acquire_timeout_ms),
        statement_timeout: Duration::from_millis(config.statement_timeout_ms),
    }
}
