//! Dehydrated devices: a device without a session collects messages for a user who is logged in
//! nowhere (MSC3814, unstable).

use ruma::OwnedDeviceId;

use super::{Error, Keys, ToDevice, Upload};
use crate::{
    rooms::Actor,
    store::{Store, StreamPosition, cross_signing, dehydrated_devices, devices},
};

/// The largest encrypted device, in bytes.
const MAX_DATA: usize = 64 << 10;
/// The longest name of a device, in bytes.
const MAX_NAME: usize = 256;

/// A dehydrated device as it is found.
pub type Dehydrated = dehydrated_devices::DehydratedDevice;

/// A dehydrated device to be made.
#[derive(Clone, Debug)]
pub struct NewDehydrated {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its name.
    pub display_name: Option<String>,
    /// Its private keys, encrypted by the client: an object with an `algorithm`.
    pub device_data: String,
    /// Its public keys.
    pub keys: Upload,
}

impl Keys {
    /// Makes a dehydrated device, in the place of the one that there was.
    ///
    /// # Errors
    /// What [`super::check`] finds; [`Error::Forbidden`] for the id of a device with a session.
    pub async fn dehydrate(&self, actor: &Actor, new: NewDehydrated) -> Result<(), Error> {
        let device_id = new.device_id.as_str();
        if device_id.is_empty() || device_id.len() > 255 || device_id.chars().any(char::is_control)
        {
            return Err(Error::Invalid("the device id cannot be used"));
        }
        let name = new.display_name.as_deref();
        if name.is_some_and(|name| name.len() > MAX_NAME || name.chars().any(char::is_control)) {
            return Err(Error::Invalid("the device's name cannot be used"));
        }
        if new.device_data.len() > MAX_DATA {
            return Err(Error::TooLarge("the device data is too large"));
        }
        if new.keys.device_keys.is_none() {
            return Err(Error::Missing("a dehydrated device has device keys"));
        }
        let mut tx = self.0.store.begin().await?;
        cross_signing::lock(&mut tx, actor.user).await?;
        dehydrated_devices::delete(&mut tx, actor.user).await?;
        if devices::find(&mut tx, actor.user, &new.device_id)
            .await?
            .is_some()
        {
            return Err(Error::Forbidden("another device has this id"));
        }
        let now_ms = self.0.clock.now_i64();
        let device = devices::upsert(&mut tx, actor.user, &new.device_id, name, now_ms).await?;
        dehydrated_devices::insert(&mut tx, actor.user, device, &new.device_data).await?;
        self.write_upload(&mut tx, actor, (device, device_id), new.keys)
            .await?;
        Store::commit(tx).await?;
        self.0.store.announce_device_lists(&[actor.user]).await?;
        Ok(())
    }

    /// The user's dehydrated device.
    pub async fn dehydrated(&self, actor: &Actor) -> Result<Dehydrated, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = dehydrated_devices::find(&mut conn, actor.user).await?;
        found.ok_or(NONE)
    }

    /// Deletes the user's dehydrated device. Gives its id.
    pub async fn delete_dehydrated(&self, actor: &Actor) -> Result<OwnedDeviceId, Error> {
        let mut tx = self.0.store.begin().await?;
        let deleted = dehydrated_devices::delete(&mut tx, actor.user).await?;
        let deleted = deleted.ok_or(NONE)?;
        Store::commit(tx).await?;
        self.0.store.announce_device_lists(&[actor.user]).await?;
        Ok(deleted)
    }

    /// The messages for the dehydrated device after a position. Reading deletes none of them: should
    /// the client not come to its end, another one begins again. The second value says whether there
    /// are more.
    pub async fn dehydrated_messages(
        &self,
        actor: &Actor,
        device_id: &str,
        since: Option<&str>,
    ) -> Result<(ToDevice, bool), Error> {
        let since = match since {
            None => StreamPosition::default(),
            Some(text) => text
                .strip_prefix('d')
                .and_then(|number| number.parse().ok())
                .filter(|number| *number >= 0)
                .map(StreamPosition)
                .ok_or(Error::Invalid("not a token of this endpoint"))?,
        };
        let mut conn = self.0.store.conn().await?;
        let device = dehydrated_devices::find(&mut conn, actor.user).await?;
        let device = device
            .filter(|device| device.device_id == device_id)
            .ok_or(Error::Forbidden("this is not the dehydrated device"))?;
        let until = self.0.store.live().position().max(since);
        let batch = self
            .read_messages(&mut conn, device.device, since, until)
            .await?;
        let has_more = batch.until < until;
        Ok((batch, has_more))
    }
}

const NONE: Error = Error::NotFound("there is no dehydrated device");
