//! Mails about messages that have waited unread for long (tchap.md, "notification"): for users with an
//! e-mail pusher, and for addresses that are still theirs. They say how many messages there are, and
//! nothing of them; a link ends them.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ruma::UserId;
use sha2::Sha256;
use url::Url;

use super::{Error, Push, badge::Badge};
use crate::{
    event::push::Rules,
    language::Language,
    mail::Unread,
    rooms::{self, Asked},
    store::{
        RoomNid, RoomPosition, UserNid, events,
        push_work::{self, MailDue},
        pushers, server_secrets, stream,
    },
};

/// Where the link of a mail leads.
const PATH: &str = "/_chappe/client/unsubscribe";
/// The name of the secret that the links are made with.
const SECRET: &str = "unsubscribe";
/// How often each user is looked at.
const LOOK_MS: i64 = 3_600_000;
/// How many users are looked at in one step.
const BATCH: i64 = 100;
/// How many events of a room are looked at for the oldest that notifies.
const LOOKED_AT: u32 = 50;

type Code = Hmac<Sha256>;

impl Push {
    /// How often [`Push::mail`] is wanted.
    pub const MAIL: Duration = Duration::from_secs(30);
    /// Where links of mails lead.
    pub const UNSUBSCRIBE: &str = PATH;

    /// Writes the mails that are due. Any process may do it: each takes other users.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mail(&self) -> Result<(), Error> {
        loop {
            let now = self.0.clock.now_i64();
            let expiry = self.0.settings.expiry.as_deref();
            let next = now.saturating_add(LOOK_MS);
            let mut conn = self.0.store.conn().await?;
            let (taken, due) =
                push_work::take_mails_due(&mut conn, now, next, expiry, BATCH).await?;
            drop(conn);
            let users: Vec<UserNid> = due.iter().map(|due| due.user).collect();
            let badges = self.badges(&users).await?;
            for due in due {
                let Some(badge) = badges.get(&due.user).filter(|badge| badge.unread > 0) else {
                    continue;
                };
                if let Err(error) = self.mail_one(&due, badge, now).await {
                    tracing::warn!(%error, "a mail about unread messages could not be written");
                }
            }
            if i64::try_from(taken).is_ok_and(|taken| taken < BATCH) {
                return Ok(());
            }
        }
    }

    /// Writes one mail, if messages have waited for long enough since the last.
    async fn mail_one(&self, due: &MailDue, badge: &Badge, now: i64) -> Result<(), Error> {
        let delay = self.0.settings.mail_delay;
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let until = self.0.store.live().position();
        let Some(oldest) = self.oldest(due, badge).await? else {
            return Ok(());
        };
        if now.saturating_sub(oldest) < delay_ms {
            return Ok(());
        }
        // Noted first: a mail too few is better than the same mail again and again.
        let mut conn = self.0.store.conn().await?;
        push_work::update_mailed(&mut conn, due.id, until).await?;
        drop(conn);
        let ids = self.0.store.user_ids(&[due.user]).await?;
        let Some(user_id) = ids.get(&due.user) else {
            return Ok(());
        };
        let unsubscribe = self.unsubscribe_link(user_id, &due.address).await?;
        let name = due.display_name.as_deref();
        let unread = Unread {
            display_name: name.unwrap_or_else(|| user_id.localpart()),
            count: u64::try_from(badge.unread).unwrap_or(0),
            after: delay,
            link: self.0.settings.web_client_url.as_ref(),
            unsubscribe: &unsubscribe,
        };
        let language = Language::asked_for(Some(&due.lang));
        let sent = self.0.mailer.send_unread(&due.address, &unread, language);
        if let Err(error) = sent.await {
            tracing::warn!(%error, "a mail about unread messages could not be written");
        }
        Ok(())
    }

    /// When the oldest unread message was sent that no mail has told of.
    async fn oldest(&self, due: &MailDue, badge: &Badge) -> Result<Option<i64>, Error> {
        let store = &self.0.store;
        let rooms: Vec<RoomNid> = badge.view.iter().map(|(room, _)| room).collect();
        let mut conn = store.conn().await?;
        let told: HashMap<RoomNid, RoomPosition> = match due.mailed_at {
            Some(at) => stream::room_positions(&mut conn, &at_once(&rooms, at))
                .await?
                .into_iter()
                .collect(),
            None => HashMap::new(),
        };
        let ranges: Vec<_> = badge
            .view
            .iter()
            .map(|(room, of_user)| {
                let told = told.get(&room).copied().unwrap_or_default();
                let read = of_user.read_position.min(of_user.threads_position);
                events::Range {
                    room,
                    first: RoomPosition(told.max(read).0 + 1),
                    last: RoomPosition(i64::MAX),
                }
            })
            .collect();
        let forward = events::Direction::Forward;
        let found = events::list(&mut conn, &ranges, forward, LOOKED_AT).await?;
        drop(conn);
        let heads: HashMap<RoomNid, _> = store
            .load_rooms(&rooms)
            .await?
            .into_iter()
            .map(|room| (room.nid(), room.head()))
            .collect();
        let ids = store.user_ids(&[due.user]).await?;
        let Some(user_id) = ids.get(&due.user) else {
            return Ok(None);
        };
        let own = badge.view.own_rules();
        let usual = std::sync::Arc::new(Rules::predefined(user_id));
        let rules = own.rules.as_ref().unwrap_or(&usual);
        let threads = rooms::threads_of(&found);
        let subscribed = self.0.rooms.subscribed(&[due.user], &threads).await?;
        let waits = found.iter().filter(|event| {
            let thread = event.thread.as_deref();
            let of_user = badge.view.get(event.room);
            let head = heads.get(&event.room);
            event.sender != due.user
                && event.redacted_by.is_none()
                && of_user.is_some_and(|of_user| {
                    event.position > of_user.read_up_to(event.thread.as_ref())
                })
                && head.is_some_and(|head| {
                    let asked = Asked {
                        event,
                        room: head.room(),
                        own,
                        user_id,
                        subscribed: subscribed.to(due.user, event.room, thread, event.position),
                    };
                    rooms::outcome(&asked, rules).notifies
                })
        });
        let times = waits.map(|event| i64::from(event.pdu.origin_server_ts().get()));
        Ok(times.min())
    }

    /// Ends the mails to an address, if the code is that of a link. `false` otherwise.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unsubscribe(&self, user: &str, address: &str, code: &str) -> Result<bool, Error> {
        if !self.is_unsubscribe_link(user, address, code).await? {
            return Ok(false);
        }
        let Ok(user_id) = UserId::parse(user) else {
            return Ok(false);
        };
        let user = self.0.store.user_number(&user_id).await?;
        let mut conn = self.0.store.conn().await?;
        pushers::delete(&mut conn, user, super::pushers::EMAIL_APP, address).await?;
        Ok(true)
    }

    /// Whether a code is that of a link.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_unsubscribe_link(
        &self,
        user: &str,
        address: &str,
        code: &str,
    ) -> Result<bool, Error> {
        let Ok(code) = URL_SAFE_NO_PAD.decode(code) else {
            return Ok(false);
        };
        let expected = self.code(user, address).await?;
        Ok(expected.is_some_and(|expected| expected.verify_slice(&code).is_ok()))
    }

    async fn unsubscribe_link(&self, user_id: &UserId, address: &str) -> Result<Url, Error> {
        let mut link = self.0.settings.public_url.clone();
        let path = format!("{}{PATH}", link.path().trim_end_matches('/'));
        link.set_path(&path);
        let code = self.code(user_id.as_str(), address).await?;
        let code = code.map(|code| URL_SAFE_NO_PAD.encode(code.finalize().into_bytes()));
        link.query_pairs_mut()
            .append_pair("user", user_id.as_str())
            .append_pair("address", address)
            .append_pair("code", code.as_deref().unwrap_or_default());
        Ok(link)
    }

    /// The code of a link, not yet finished.
    async fn code(&self, user: &str, address: &str) -> Result<Option<Code>, Error> {
        let new: [u8; 32] = self.0.random.bytes();
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        let secret = server_secrets::find_or_insert(&mut conn, SECRET, &new, now).await?;
        let code = Code::new_from_slice(&secret).ok();
        Ok(code.map(|mut code| {
            code.update(user.as_bytes());
            code.update(&[0]);
            code.update(address.as_bytes());
            code
        }))
    }
}

/// The rooms, each at the same place in the stream.
fn at_once(
    rooms: &[RoomNid],
    at: crate::store::StreamPosition,
) -> Vec<(RoomNid, crate::store::StreamPosition)> {
    rooms.iter().map(|room| (*room, at)).collect()
}
