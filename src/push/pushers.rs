//! `/pushers`: whom to tell.

use ruma::{
    api::client::push::{
        EmailPusherData, Pusher, PusherIds, PusherInit, PusherKind, set_pusher::v3::PusherPostData,
    },
    push::HttpPusherData,
};
use serde_json::{Map, Value};
use url::Url;

use super::{Error, Push};
use crate::{
    rooms::Actor,
    store::{Store, pushers, threepids},
};

/// The most pushers of a user.
const MAX_PUSHERS: i64 = 100;
/// The longest pushkey, in bytes.
const MAX_PUSHKEY: usize = 512;
/// The longest id of an application, in letters.
const MAX_APP_ID: usize = 64;
/// The longest of the other texts, in bytes.
const MAX_TEXT: usize = 1_000;
/// The longest data, in bytes.
const MAX_DATA: usize = 16_384;
/// Where a gateway is on its host.
const GATEWAY_PATH: &str = "/_matrix/push/v1/notify";
/// The application of e-mail pushers.
pub(super) const EMAIL_APP: &str = "m.email";

impl Push {
    /// A user's pushers.
    pub async fn pushers(&self, actor: &Actor) -> Result<Vec<Pusher>, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = pushers::list(&mut conn, &[actor.user]).await?;
        Ok(found.into_iter().filter_map(shown).collect())
    }

    /// Sets a pusher.
    ///
    /// # Errors
    /// [`Error::Invalid`], and [`Error::UnknownAddress`] for an e-mail pusher to somebody else.
    pub async fn set_pusher(&self, actor: &Actor, post: &PusherPostData) -> Result<(), Error> {
        let pusher = &post.pusher;
        let ids = &pusher.ids;
        let texts = [
            &pusher.app_display_name,
            &pusher.device_display_name,
            &pusher.lang,
            pusher.profile_tag.as_ref().unwrap_or(&ids.app_id),
        ];
        check_ids(ids)?;
        if texts
            .iter()
            .any(|text| text.len() > MAX_TEXT || text.contains('\0'))
        {
            return Err(Error::Invalid("a name is too long, or not a text"));
        }
        let (kind, data) = match &pusher.kind {
            PusherKind::Http(data) => (pushers::HTTP, self.http_data(data)?),
            PusherKind::Email(EmailPusherData { data, .. }) => {
                if ids.app_id != EMAIL_APP {
                    return Err(Error::Invalid("the app_id of an e-mail pusher is m.email"));
                }
                (pushers::EMAIL, Value::Object(data.clone()).to_string())
            }
            _ => return Err(Error::Invalid("there is no such kind of pusher")),
        };
        if data.len() > MAX_DATA || data.contains("\\u0000") {
            return Err(Error::Invalid("the data is too long, or not a text"));
        }
        let mut tx = self.0.store.begin().await?;
        if kind == pushers::EMAIL {
            let own = threepids::list(&mut tx, actor.user).await?;
            if !own
                .iter()
                .any(|own| own.address.eq_ignore_ascii_case(&ids.pushkey))
            {
                return Err(Error::UnknownAddress);
            }
        }
        if !post.append {
            pushers::delete_of_others(&mut tx, actor.user, &ids.app_id, &ids.pushkey).await?;
        }
        let new = pushers::NewPusher {
            user: actor.user,
            device: actor.device.filter(|_| kind == pushers::HTTP),
            kind,
            app_id: &ids.app_id,
            pushkey: &ids.pushkey,
            app_display_name: &pusher.app_display_name,
            device_display_name: &pusher.device_display_name,
            profile_tag: pusher.profile_tag.as_deref(),
            lang: &pusher.lang,
            data: &data,
            set_ms: self.0.clock.now_i64(),
        };
        if !pushers::upsert(&mut tx, new, MAX_PUSHERS).await? {
            return Err(Error::Invalid("there are too many pushers"));
        }
        Store::commit(tx).await?;
        Ok(())
    }

    /// Removes a pusher, if there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for ids that no pusher has.
    pub async fn delete_pusher(&self, actor: &Actor, ids: &PusherIds) -> Result<(), Error> {
        check_ids(ids)?;
        let mut conn = self.0.store.conn().await?;
        pushers::delete(&mut conn, actor.user, &ids.app_id, &ids.pushkey).await?;
        Ok(())
    }

    /// Checks where a gateway is, and gives the data as it is kept.
    fn http_data(&self, data: &HttpPusherData) -> Result<String, Error> {
        let url = Url::parse(&data.url).map_err(|_| Error::Invalid("url is not a URL"))?;
        let is_safe = url.scheme() == "https" || self.0.settings.allow_http;
        if !is_safe || self.0.outbound.check(&url).is_err() {
            return Err(Error::Invalid(
                "url is not an HTTPS URL of a host that may be reached",
            ));
        }
        if url.path() != GATEWAY_PATH {
            return Err(Error::Invalid(
                "the path of url is not that of a push gateway",
            ));
        }
        serde_json::to_string(data).map_err(|_| Error::Invalid("the data cannot be kept"))
    }
}

fn check_ids(ids: &PusherIds) -> Result<(), Error> {
    let is_text = |text: &str| !text.is_empty() && !text.contains('\0');
    if ids.pushkey.len() > MAX_PUSHKEY || !is_text(&ids.pushkey) {
        return Err(Error::Invalid("pushkey has 1 to 512 bytes"));
    }
    if ids.app_id.chars().count() > MAX_APP_ID || !is_text(&ids.app_id) {
        return Err(Error::Invalid("app_id has 1 to 64 letters"));
    }
    Ok(())
}

/// A pusher as its user sees it.
fn shown(pusher: pushers::Pusher) -> Option<Pusher> {
    let kind = if pusher.kind == pushers::HTTP {
        PusherKind::Http(serde_json::from_str(&pusher.data).ok()?)
    } else {
        let data: Map<String, Value> = serde_json::from_str(&pusher.data).ok()?;
        let mut email = EmailPusherData::new();
        email.data = data;
        PusherKind::Email(email)
    };
    let init = PusherInit {
        ids: PusherIds::new(pusher.pushkey, pusher.app_id),
        kind,
        app_display_name: pusher.app_display_name,
        device_display_name: pusher.device_display_name,
        profile_tag: pusher.profile_tag,
        lang: pusher.lang,
    };
    Some(init.into())
}
