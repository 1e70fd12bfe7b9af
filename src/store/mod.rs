//! What the server remembers, and the only place with SQL.
//!
//! Everything that a sync can show is written through the [`journal`], and is then in the memory of
//! this process ([`live`]); the [`follower`] brings in what other processes committed. The other
//! tables are written in transactions that a service opens with [`Store::begin`]. Reads stand in
//! one file for each group of tables, as functions that take the connection first.

pub mod accepted_terms;
pub mod access_tokens;
pub mod account_data;
pub mod account_holds;
pub mod account_validity;
pub mod account_views;
pub mod account_work;
pub mod accounts;
mod activities;
mod addressees;
pub mod appservices;
pub mod cross_signing;
pub mod dehydrated_devices;
pub mod delayed_events;
pub mod delayed_sending;
pub mod device_keys;
pub mod device_lists;
pub mod devices;
pub mod directory;
pub mod erased;
mod error;
pub mod events;
pub mod filters;
mod follower;
pub mod former_addresses;
pub mod guests;
pub mod identity;
mod ids;
pub mod interactive_auth;
pub mod invitation_work;
pub mod invitations;
pub mod job_leases;
pub mod journal;
pub mod key_backup;
pub mod live;
pub mod login_tokens;
pub mod mails;
pub mod media;
pub mod media_admin;
pub mod media_verdicts;
pub mod media_work;
mod membership;
pub mod memberships;
pub mod notice_rooms;
mod numbers;
pub mod profiles;
pub mod push_work;
pub mod pushers;
pub mod receipts;
pub mod registration_tokens;
pub mod relations;
pub mod rendezvous;
pub mod reports;
pub mod retention;
pub mod rooms;
pub mod search;
pub mod server_secrets;
pub mod signing_keys;
pub mod sliding_positions;
pub mod state;
pub mod stream;
pub mod thread_subscriptions;
pub mod threepids;
pub mod to_device;
pub mod transactions;
pub mod unread;
pub mod url_previews;
pub mod user_directory;
pub mod users;

use std::{collections::HashSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sqlx::{
    PgPool, Postgres, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Mutex as AsyncMutex;

pub use self::{
    addressees::ALL_DEVICES,
    error::StoreError,
    follower::Hint,
    ids::{DeviceNid, RoomNid, RoomPosition, SlotNid, StreamPosition, UserNid},
    membership::Membership,
};
use self::{
    addressees::Addressees,
    journal::{Journal, JournalQueue},
    live::{Live, LiveOptions},
    numbers::Numbers,
};

/// The schema's history.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// A connection, as store functions take it.
pub type Conn = sqlx::PgConnection;
/// A pooled connection.
pub type PooledConn = PoolConnection<Postgres>;
/// A transaction; dereferences to [`Conn`]. Dropped without commit, it changes nothing.
pub type Tx = Transaction<'static, Postgres>;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `postgres://…`.
    pub url: String,
    /// The most connections that this process opens.
    pub max_connections: u32,
    /// How long a request waits for a connection before it is shed.
    pub acquire_timeout: Duration,
    /// When PostgreSQL gives a statement up; also the bound on a stuck lock holder.
    pub statement_timeout: Duration,
}

/// The database and what is held of it in memory, as services hold it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    live: Live,
    journal: Journal,
    numbers: Numbers,
    addressees: Addressees,
    /// Whose events newcomers see without their content.
    erased: ArcSwap<HashSet<UserNid>>,
    /// Entries are applied by one task at a time, in order.
    applying: AsyncMutex<()>,
}

/// A pool before anything is known of the database.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
}

impl Database {
    /// Opens the pool. Nothing is asked of the database yet.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let timeout = options.statement_timeout.as_millis().to_string();
        let connect: PgConnectOptions = options.url.parse::<PgConnectOptions>()?;
        let connect = connect.application_name("chappe").options([
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", timeout.as_str()),
            ("jit", "off"),
            // Planning the journal's statement takes longer than running it; the statements are
            // written so that one plan suits all their arguments.
            ("plan_cache_mode", "force_generic_plan"),
            // A plan that suits all arguments guesses many rows where there are few, and to start
            // a worker for them takes longer than all else.
            ("max_parallel_workers_per_gather", "0"),
            // Such a plan is kept while a table that was empty fills, as queues do. Each statement
            // that must be quick has its index.
            ("enable_seqscan", "off"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            // A broken connection shows itself at its first statement: asking before each use
            // would double the round trips.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        Ok(Self { pool })
    }

    /// Brings the schema up to date. Several processes may do so at once: one of them works.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        MIGRATOR
            .run(&self.pool)
            .await
            .map_err(StoreError::Migration)
    }

    /// Begins to remember: reads where the stream stands. The queue goes to the journal's task.
    pub async fn start(self, memory: LiveOptions) -> Result<(Store, JournalQueue), StoreError> {
        let position = stream::position(&mut *self.pool.acquire().await?).await?;
        let (journal, queue) = Journal::new();
        let store = Store(Arc::new(Inner {
            pool: self.pool,
            live: Live::new(memory, position),
            journal,
            numbers: Numbers::new(),
            addressees: Addressees::new(),
            erased: ArcSwap::default(),
            applying: AsyncMutex::new(()),
        }));
        store.read_erased().await?;
        Ok((store, queue))
    }
}

impl Store {
    /// What is in memory.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// Where what syncs can show is written.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// A connection for reads and single statements.
    pub async fn conn(&self) -> Result<PooledConn, StoreError> {
        Ok(self.0.pool.acquire().await?)
    }

    /// A transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.0.pool.begin().await?)
    }

    /// Commits a transaction.
    pub async fn commit(tx: Tx) -> Result<(), StoreError> {
        Ok(tx.commit().await?)
    }

    /// Whether the database answers and has the schema of this program.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut conn = self.conn().await?;
        let applied = sqlx::query_scalar!(
            r#"
            SELECT COUNT(*) AS "count!" -- an aggregate is never null
            FROM _sqlx_migrations
            WHERE success
            "#
        )
        .fetch_one(&mut *conn)
        .await?;
        if usize::try_from(applied).is_ok_and(|applied| applied >= MIGRATOR.iter().count()) {
            Ok(())
        } else {
            Err(StoreError::inconsistent(
                "_sqlx_migrations",
                "version",
                applied,
            ))
        }
    }

    /// How many connections are open, and how many of them are idle.
    pub fn pool_size(&self) -> (u32, usize) {
        (self.0.pool.size(), self.0.pool.num_idle())
    }

    /// Closes all connections, after the operations under way.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }
}
