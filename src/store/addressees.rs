//! The devices that messages are sent to, remembered.
//!
//! A device with keys is told of when it goes, by an entry of the stream about its user's device
//! list: until there is one, what was read of it is true. Devices without keys come and go in
//! silence and are read each time, and so is who all the devices of a user are.

use moka::sync::Cache;
use ruma::UserId;

use super::{
    DeviceNid, Store, StoreError, StreamPosition, UserNid,
    to_device::{self, Address, Addressee},
};

/// The most devices that are remembered; each takes some 200 bytes.
const MAX_DEVICES: u64 = 50_000;

/// Stands for all devices of a user.
pub const ALL_DEVICES: &str = "*";

/// A device as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// Its user.
    pub(super) user: UserNid,
    /// Its number.
    device: DeviceNid,
    /// No later than it was read.
    pub(super) at: StreamPosition,
}

/// What is remembered, by the id of the user and that of the device.
#[derive(Debug)]
pub(super) struct Addressees(Cache<String, Remembered>);

impl Addressees {
    pub(super) fn new() -> Self {
        Self(Cache::new(MAX_DEVICES))
    }
}

impl Store {
    /// The devices at some addresses. Those that are not there are left out, and one that several
    /// addresses name is there several times.
    pub async fn addressees(
        &self,
        addresses: &[Address<'_>],
    ) -> Result<Vec<Addressee>, StoreError> {
        let known: Vec<_> = addresses
            .iter()
            .map(|(user_id, device_id)| {
                let is_named = *device_id != ALL_DEVICES;
                let known = || self.0.addressees.0.get(&key(user_id, device_id));
                is_named.then(known).flatten()
            })
            .collect();
        let known = self.live().retain_unchanged(known);
        let mut found = Vec::with_capacity(addresses.len());
        let mut unknown = Vec::new();
        for (nth, (address, known)) in addresses.iter().zip(known).enumerate() {
            if let Some(Remembered { user, device, .. }) = known {
                found.push(Addressee { nth, user, device });
            } else {
                unknown.push((nth, *address));
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let asked: Vec<_> = unknown.iter().map(|(_, address)| *address).collect();
        let at = self.live().position();
        let mut conn = self.conn().await?;
        let read = to_device::find_devices(&mut conn, &asked).await?;
        drop(conn);
        for read in read {
            let of_unknown = usize::try_from(read.nth - 1).ok();
            let Some(&(nth, (user_id, device_id))) = of_unknown.and_then(|nth| unknown.get(nth))
            else {
                continue;
            };
            let (user, device) = (read.user, read.device);
            if read.has_keys && device_id != ALL_DEVICES {
                let remembered = Remembered { user, device, at };
                let known = &self.0.addressees.0;
                known.insert(key(user_id, device_id), remembered);
            }
            found.push(Addressee { nth, user, device });
        }
        Ok(found)
    }

    /// Takes in which device has a name, as it was just read: another one that is remembered by that
    /// name has gone, and this process has not heard of it yet.
    pub fn note_addressee(&self, (user_id, device_id): Address<'_>, device: DeviceNid) {
        let key = key(user_id, device_id);
        let known = self.0.addressees.0.get(&key);
        if known.is_some_and(|known| known.device != device) {
            self.0.addressees.0.invalidate(&key);
        }
    }
}

/// No id has a NUL: addresses with one are left out before.
fn key(user_id: &UserId, device_id: &str) -> String {
    format!("{user_id}\0{device_id}")
}
