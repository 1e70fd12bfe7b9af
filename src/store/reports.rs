//! What users reported to the administrators.

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use sqlx::PgConnection;

use super::{RoomNid, StoreError, UserNid};

/// A report to keep.
#[derive(Clone, Copy, Debug)]
pub struct NewReport<'a> {
    /// When, in milliseconds since the epoch.
    pub reported_ms: i64,
    /// Who reports.
    pub reporter: UserNid,
    /// The room, unless a user is reported.
    pub room: Option<RoomNid>,
    /// The event, if one is reported.
    pub event_id: Option<&'a EventId>,
    /// The user, or the sender of the event.
    pub user: Option<UserNid>,
    /// What the reporter says.
    pub reason: &'a str,
}

/// A report as it is kept.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its number.
    pub number: i64,
    /// When, in milliseconds since the epoch.
    pub reported_ms: i64,
    /// Who reported.
    pub reporter: OwnedUserId,
    /// The room, unless a user was reported.
    pub room_id: Option<OwnedRoomId>,
    /// The event, if one was reported.
    pub event_id: Option<OwnedEventId>,
    /// The user, or the sender of the event.
    pub user_id: Option<OwnedUserId>,
    /// What the reporter says.
    pub reason: String,
}

/// Which reports to list.
#[derive(Clone, Copy, Debug)]
pub struct ReportPage {
    /// Reports with numbers below this, newest first.
    pub before: i64,
    /// How many at most.
    pub limit: i64,
    /// Whether only reports of events are listed.
    pub events_only: bool,
}

/// Keeps a report; gives its number.
pub async fn insert(conn: &mut PgConnection, new: &NewReport<'_>) -> Result<i64, StoreError> {
    let number = sqlx::query_scalar!(
        r#"
        INSERT INTO reports (reported_ms, reporter_nid, room_nid, event_id, user_nid, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING report_nid
        "#,
        new.reported_ms,
        new.reporter as UserNid,
        new.room as Option<RoomNid>,
        new.event_id.map(EventId::as_str),
        new.user as Option<UserNid>,
        new.reason,
    )
    .fetch_one(conn)
    .await?;
    Ok(number)
}

struct Row {
    report_nid: i64,
    reported_ms: i64,
    reporter: String,
    room_id: Option<String>,
    event_id: Option<String>,
    user_id: Option<String>,
    reason: String,
}

/// A page of the reports, newest first.
pub async fn list(conn: &mut PgConnection, page: ReportPage) -> Result<Vec<Report>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT p.report_nid,
            p.reported_ms,
            r.user_id AS reporter,
            o.room_id AS "room_id?", -- a left join
            p.event_id,
            u.user_id AS "user_id?", -- a left join
            p.reason
        FROM reports p
        JOIN users r ON r.user_nid = p.reporter_nid
        LEFT JOIN rooms o ON o.room_nid = p.room_nid
        LEFT JOIN users u ON u.user_nid = p.user_nid
        WHERE p.report_nid < $1
            AND (NOT $2 OR p.event_id IS NOT NULL)
        ORDER BY p.report_nid DESC
        LIMIT $3
        "#,
        page.before,
        page.events_only,
        page.limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::into_report).collect()
}

/// How many reports there are.
pub async fn count(conn: &mut PgConnection, events_only: bool) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "count!" -- an aggregate is never null
        FROM reports
        WHERE NOT $1 OR event_id IS NOT NULL
        "#,
        events_only,
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Forgets a report. `false` if there is none of this number.
pub async fn delete(conn: &mut PgConnection, number: i64) -> Result<bool, StoreError> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM reports
        WHERE report_nid = $1
        "#,
        number,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected() > 0)
}

impl Row {
    fn into_report(self) -> Result<Report, StoreError> {
        let number = self.report_nid;
        let wrong = |column| StoreError::inconsistent("reports", column, number);
        let user = |id: &str| UserId::parse(id).map_err(|_| wrong("user_nid"));
        let room_id = self.room_id.as_deref().map(RoomId::parse);
        let event_id = self.event_id.as_deref().map(EventId::parse);
        Ok(Report {
            number,
            reported_ms: self.reported_ms,
            reporter: user(&self.reporter)?,
            room_id: room_id.transpose().map_err(|_| wrong("room_nid"))?,
            event_id: event_id.transpose().map_err(|_| wrong("event_id"))?,
            user_id: self.user_id.as_deref().map(user).transpose()?,
            reason: self.reason,
        })
    }
}
