//! `/sendToDevice`: messages to devices.
//!
//! All messages of a request are one write: they come together, once for each transaction id, on
//! whatever process the request arrives.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ruma::OwnedUserId;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        ALL_DEVICES, DeviceNid, UserNid,
        journal::{SendTransaction, SendWrite, ToDeviceRecipient, Write},
    },
};

/// The most messages of a request, where `*` counts as one.
const MAX_MESSAGES: usize = 5_000;
/// The most messages that a request comes to, once every `*` stands for devices.
const MAX_WRITTEN: usize = 20_000;
/// The largest content, in bytes.
const MAX_CONTENT: usize = 64 << 10;
/// The longest type, in bytes.
const MAX_TYPE: usize = 255;

/// Contents by user and device.
pub type Messages = BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>;

impl Keys {
    /// Sends messages to devices. Devices that are not there, or that the actor may not know of,
    /// get nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Invalid`] and [`Error::BadJson`].
    pub async fn send_to_device(
        &self,
        actor: &Actor,
        event_type: &str,
        transaction_id: &str,
        messages: &Messages,
    ) -> Result<(), Error> {
        check(event_type, messages)?;
        let user_ids = messages.keys().map(|user_id| &**user_id);
        let known = if self.0.policy.load().shows_all_profiles() {
            None
        } else {
            Some(self.known_users(actor, user_ids).await?)
        };
        let wanted: Vec<_> = messages
            .iter()
            .filter(|(user_id, _)| match &known {
                Some(known) => known.contains_key(*user_id),
                None => self.is_local(user_id),
            })
            .flat_map(|(user_id, contents)| {
                contents
                    .iter()
                    .map(move |(device_id, content)| (&**user_id, device_id.as_str(), content))
            })
            .filter(|(_, device_id, _)| !device_id.contains('\0'))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let addresses: Vec<_> = wanted
            .iter()
            .map(|(user_id, device_id, _)| (*user_id, *device_id))
            .collect();
        let mut found = self.0.store.addressees(&addresses).await?;
        if found.len() > MAX_WRITTEN {
            return Err(Error::TooLarge("too many devices at once"));
        }
        // A device that is named gets what is for it, and not what is for all.
        found.sort_unstable_by_key(|one| {
            let is_for_all = addresses
                .get(one.nth)
                .is_some_and(|(_, id)| *id == ALL_DEVICES);
            (one.user, is_for_all, one.device)
        });
        let contents: Vec<Arc<str>> = wanted
            .iter()
            .map(|(_, _, content)| event(actor, event_type, content).into())
            .collect();
        let mut recipients: BTreeMap<UserNid, Vec<(DeviceNid, Arc<str>)>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for one in found {
            if let Some(content) = contents.get(one.nth)
                && seen.insert(one.device)
            {
                let of_user = recipients.entry(one.user).or_default();
                of_user.push((one.device, Arc::clone(content)));
            }
        }
        let recipients = recipients
            .into_iter()
            .map(|(user, messages)| ToDeviceRecipient { user, messages });
        let write = Write {
            to_device: Some(SendWrite {
                transaction: self.transaction(actor, event_type, transaction_id),
                recipients: recipients.collect(),
            }),
            ..Write::default()
        };
        self.0.store.journal().write(write).await?;
        Ok(())
    }

    fn transaction(
        &self,
        actor: &Actor,
        event_type: &str,
        transaction_id: &str,
    ) -> Option<SendTransaction> {
        let mut digest = Sha256::new();
        // No room has this name: these ids are apart from those of room events.
        for part in ["sendToDevice", event_type, transaction_id] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        Some(SendTransaction {
            device: actor.device?,
            key,
            at: self.0.clock.now_i64(),
        })
    }
}

fn check(event_type: &str, messages: &Messages) -> Result<(), Error> {
    if event_type.is_empty()
        || event_type.len() > MAX_TYPE
        || event_type.chars().any(char::is_control)
    {
        return Err(Error::Invalid("the type cannot be used"));
    }
    let contents = || messages.values().flat_map(BTreeMap::values);
    if contents().count() > MAX_MESSAGES {
        return Err(Error::TooLarge("too many messages at once"));
    }
    for content in contents() {
        let text = content.get();
        if !text.trim_start().starts_with('{') {
            return Err(Error::BadJson("the content of a message is an object"));
        }
        if text.len() > MAX_CONTENT {
            return Err(Error::TooLarge("a message is too large"));
        }
    }
    Ok(())
}

/// The event as the device gets it.
fn event(actor: &Actor, event_type: &str, content: &RawValue) -> String {
    // Strings always have a JSON form.
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    format!(
        "{{\"content\":{},\"sender\":{},\"type\":{}}}",
        content.get(),
        quoted(actor.user_id.as_str()),
        quoted(event_type),
    )
}
