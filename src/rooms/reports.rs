//! Reports to the administrators: of events, rooms and users.
//!
//! Client-server API v1.19, "Reporting content".

use ruma::{EventId, RoomId, UserId};

use super::{Actor, Error, Rooms};
use crate::store::{
    RoomNid, UserNid, accounts,
    reports::{self, NewReport, Report, ReportPage},
};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 4_000;

impl Rooms {
    /// Reports an event in a room where the user is joined.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] if there is none, the user may not see it, or is not joined: nobody
    /// learns which.
    pub async fn report_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        reason: &str,
    ) -> Result<(), Error> {
        let opened = self.open(actor, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::UnknownEvent)?;
        if !room.head().room().is_joined(&actor.user_id) {
            return Err(Error::UnknownEvent);
        }
        let event = self.visible_event(&room, &mut viewer, event_id).await?;
        let event = event.ok_or(Error::UnknownEvent)?;
        let (room, sender) = (Some(room.nid()), Some(event.sender));
        self.keep_report(actor, room, Some(event_id), sender, reason)
            .await
    }

    /// Reports a room; whether there is one is not told.
    pub async fn report_room(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: &str,
    ) -> Result<(), Error> {
        let Some(room) = self.find_room(room_id).await? else {
            return Ok(());
        };
        self.keep_report(actor, Some(room.nid()), None, None, reason)
            .await
    }

    /// Reports a user; whether there is one is not told.
    pub async fn report_user(
        &self,
        actor: &Actor,
        user_id: &UserId,
        reason: &str,
    ) -> Result<(), Error> {
        if !self.is_local(user_id) || user_id.as_str().contains('\0') {
            return Ok(());
        }
        let account = {
            let mut conn = self.0.store.conn().await?;
            accounts::find(&mut conn, user_id).await?
        };
        let Some(account) = account else {
            return Ok(());
        };
        self.keep_report(actor, None, None, Some(account.user), reason)
            .await
    }

    async fn keep_report(
        &self,
        actor: &Actor,
        room: Option<RoomNid>,
        event_id: Option<&EventId>,
        user: Option<UserNid>,
        reason: &str,
    ) -> Result<(), Error> {
        // PostgreSQL's texts hold no NUL.
        let mut reason = reason.replace('\0', "");
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        let report = NewReport {
            reported_ms: self.0.clock.now().get().into(),
            reporter: actor.user,
            room,
            event_id,
            user,
            reason: &reason,
        };
        let mut conn = self.0.store.conn().await?;
        reports::insert(&mut conn, &report).await?;
        Ok(())
    }

    /// A page of the reports, newest first, and how many there are.
    pub async fn reports(&self, page: ReportPage) -> Result<(Vec<Report>, i64), Error> {
        let mut conn = self.0.store.conn().await?;
        let found = reports::list(&mut conn, page).await?;
        let total = reports::count(&mut conn, page.events_only).await?;
        Ok((found, total))
    }

    /// Forgets a report.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of this number.
    pub async fn delete_report(&self, number: i64) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        if reports::delete(&mut conn, number).await? {
            Ok(())
        } else {
            Err(Error::NotFound("report"))
        }
    }
}
