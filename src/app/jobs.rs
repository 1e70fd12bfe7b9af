//! What runs beside requests: hints of other processes, and what is done now and then.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};

use super::Core;
use crate::{
    accounts::{Accounts, WorkDone},
    clock::SharedClock,
    lifecycle::Lifecycle,
    media::Media,
    push::Push,
    rooms::{self, Rooms},
    store::{Hint, Store, StoreError, UserNid, rendezvous, transactions},
    sync::Presence,
};

/// How many hints may wait to be heard.
const HINTS: usize = 1024;

/// How often it is written when devices were last seen.
const SEEN: Duration = Duration::from_mins(2);

/// How often what is over is forgotten.
const CLEAN_UP: Duration = Duration::from_mins(10);

/// How long to wait after a failure to bring the user directory up to date.
const DIRECTORY_RETRY: Duration = Duration::from_mins(1);
/// How often invitations by e-mail are looked after.
const INVITATIONS: Duration = Duration::from_secs(10);
/// How often it is looked at which accounts expire (AV-03).
const VALIDITY: Duration = Duration::from_mins(30);

/// How often changes of device lists are looked for that another process has not told.
const DEVICE_LISTS: Duration = Duration::from_secs(10);
/// How often messages are looked for whose devices are gone.
const ORPHANS: Duration = Duration::from_hours(6);

/// How often work in rooms is looked for that another process has left.
const WORK: Duration = Duration::from_secs(10);

/// For how long a client can send the same transaction again.
const TRANSACTIONS_KEPT: Duration = Duration::from_hours(24);

/// How long the bytes of what was deleted wait for more of them.
const SOON: Duration = Duration::from_secs(1);

/// How many transactions are forgotten at once.
const BATCH: i64 = 1_000;
/// The pause between two batches of deletions.
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);

/// Keeps this process in step with the others.
pub(super) fn follow(core: &Core, presence: &Presence) {
    let (hints, heard) = mpsc::channel(HINTS);
    let lifecycle = &core.lifecycle;
    let follower = core.store.clone().follow(hints, lifecycle.soft());
    lifecycle.spawn_critical("follower", follower);
    lifecycle.spawn(
        "hints",
        hear(
            heard,
            core.accounts.clone(),
            core.rooms.clone(),
            presence.clone(),
            core.media.clone(),
        ),
    );
    let mails = core.mailer.clone().deliver(lifecycle.soft());
    lifecycle.spawn("mails", mails);
    let typing = core.rooms.clone().expire_typing(lifecycle.soft());
    lifecycle.spawn("typing", typing);
    let presence = presence.clone().run(lifecycle.soft());
    lifecycle.spawn("presence", presence);
    let delayed = core.rooms.clone().send_delayed(lifecycle.soft());
    lifecycle.spawn("delayed events", delayed);
}

/// Takes hints in, until the follower ends.
async fn hear(
    mut hints: mpsc::Receiver<Hint>,
    accounts: Accounts,
    rooms: Rooms,
    presence: Presence,
    media: Media,
) {
    while let Some(hint) = hints.recv().await {
        match hint {
            Hint::Unheard => {
                accounts.forget_all_sessions();
                media.forget_known();
            }
            Hint::Sessions(user) => accounts.forget_sessions(user),
            Hint::Typing(text) => rooms.hear_typing(&text),
            Hint::Presence(text) => presence.hear(&text),
            Hint::Media(media_id) => media.hear_completed(&media_id),
            Hint::MediaChanged => media.forget_known(),
        }
    }
}

/// Begins what is done now and then.
#[expect(clippy::too_many_lines, reason = "a list of jobs")]
pub(super) fn spawn(core: &Core, clock: &SharedClock) {
    let lifecycle = &core.lifecycle;
    push(core);
    mail_unread(core);
    let accounts = core.accounts.clone();
    every(lifecycle, "last seen", SEEN, move || {
        let accounts = accounts.clone();
        async move {
            if let Err(error) = accounts.flush().await {
                tracing::warn!(%error, "when devices were last seen could not be written");
            }
        }
    });
    let accounts = core.accounts.clone();
    every(lifecycle, "clean-up", CLEAN_UP, move || {
        let accounts = accounts.clone();
        async move {
            if let Err(error) = accounts.clean_up().await {
                tracing::warn!(%error, "what is over could not be forgotten");
            }
        }
    });
    let (rooms, media) = (core.rooms.clone(), core.media.clone());
    let pause = rooms.purge_interval().min(CLEAN_UP);
    every(lifecycle, "retention", pause, move || {
        let (rooms, media) = (rooms.clone(), media.clone());
        async move {
            if let Err(error) = purge(&rooms).await {
                tracing::warn!(%error, "old messages could not be deleted");
            }
            // What they named may go too.
            media.hear_deleted();
        }
    });
    spawn_files(core);
    let rooms = core.rooms.clone();
    every(lifecycle, "old delayed events", CLEAN_UP, move || {
        let rooms = rooms.clone();
        async move {
            if let Err(error) = rooms.forget_delayed().await {
                tracing::warn!(%error, "old delayed events could not be forgotten");
            }
        }
    });
    let (rooms, soft) = (core.rooms.clone(), lifecycle.soft());
    lifecycle.spawn("search", async move {
        soft.run_until_cancelled(rooms.keep_index()).await;
    });
    let (accounts, soft) = (core.accounts.clone(), lifecycle.soft());
    lifecycle.spawn("user directory", async move {
        soft.run_until_cancelled(fill_directory(accounts)).await;
    });
    let identity = core.identity.clone();
    every(lifecycle, "invitations", INVITATIONS, move || {
        let identity = identity.clone();
        async move {
            if let Err(error) = identity.work().await {
                tracing::warn!(%error, "invitations by e-mail could not be looked after");
            }
        }
    });
    let identity = core.identity.clone();
    every(lifecycle, "identity clean-up", CLEAN_UP, move || {
        let identity = identity.clone();
        async move {
            if let Err(error) = identity.clean_up().await {
                tracing::warn!(%error, "old invitations and tokens could not be forgotten");
            }
        }
    });
    let accounts = core.accounts.clone();
    every(lifecycle, "account validity", VALIDITY, move || {
        let accounts = accounts.clone();
        async move {
            if let Err(error) = accounts.keep_validity().await {
                tracing::warn!(%error, "account validity could not be kept");
            }
        }
    });
    let keys = core.keys.clone();
    every(lifecycle, "device lists", DEVICE_LISTS, move || {
        let keys = keys.clone();
        async move {
            if let Err(error) = keys.work().await {
                tracing::warn!(%error, "changes of device lists could not be told");
            }
        }
    });
    let keys = core.keys.clone();
    every(lifecycle, "messages to devices", ORPHANS, move || {
        let keys = keys.clone();
        async move {
            if let Err(error) = keys.clean_up().await {
                tracing::warn!(%error, "messages to deleted devices could not be deleted");
            }
        }
    });
    spawn_in_rooms(core);
    let (store, clock) = (core.store.clone(), clock.clone());
    every(
        lifecycle,
        "old transactions and rendezvous",
        CLEAN_UP,
        move || {
            let (store, now) = (store.clone(), clock.now_i64());
            async move {
                if let Err(error) = forget_what_is_over(&store, now).await {
                    tracing::warn!(%error, "old transactions and rendezvous could not be forgotten");
                }
            }
        },
    );
}

/// Begins what waits for work in rooms.
fn spawn_in_rooms(core: &Core) {
    let lifecycle = &core.lifecycle;
    let work = work_in_rooms(core.accounts.clone(), core.rooms.clone());
    let soft = lifecycle.soft();
    lifecycle.spawn("work in rooms", async move {
        soft.run_until_cancelled(work).await;
    });
    let (rooms, soft) = (core.rooms.clone(), lifecycle.soft());
    lifecycle.spawn("guests", async move {
        soft.run_until_cancelled(remove_guests(rooms)).await;
    });
}

/// Lets guests leave the rooms that do not want them any more: at once after a change of this
/// process, and now and then after one of a process that was stopped.
async fn remove_guests(rooms: Rooms) {
    loop {
        if let Err(error) = rooms.remove_unwanted_guests().await {
            tracing::warn!(%error, "guests could not be removed from rooms");
        }
        tokio::select! {
            () = rooms.guests_unwanted() => {}
            () = sleep(CLEAN_UP) => {}
        }
    }
}

/// Begins what is done now and then with files.
fn spawn_files(core: &Core) {
    let lifecycle = &core.lifecycle;
    let (media, scanner) = (core.media.clone(), core.scanner.clone());
    let previews = core.previews.clone();
    every(lifecycle, "media clean-up", CLEAN_UP, move || {
        let (media, scanner) = (media.clone(), scanner.clone());
        let previews = previews.clone();
        async move {
            if let Err(error) = previews.clean_up().await {
                tracing::warn!(%error, "old previews could not be forgotten");
            }
            if let Err(error) = scanner.clean_up().await {
                tracing::warn!(%error, "old verdicts could not be forgotten");
            }
            if let Err(error) = media.clean_up().await {
                tracing::warn!(%error, "media that are not used could not be deleted");
            }
        }
    });
    let (media, soft) = (core.media.clone(), lifecycle.soft());
    lifecycle.spawn("deleted media", async move {
        soft.run_until_cancelled(delete_gone_media(media)).await;
    });
}

/// Deletes the bytes of media that are gone: soon after this process has deleted them, and now and
/// then those that another one has left.
async fn delete_gone_media(media: Media) {
    loop {
        let pause = match media.delete_gone().await {
            Ok(deleted) if !deleted.has_failed => CLEAN_UP,
            Ok(_) => Media::AGAIN,
            Err(error) => {
                tracing::warn!(%error, "media that are gone could not be deleted");
                Media::AGAIN
            }
        };
        tokio::select! {
            () = media.deletions() => {}
            () = sleep(pause) => {}
        }
        // What is deleted together goes together.
        sleep(SOON).await;
    }
}

/// Tells push gateways, and tries again those that failed.
fn push(core: &Core) {
    let lifecycle = &core.lifecycle;
    let dispatch = core.push.clone().dispatch(lifecycle.soft());
    lifecycle.spawn("push", dispatch);
    let push = core.push.clone();
    every(lifecycle, "push again", Push::RETRY, move || {
        let push = push.clone();
        async move {
            if let Err(error) = push.retry().await {
                tracing::warn!(%error, "push gateways could not be tried again");
            }
        }
    });
}

/// Writes the mails about unread messages.
fn mail_unread(core: &Core) {
    let push = core.push.clone();
    every(
        &core.lifecycle,
        "mails about messages",
        Push::MAIL,
        move || {
            let push = push.clone();
            async move {
                if let Err(error) = push.mail().await {
                    tracing::warn!(%error, "mails about unread messages could not be written");
                }
            }
        },
    );
}

/// Does what accounts have to do in rooms: at once what this process has written down, and now and
/// then what others left.
async fn work_in_rooms(accounts: Accounts, rooms: Rooms) {
    loop {
        tokio::select! {
            () = accounts.work_wanted() => {}
            () = sleep(WORK) => {}
        }
        loop {
            match accounts.work(&rooms).await {
                Ok(WorkDone::Some) => {}
                Ok(WorkDone::Nothing) => break,
                Err(error) => {
                    tracing::warn!(%error, "work in rooms could not be done");
                    break;
                }
            }
        }
    }
}

/// Does `job` again and again, with a pause before each time, until a shutdown.
fn every<F>(
    lifecycle: &Lifecycle,
    name: &'static str,
    pause: Duration,
    job: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let soft = lifecycle.soft();
    lifecycle.spawn(name, async move {
        while soft.run_until_cancelled(sleep(pause)).await.is_some() {
            job().await;
        }
    });
}

/// Deletes old messages until the run is over. Between two batches others get their turn.
async fn purge(rooms: &Rooms) -> Result<(), rooms::Error> {
    let mut deleted = 0;
    loop {
        let batch = rooms.purge_batch().await?;
        deleted += batch.deleted;
        if !batch.has_more {
            break;
        }
        sleep(BETWEEN_BATCHES).await;
    }
    if deleted > 0 {
        tracing::info!(
            messages = deleted,
            "messages were deleted because of their age"
        );
    }
    Ok(())
}

/// Brings accounts that are older than the user directory into it, in small batches. Several
/// processes that do so do the same.
async fn fill_directory(accounts: Accounts) {
    let mut next = Some(UserNid(0));
    while let Some(after) = next {
        match accounts.fill_directory(after).await {
            Ok(last) => next = last,
            Err(error) => {
                tracing::warn!(%error, "the user directory could not be brought up to date");
                sleep(DIRECTORY_RETRY).await;
            }
        }
    }
}

/// Forgets old transactions, in small batches, so that nobody waits for them, and the places where
/// devices met.
async fn forget_what_is_over(store: &Store, now: i64) -> Result<(), StoreError> {
    let kept = i64::try_from(TRANSACTIONS_KEPT.as_millis()).unwrap_or(i64::MAX);
    let before = now.saturating_sub(kept);
    let mut conn = store.conn().await?;
    rendezvous::delete_expired(&mut conn, now).await?;
    while transactions::delete_old(&mut conn, before, BATCH).await? >= BATCH.unsigned_abs() {
        tokio::task::yield_now().await;
    }
    Ok(())
}
