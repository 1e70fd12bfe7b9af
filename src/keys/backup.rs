//! `/room_keys`: backups of room keys, encrypted by the client.
//!
//! Client-server API v1.19, "Server-side key backups".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        Conn, Store, UserNid,
        key_backup::{self, BackedUpKey, Backup, Selection},
    },
};

/// The largest encrypted key, and the largest `auth_data`, in bytes.
const MAX_DATA: usize = 64 << 10;
/// The longest id of a room or session, and the longest name of an algorithm, in bytes.
const MAX_ID: usize = 255;
/// The most keys of a backup.
const MAX_KEYS: i64 = 1_000_000;
/// The largest number that JSON carries safely.
const MAX_NUMBER: i64 = (1 << 53) - 1;

/// A backup to be made, or what one is to become.
#[derive(Deserialize)]
pub struct NewBackup {
    /// How its keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to know, an object.
    pub auth_data: Box<RawValue>,
}

/// A key with its session, by room.
pub type BackupKeys = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// What a backup holds after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupState {
    /// How many keys.
    pub count: i64,
    /// Changes with the keys.
    pub etag: String,
}

/// A key as clients send and get it.
#[derive(Deserialize, Serialize)]
struct KeyData {
    first_message_index: i64,
    forwarded_count: i64,
    is_verified: bool,
    session_data: Box<RawValue>,
}

const UNKNOWN: Error = Error::NotFound("there is no such backup");

impl Keys {
    /// Makes a backup, which takes new keys from now on. Gives its version.
    pub async fn create_backup(&self, actor: &Actor, new: &NewBackup) -> Result<String, Error> {
        check_new(new)?;
        let mut tx = self.0.store.begin().await?;
        crate::store::cross_signing::lock(&mut tx, actor.user).await?;
        let version =
            key_backup::insert(&mut tx, actor.user, &new.algorithm, new.auth_data.get()).await?;
        Store::commit(tx).await?;
        Ok(version.to_string())
    }

    /// A backup: the one with this version, or the newest.
    pub async fn backup(&self, actor: &Actor, version: Option<&str>) -> Result<Backup, Error> {
        let mut conn = self.0.store.conn().await?;
        find(&mut conn, actor.user, version).await
    }

    /// Replaces the `auth_data` of a backup. `inner` is the version that the body names.
    pub async fn update_backup(
        &self,
        actor: &Actor,
        version: &str,
        new: &NewBackup,
        inner: Option<&str>,
    ) -> Result<(), Error> {
        check_new(new)?;
        if inner.is_some_and(|inner| inner != version) {
            return Err(Error::Invalid("the versions differ"));
        }
        let mut tx = self.0.store.begin().await?;
        let number = parse(version).ok_or(UNKNOWN)?;
        let backup = key_backup::lock(&mut tx, actor.user, Some(number)).await?;
        let backup = backup.ok_or(UNKNOWN)?;
        if backup.algorithm != new.algorithm {
            return Err(Error::Invalid("the algorithm does not match"));
        }
        key_backup::update_auth_data(&mut tx, backup.backup, new.auth_data.get()).await?;
        Store::commit(tx).await?;
        Ok(())
    }

    /// Deletes a backup with its keys. One that was deleted before is a success.
    pub async fn delete_backup(&self, actor: &Actor, version: &str) -> Result<(), Error> {
        let number = parse(version).ok_or(UNKNOWN)?;
        let mut tx = self.0.store.begin().await?;
        if let Some(backup) = key_backup::lock(&mut tx, actor.user, Some(number)).await? {
            key_backup::delete(&mut tx, backup.backup).await?;
            Store::commit(tx).await?;
            return Ok(());
        }
        if key_backup::existed(&mut tx, actor.user, number).await? {
            return Ok(());
        }
        Err(UNKNOWN)
    }

    /// Puts keys into the newest backup, which must have this version.
    ///
    /// # Errors
    /// [`Error::WrongBackup`] otherwise, and [`Error::NotFound`] without any backup.
    pub async fn back_up(
        &self,
        actor: &Actor,
        version: &str,
        keys: &BackupKeys,
    ) -> Result<BackupState, Error> {
        let mut rows = Vec::new();
        for (room_id, sessions) in keys {
            for (session_id, key) in sessions {
                rows.push(row(room_id, session_id, key)?);
            }
        }
        let mut tx = self.0.store.begin().await?;
        // A backup that is made now waits for this lock, and this for it.
        crate::store::cross_signing::lock(&mut tx, actor.user).await?;
        let current = key_backup::lock(&mut tx, actor.user, None).await?;
        let current = current.ok_or(UNKNOWN)?;
        if parse(version) != Some(current.version) {
            return Err(Error::WrongBackup {
                current: current.version,
            });
        }
        let (count, etag) = key_backup::upsert_keys(&mut tx, current.backup, &rows).await?;
        if count > MAX_KEYS {
            return Err(Error::TooLarge("the backup has too many keys"));
        }
        Store::commit(tx).await?;
        Ok(state(count, etag))
    }

    /// Keys of a backup, as JSON: `{"rooms":…}` for all, `{"sessions":…}` for those of a room.
    pub async fn backed_up(
        &self,
        actor: &Actor,
        version: &str,
        room_id: Option<&str>,
    ) -> Result<String, Error> {
        let mut conn = self.0.store.conn().await?;
        let backup = find(&mut conn, actor.user, Some(version)).await?;
        let which = Selection {
            room_id: room_id.filter(|id| !id.contains('\0')),
            session_id: None,
        };
        let keys = key_backup::list_keys(&mut conn, backup.backup, which).await?;
        drop(conn);
        let mut rooms: BTreeMap<&str, String> = BTreeMap::new();
        for key in &keys {
            let sessions = rooms.entry(&key.room_id).or_default();
            if !sessions.is_empty() {
                sessions.push(',');
            }
            sessions.push_str(&quoted(&key.session_id));
            sessions.push(':');
            sessions.push_str(&write(key));
        }
        if room_id.is_some() {
            let sessions = rooms.into_values().next().unwrap_or_default();
            return Ok(format!("{{\"sessions\":{{{sessions}}}}}"));
        }
        let rooms = rooms.into_iter().map(|(room_id, sessions)| {
            format!("{}:{{\"sessions\":{{{sessions}}}}}", quoted(room_id))
        });
        let rooms: Vec<_> = rooms.collect();
        Ok(format!("{{\"rooms\":{{{}}}}}", rooms.join(",")))
    }

    /// One key of a backup, as JSON.
    pub async fn backed_up_session(
        &self,
        actor: &Actor,
        version: &str,
        room_id: &str,
        session_id: &str,
    ) -> Result<String, Error> {
        const NO_KEY: Error = Error::NotFound("there is no such key");
        if room_id.contains('\0') || session_id.contains('\0') {
            return Err(NO_KEY);
        }
        let mut conn = self.0.store.conn().await?;
        let backup = find(&mut conn, actor.user, Some(version)).await?;
        let key = key_backup::find_key(&mut conn, backup.backup, room_id, session_id).await?;
        Ok(write(&key.ok_or(NO_KEY)?))
    }

    /// Deletes keys of a backup.
    pub async fn delete_backed_up(
        &self,
        actor: &Actor,
        version: &str,
        which: Selection<'_>,
    ) -> Result<BackupState, Error> {
        let number = parse(version).ok_or(UNKNOWN)?;
        let mut tx = self.0.store.begin().await?;
        let backup = key_backup::lock(&mut tx, actor.user, Some(number)).await?;
        let backup = backup.ok_or(UNKNOWN)?;
        let ids = [which.room_id, which.session_id];
        if ids.into_iter().flatten().any(|id| id.contains('\0')) {
            return Ok(state(backup.count, backup.etag));
        }
        let (count, etag) = key_backup::delete_keys(&mut tx, backup.backup, which).await?;
        Store::commit(tx).await?;
        Ok(state(count, etag))
    }
}

async fn find(conn: &mut Conn, user: UserNid, version: Option<&str>) -> Result<Backup, Error> {
    let number = match version {
        Some(version) => Some(parse(version).ok_or(UNKNOWN)?),
        None => None,
    };
    key_backup::find(conn, user, number).await?.ok_or(UNKNOWN)
}

/// A version's number. No other text is the same version.
fn parse(version: &str) -> Option<i64> {
    let number: i64 = version.parse().ok()?;
    (number > 0 && number.to_string() == version).then_some(number)
}

fn state(count: i64, etag: i64) -> BackupState {
    BackupState {
        count,
        etag: etag.to_string(),
    }
}

fn check_new(new: &NewBackup) -> Result<(), Error> {
    if new.algorithm.is_empty()
        || new.algorithm.len() > MAX_ID
        || new.algorithm.chars().any(char::is_control)
    {
        return Err(Error::Invalid("the name of the algorithm cannot be used"));
    }
    check_object(&new.auth_data)
}

fn check_object(data: &RawValue) -> Result<(), Error> {
    if !data.get().trim_start().starts_with('{') {
        return Err(Error::BadJson("an object is needed"));
    }
    if data.get().len() > MAX_DATA {
        return Err(Error::TooLarge("the data is too large"));
    }
    Ok(())
}

fn row(room_id: &str, session_id: &str, key: &RawValue) -> Result<BackedUpKey, Error> {
    let is_usable =
        |id: &str| !id.is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control);
    if !is_usable(room_id) || !is_usable(session_id) {
        return Err(Error::Invalid("the id of a room or session cannot be used"));
    }
    let data: KeyData = serde_json::from_str(key.get())
        .map_err(|_| Error::BadJson("a key lacks something, or has a wrong type"))?;
    check_object(&data.session_data)?;
    let is_number = |number: i64| (0..=MAX_NUMBER).contains(&number);
    if !is_number(data.first_message_index) || !is_number(data.forwarded_count) {
        return Err(Error::BadJson("a number is out of range"));
    }
    Ok(BackedUpKey {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        first_message_index: data.first_message_index,
        forwarded_count: data.forwarded_count,
        is_verified: data.is_verified,
        session_data: data.session_data.get().to_owned(),
    })
}

fn write(key: &BackedUpKey) -> String {
    format!(
        "{{\"first_message_index\":{},\"forwarded_count\":{},\"is_verified\":{},\"session_data\":{}}}",
        key.first_message_index, key.forwarded_count, key.is_verified, key.session_data,
    )
}

fn quoted(text: &str) -> String {
    // Strings always have a JSON form.
    serde_json::to_string(text).unwrap_or_default()
}
