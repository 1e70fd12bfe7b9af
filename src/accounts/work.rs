//! Work in the rooms of an account: leaving them when it is closed, and showing a new name.
//!
//! Whoever asks for it writes it down in the transaction of the change. The request does the first
//! rooms itself and answers; the rest is done by the process that takes it up, a few rooms at a
//! time, so that a user of thousands of rooms keeps nobody waiting. What a process leaves undone
//! when it ends is taken up by another.

use std::time::Duration;

use super::{Accounts, Error, sessions::later};
use crate::{
    rooms::{Actor, Rooms},
    store::{
        Conn, RoomNid, UserNid,
        account_work::{self, Progress, Work, WorkKind},
    },
};

/// How many rooms are done before the rest is offered to everybody again.
const ROOMS: usize = 50;
/// For how long work is taken up: longer than this many rooms take.
const LEASE: Duration = Duration::from_mins(2);
/// How long a first failed round waits for the next one; each one after waits twice as long.
const PAUSE: Duration = Duration::from_secs(10);
/// How many failed rounds there are. After them the rooms are left as they are.
const MAX_ATTEMPTS: i64 = 20;
/// The most doublings of the pause: about an hour and a half.
const MAX_DOUBLINGS: u32 = 9;

/// What was done of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkDone {
    /// Nothing is due.
    Nothing,
    /// Some rooms; there may be more.
    Some,
}

impl Accounts {
    /// Writes work down, in the transaction of what makes it necessary.
    pub(super) async fn ask_for_work(
        &self,
        conn: &mut Conn,
        user: UserNid,
        kind: WorkKind,
    ) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        Ok(account_work::upsert(conn, user, kind, now, later(now, LEASE)).await?)
    }

    /// Does the first rooms of a user's work, and leaves the rest to [`work`](Self::work).
    pub async fn begin_work(&self, rooms: &Rooms, user: UserNid) -> Result<(), Error> {
        self.do_work(rooms, Some(user)).await?;
        self.0.work.notify_one();
        Ok(())
    }

    /// Does all of a user's work that is due now: for commands.
    pub async fn finish_work(&self, rooms: &Rooms, user: UserNid) -> Result<(), Error> {
        while self.do_work(rooms, Some(user)).await? == WorkDone::Some {}
        Ok(())
    }

    /// Does some rooms of the work that has been due for the longest time. To be called again
    /// and again, while there is any and when [`work_wanted`](Self::work_wanted) says so.
    pub async fn work(&self, rooms: &Rooms) -> Result<WorkDone, Error> {
        self.do_work(rooms, None).await
    }

    /// Waits until this process has written work down.
    pub async fn work_wanted(&self) {
        self.0.work.notified().await;
    }

    async fn do_work(&self, rooms: &Rooms, user: Option<UserNid>) -> Result<WorkDone, Error> {
        let now = self.0.clock.now_i64();
        let taken = {
            let mut conn = self.0.store.conn().await?;
            account_work::take(&mut conn, user, now, later(now, LEASE)).await?
        };
        let Some(work) = taken else {
            return Ok(WorkDone::Nothing);
        };
        // An account that was opened again keeps its rooms.
        if work.kind == WorkKind::LeaveRooms && !work.is_deactivated {
            let mut conn = self.0.store.conn().await?;
            account_work::delete_done(&mut conn, &work).await?;
            return Ok(WorkDone::Some);
        }
        let actor = Actor {
            user_id: work.user_id.clone(),
            user: work.user,
            device: None,
        };
        let after = Some(work.after).filter(|room| room.0 > 0);
        let done = match work.kind {
            WorkKind::LeaveRooms => rooms.leave_some(&actor, after, ROOMS).await,
            WorkKind::ShowProfile => rooms.show_profile_in_some(&actor, after, ROOMS).await,
        };
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(user.id = %work.user_id, %error, "a user's rooms cannot be listed");
                self.end_round(&work, work.failed.saturating_add(1)).await?;
                return Ok(WorkDone::Some);
            }
        };
        let failed = i64::try_from(done.failed).unwrap_or(i64::MAX);
        let failed = work.failed.saturating_add(failed);
        match done.next {
            Some(after) => {
                let progress = Progress {
                    after,
                    failed,
                    attempts: work.attempts,
                    due_ms: now,
                };
                let mut conn = self.0.store.conn().await?;
                account_work::update(&mut conn, &work, progress).await?;
            }
            None => self.end_round(&work, failed).await?,
        }
        Ok(WorkDone::Some)
    }

    /// Strikes the work off, or begins another round later if a room has failed.
    async fn end_round(&self, work: &Work, failed: i64) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        let attempts = work.attempts.saturating_add(1);
        if failed > 0 && attempts < MAX_ATTEMPTS {
            let doublings = u32::try_from(work.attempts).unwrap_or(u32::MAX);
            let pause = PAUSE.saturating_mul(1 << doublings.min(MAX_DOUBLINGS));
            let progress = Progress {
                after: RoomNid(0),
                failed: 0,
                attempts,
                due_ms: later(self.0.clock.now_i64(), pause),
            };
            account_work::update(&mut conn, work, progress).await?;
            return Ok(());
        }
        if failed > 0 {
            tracing::error!(user.id = %work.user_id, failed, "rooms of a user are given up");
        }
        if !account_work::delete_done(&mut conn, work).await? {
            let again = Progress {
                after: RoomNid(0),
                failed: 0,
                attempts: 0,
                due_ms: 0,
            };
            account_work::update(&mut conn, work, again).await?;
        }
        Ok(())
    }
}
