//! Whose events are shown without their content to those who join later: the users who closed
//! their account and asked for that.
//!
//! They are few, and every process has all of them in memory. Whoever adds one tells the others.

use std::{collections::HashSet, sync::Arc};

use sqlx::PgConnection;

use super::{Store, StoreError, UserNid};

/// The channel on which processes tell each other that somebody was added or taken away.
pub(super) const CHANNEL: &str = "chappe_erased";

impl Store {
    /// Who has asked for it, as far as this process knows.
    pub fn erased(&self) -> Arc<HashSet<UserNid>> {
        self.0.erased.load_full()
    }

    /// Reads anew who has asked for it.
    pub async fn read_erased(&self) -> Result<(), StoreError> {
        let users = list(&mut *self.conn().await?).await?;
        self.0.erased.store(Arc::new(users));
        Ok(())
    }
}

async fn list(conn: &mut PgConnection) -> Result<HashSet<UserNid>, StoreError> {
    let users = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user: UserNid"
        FROM accounts
        WHERE is_erased
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(users.into_iter().collect())
}

/// Tells every process, when the transaction commits, to read anew who has asked for it.
pub async fn notify_changed(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        SELECT PG_NOTIFY($1, '')
        "#,
        CHANNEL,
    )
    .execute(conn)
    .await?;
    Ok(())
}
