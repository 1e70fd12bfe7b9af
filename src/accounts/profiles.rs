//! What people show of themselves. Rooms copy it: what a change means there is written down with it.
//!
//! Specification v1.19, client-server API, "Profiles"; tchap.md 2.5.

use std::collections::HashSet;

use ruma::{
    OwnedMxcUri, UserId,
    profile::{ProfileFieldName, ProfileFieldValue},
};

use super::{Accounts, Error, Requester, has_control_characters};
use crate::store::{
    Membership, RoomNid, Store, UserNid,
    account_work::WorkKind,
    accounts,
    profiles::{self, Profile},
};

/// The longest display name, in characters.
const MAX_DISPLAY_NAME: usize = 256;
/// The longest avatar URL, in bytes.
const MAX_AVATAR_URL: usize = 1000;
/// The longest name of another field, in bytes ("Profiles", v1.19).
const MAX_FIELD_NAME: usize = 255;
/// The field with the time zone.
const TIME_ZONE: &str = "m.tz";
/// The longest name of a time zone, in bytes.
const MAX_TIME_ZONE: usize = 64;
/// How long all other fields may be together, in bytes: the limit of a whole profile less what
/// name and avatar may take.
const MAX_FIELDS: i32 = 60_000;

/// A profile that was changed.
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// Whose it is.
    pub user: UserNid,
    /// What it is now.
    pub profile: Profile,
    /// Whether name or avatar are not what they were, so that rooms must hear of it: see
    /// [`Accounts::begin_work`].
    pub is_seen_in_rooms: bool,
}

impl Accounts {
    /// The profile of a user of this server.
    pub async fn profile(&self, user_id: &UserId) -> Result<Profile, Error> {
        if has_control_characters(user_id.as_str()) {
            return Err(Error::NotFound("no such user on this server"));
        }
        let account = self.open_account(user_id).await?;
        let mut conn = self.0.store.conn().await?;
        Ok(profiles::find(&mut conn, account.user).await?)
    }

    /// Whether everybody may see every profile.
    pub fn shows_all_profiles(&self) -> bool {
        self.0.policy.load().shows_all_profiles()
    }

    /// Whether the requester may see a profile: their own, that of somebody with whom they share a
    /// room, and every profile for an administrator.
    ///
    /// # Errors
    /// [`Error::Denied`], also where there is no such user.
    pub async fn may_see_profile(
        &self,
        requester: &Requester,
        owner: &UserId,
    ) -> Result<(), Error> {
        let is_known = requester.is_admin()
            || requester.user_id() == owner
            || self.shares_room(requester, owner).await?;
        let policy = self.0.policy.load();
        Ok(policy.may_see_profile(is_known).into_result()?)
    }

    async fn shares_room(&self, requester: &Requester, owner: &UserId) -> Result<bool, Error> {
        let owner = {
            let mut conn = self.0.store.conn().await?;
            accounts::find(&mut conn, owner).await?
        };
        let Some(owner) = owner else { return Ok(false) };
        let mine = self.joined_rooms(requester.user()).await?;
        let theirs = self.joined_rooms(owner.user).await?;
        Ok(!mine.is_disjoint(&theirs))
    }

    async fn joined_rooms(&self, user: UserNid) -> Result<HashSet<RoomNid>, Error> {
        let store = &self.0.store;
        store.load_user(user).await?;
        let rooms = store.live().rooms_of(user);
        let joined = rooms.map(|(_, rooms)| rooms.with(Membership::Join).collect());
        Ok(joined.unwrap_or_default())
    }

    /// Sets a field of the requester's own profile; an administrator sets anybody's.
    pub async fn set_profile_field(
        &self,
        requester: &Requester,
        user_id: &UserId,
        value: &ProfileFieldValue,
    ) -> Result<ProfileChange, Error> {
        let user = self.profile_owner(requester, user_id).await?;
        match value {
            ProfileFieldValue::DisplayName(name) => {
                // An empty name is none ("Profiles").
                let name = Some(name.trim()).filter(|name| !name.is_empty());
                self.set_display_name(requester, user, name).await
            }
            ProfileFieldValue::AvatarUrl(url) => {
                let url = Some(url).filter(|url| !url.as_str().is_empty());
                self.set_avatar(requester, user, url).await
            }
            other => {
                let name = other.field_name();
                let value = other.value();
                self.set_other_field(user, name.as_str(), Some(&value))
                    .await
            }
        }
    }

    /// Removes a field of the requester's own profile; an administrator removes anybody's.
    pub async fn delete_profile_field(
        &self,
        requester: &Requester,
        user_id: &UserId,
        field: &ProfileFieldName,
    ) -> Result<ProfileChange, Error> {
        let user = self.profile_owner(requester, user_id).await?;
        match field {
            ProfileFieldName::DisplayName => self.set_display_name(requester, user, None).await,
            ProfileFieldName::AvatarUrl => self.set_avatar(requester, user, None).await,
            other => self.set_other_field(user, other.as_str(), None).await,
        }
    }

    async fn profile_owner(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<UserNid, Error> {
        if user_id == requester.user_id() {
            return Ok(requester.user());
        }
        if !requester.is_admin() {
            return Err(Error::Forbidden("this is the profile of somebody else"));
        }
        if has_control_characters(user_id.as_str()) {
            return Err(Error::NotFound("no such user on this server"));
        }
        let mut conn = self.0.store.conn().await?;
        accounts::find(&mut conn, user_id)
            .await?
            .filter(|account| !account.is_deactivated)
            .map(|account| account.user)
            .ok_or(Error::NotFound("no such user on this server"))
    }

    async fn set_display_name(
        &self,
        requester: &Requester,
        user: UserNid,
        name: Option<&str>,
    ) -> Result<ProfileChange, Error> {
        if name.is_some_and(|name| {
            name.chars().count() > MAX_DISPLAY_NAME || has_control_characters(name)
        }) {
            return Err(Error::InvalidParam("the display name cannot be used"));
        }
        let mut conn = self.0.store.conn().await?;
        let mut profile = profiles::find(&mut conn, user).await?;
        drop(conn);
        let is_seen_in_rooms = profile.display_name.as_deref() != name;
        if is_seen_in_rooms {
            let first_time = profile.display_name.is_none();
            let policy = self.0.policy.load();
            policy
                .may_set_display_name(first_time, names_itself(requester))
                .into_result()?;
            drop(policy);
            let mut tx = self.0.store.begin().await?;
            profiles::update_display_name(&mut tx, user, name).await?;
            self.ask_for_work(&mut tx, user, WorkKind::ShowProfile)
                .await?;
            Store::commit(tx).await?;
            profile.display_name = name.map(str::to_owned);
        }
        Ok(ProfileChange {
            user,
            profile,
            is_seen_in_rooms,
        })
    }

    async fn set_avatar(
        &self,
        requester: &Requester,
        user: UserNid,
        url: Option<&OwnedMxcUri>,
    ) -> Result<ProfileChange, Error> {
        if url.is_some_and(|url| url.as_str().len() > MAX_AVATAR_URL || url.parts().is_err()) {
            return Err(Error::InvalidParam("the avatar is not an mxc: URI"));
        }
        let mut conn = self.0.store.conn().await?;
        let mut profile = profiles::find(&mut conn, user).await?;
        drop(conn);
        let is_seen_in_rooms = profile.avatar_url.as_ref() != url;
        if is_seen_in_rooms {
            let policy = self.0.policy.load();
            policy
                .may_set_avatar(names_itself(requester))
                .into_result()?;
            drop(policy);
            let text = url.map(|url| url.as_str());
            let mut tx = self.0.store.begin().await?;
            profiles::update_avatar_url(&mut tx, user, text).await?;
            self.ask_for_work(&mut tx, user, WorkKind::ShowProfile)
                .await?;
            Store::commit(tx).await?;
            profile.avatar_url = url.cloned();
        }
        Ok(ProfileChange {
            user,
            profile,
            is_seen_in_rooms,
        })
    }

    async fn set_other_field(
        &self,
        user: UserNid,
        field: &str,
        value: Option<&serde_json::Value>,
    ) -> Result<ProfileChange, Error> {
        if field.len() > MAX_FIELD_NAME {
            return Err(Error::KeyTooLarge);
        }
        // What was set under another name before the grammar was asked for can be removed.
        let is_usable = match value {
            Some(_) => is_field_name(field),
            None => !field.is_empty() && !has_control_characters(field),
        };
        if !is_usable {
            return Err(Error::InvalidParam("the field's name cannot be used"));
        }
        if let Some(value) = value
            && field == TIME_ZONE
            && !value.as_str().is_some_and(is_time_zone)
        {
            return Err(Error::InvalidParam("this is not the name of a time zone"));
        }
        let mut conn = self.0.store.conn().await?;
        match value {
            Some(value) => {
                let text = value.to_string();
                // JSONB keeps no NUL.
                if text.contains("\\u0000") {
                    return Err(Error::InvalidParam("the field's value has a NUL"));
                }
                let is_short = i32::try_from(text.len()).is_ok_and(|length| length <= MAX_FIELDS);
                if !is_short
                    || !profiles::update_field(&mut conn, user, field, value, MAX_FIELDS).await?
                {
                    return Err(Error::ProfileTooLarge);
                }
            }
            None => profiles::delete_field(&mut conn, user, field).await?,
        }
        Ok(ProfileChange {
            user,
            profile: profiles::find(&mut conn, user).await?,
            is_seen_in_rooms: false,
        })
    }
}

/// Whether a field may have this name: "Common Namespaced Identifier Grammar" (v1.19, appendices),
/// with a namespace.
fn is_field_name(name: &str) -> bool {
    let is_usable =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_usable)
        && name.contains('.')
        && !name.ends_with('.')
        && !name.contains("..")
}

/// Whether this looks like a name of the IANA Time Zone Database. There are new ones every year, so
/// that they are not listed here.
fn is_time_zone(name: &str) -> bool {
    let is_usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= MAX_TIME_ZONE
        && name.bytes().all(is_usable)
}

/// Whether a name that is fixed for people can be changed: by administrators, and by application
/// services, whose users have the names of those whom they stand for.
fn names_itself(requester: &Requester) -> bool {
    requester.is_admin() || requester.service().is_some()
}

#[cfg(test)]
mod tests {
    use super::{is_field_name, is_time_zone};

    #[test]
    fn fields_have_names_with_a_namespace() {
        let cases = [
            ("m.tz", true),
            ("org.example.language", true),
            ("a-b.c_d.e9", true),
            ("language", false),
            ("", false),
            (".a", false),
            ("a.", false),
            ("a..b", false),
            ("9a.b", false),
            ("Org.example", false),
            ("org.example é", false),
            ("org.exa mple", false),
            ("org.\0", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_field_name(name), expected, "{name}");
        }
    }

    #[test]
    fn time_zones_look_like_those_of_the_database() {
        let cases = [
            ("Europe/Paris", true),
            ("America/Argentina/Buenos_Aires", true),
            ("Etc/GMT+5", true),
            ("UTC", true),
            ("", false),
            ("+02:00", false),
            ("Europe/Paris ", false),
            ("Európa/Budapest", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_time_zone(name), expected, "{name}");
        }
    }
}
