//! What is done beside requests.

use super::{Error, Keys};
use crate::store::{DeviceNid, device_lists, to_device};

impl Keys {
    /// Tells of device lists that changed and were not told of. To be called now and then by every process.
    pub async fn work(&self) -> Result<(), Error> {
        const BATCH: i64 = 100;
        let mut conn = self.0.store.conn().await?;
        let due = device_lists::list_work(&mut conn, BATCH).await?;
        drop(conn);
        if !due.is_empty() {
            self.0.store.announce_device_lists(&due).await?;
        }
        Ok(())
    }

    /// Deletes messages whose device was deleted while they were written. To be called rarely.
    pub async fn clean_up(&self) -> Result<(), Error> {
        const BATCH: i64 = 1_000;
        let mut next = Some(DeviceNid::default());
        while let Some(after) = next {
            let mut conn = self.0.store.conn().await?;
            next = to_device::delete_orphans(&mut conn, after, BATCH).await?;
        }
        Ok(())
    }
}
