//! Filters that clients leave with the server (client-server API v1.19, "Filtering").

use ruma::api::client::filter::FilterDefinition;

use super::{Actor, Error, Rooms, filter::RelationFilters};
use crate::store::filters;

/// The largest filter, in bytes.
const MAX_BYTES: usize = 64 << 10;

impl Rooms {
    /// Keeps a filter and gives its id. The same filter has the same id.
    ///
    /// # Errors
    /// [`Error::TooLarge`], and [`Error::Invalid`] for a user with too many filters.
    pub async fn create_filter(
        &self,
        actor: &Actor,
        filter: &FilterDefinition,
        relations: &RelationFilters,
    ) -> Result<String, Error> {
        let json = serde_json::to_value(filter);
        let mut json = json.map_err(|error| Error::Invalid(error.to_string()))?;
        relations.add_to(&mut json);
        let json = json.to_string();
        if json.len() > MAX_BYTES {
            return Err(Error::TooLarge("the filter"));
        }
        let _turn = self.0.locks.turn(actor.user, None).await;
        let mut conn = self.0.store.conn().await?;
        let mut id = filters::insert(&mut conn, actor.user, &json).await?;
        if id.is_none() {
            // Another process may have added one at this moment.
            id = filters::insert(&mut conn, actor.user, &json).await?;
        }
        let id = id.ok_or_else(|| Error::Invalid("there are too many filters".into()))?;
        Ok(id.to_string())
    }

    /// A kept filter, as JSON.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn filter(&self, actor: &Actor, filter_id: &str) -> Result<String, Error> {
        let missing = || Error::NotFound("filter");
        let filter_id = filter_id.parse().map_err(|_| missing())?;
        let mut conn = self.0.store.conn().await?;
        let found = filters::find(&mut conn, actor.user, filter_id).await?;
        found.ok_or_else(missing)
    }
}
