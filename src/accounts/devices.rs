//! Devices of an account.
//!
//! Specification v1.19, client-server API, "Device Management".

use std::net::IpAddr;

use ruma::{
    DeviceId, OwnedDeviceId,
    api::client::uiaa::{AuthData, AuthType},
};

use super::{
    Accounts, Error, Requester, check_device, interactive_auth::Operation, sessions::MAX_DEVICES,
};
use crate::store::{
    Store,
    devices::{self, Device},
    interactive_auth::Results,
    threepids::Purpose,
};

/// How many devices are deleted with one request.
const MAX_DELETED: usize = 1000;

impl Accounts {
    /// The requester's devices.
    pub async fn devices(&self, requester: &Requester) -> Result<Vec<Device>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(devices::list(&mut conn, requester.user()).await?)
    }

    /// One of the requester's devices.
    pub async fn device(
        &self,
        requester: &Requester,
        device_id: &DeviceId,
    ) -> Result<Device, Error> {
        check_device(Some(device_id.as_str()), None).map_err(|_| no_such_device())?;
        let mut conn = self.0.store.conn().await?;
        devices::find(&mut conn, requester.user(), device_id)
            .await?
            .ok_or_else(no_such_device)
    }

    /// Renames one of the requester's devices. Without a name it stays as it is. For an application
    /// service the device is made if it is not there: `true` says that it was.
    pub async fn rename_device(
        &self,
        requester: &Requester,
        device_id: &DeviceId,
        name: Option<&str>,
    ) -> Result<bool, Error> {
        check_device(None, name)?;
        if requester.service().is_some() {
            check_device(Some(device_id.as_str()), None)?;
            if self.make_device(requester, device_id, name).await? {
                return Ok(true);
            }
        }
        let Some(name) = name else {
            return self.device(requester, device_id).await.map(|_| false);
        };
        check_device(Some(device_id.as_str()), None).map_err(|_| no_such_device())?;
        let mut conn = self.0.store.conn().await?;
        let user = requester.user();
        if !devices::update_display_name(&mut conn, user, device_id, Some(name)).await? {
            return Err(no_such_device());
        }
        drop(conn);
        self.tell_of_devices(user).await;
        Ok(false)
    }

    /// Makes a device without a session. `false`: it is there already.
    async fn make_device(
        &self,
        requester: &Requester,
        device_id: &DeviceId,
        name: Option<&str>,
    ) -> Result<bool, Error> {
        let user = requester.user();
        let mut tx = self.0.store.begin().await?;
        if devices::find(&mut tx, user, device_id).await?.is_some() {
            return Ok(false);
        }
        if devices::count(&mut tx, user).await? >= MAX_DEVICES {
            return Err(Error::Forbidden("the account has too many devices"));
        }
        devices::upsert(&mut tx, user, device_id, name, self.0.clock.now_i64()).await?;
        Store::commit(tx).await?;
        self.tell_of_devices(user).await;
        Ok(true)
    }

    /// Deletes some of the requester's devices, with their sessions. Those that there were come
    /// back, for layers that keep lists of devices.
    pub async fn delete_devices(
        &self,
        requester: &Requester,
        device_ids: &[OwnedDeviceId],
        auth: Option<&AuthData>,
        client: Option<IpAddr>,
    ) -> Result<Vec<OwnedDeviceId>, Error> {
        if device_ids.len() > MAX_DELETED {
            return Err(Error::InvalidParam("too many devices at once"));
        }
        for device_id in device_ids {
            check_device(Some(device_id.as_str()), None)?;
        }
        if requester.service().is_some() {
            // v1.17: nobody is there who could prove anything.
            return self
                .remove_devices(requester.user(), device_ids, None)
                .await;
        }
        let operation = Operation {
            name: "delete devices",
            user: Some(requester.user()),
            parameters: device_ids.iter().map(|id| id.as_str()).collect(),
            flows: vec![vec![AuthType::Password]],
            purpose: Purpose::Password,
            client,
        };
        let progress = self.find_progress(&operation, auth).await?;
        let passed = self
            .advance(&operation, progress, auth, Results::default())
            .await?;
        self.remove_devices(requester.user(), device_ids, Some(&passed))
            .await
    }
}

impl Accounts {
    /// Makes sure that the requester knows the password, for an operation of another service. The
    /// proof is used up, and good for this operation with these parameters only.
    pub async fn confirm(
        &self,
        requester: &Requester,
        operation: &'static str,
        parameters: Vec<&str>,
        auth: Option<&AuthData>,
        client: Option<IpAddr>,
    ) -> Result<(), Error> {
        let operation = Operation {
            name: operation,
            user: Some(requester.user()),
            parameters,
            flows: vec![vec![AuthType::Password]],
            purpose: Purpose::Password,
            client,
        };
        let progress = self.find_progress(&operation, auth).await?;
        let passed = self
            .advance(&operation, progress, auth, Results::default())
            .await?;
        let mut tx = self.0.store.begin().await?;
        self.finish(&mut tx, &passed).await?;
        Store::commit(tx).await?;
        Ok(())
    }
}

fn no_such_device() -> Error {
    Error::NotFound("no such device")
}
