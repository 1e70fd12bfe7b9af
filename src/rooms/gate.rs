//! The gate in front of every event of this server: Tchap's rules, asked of the policy.
//!
//! There is one for all operations, where events are built, so that no way of doing something goes
//! around it. A message passes by one look at its state key. For state the policy says whom it needs
//! to know; the database is asked once for all of them, and not at all for most state.

use std::sync::Arc;

use ruma::{OwnedUserId, UserId};

use super::{Actor, Error, Planned, Rooms};
use crate::{
    event::Room,
    policy::{
        Decision, Policy,
        rooms::{Facts, People, PlannedEvent, Standing},
    },
    store::{RoomNid, accounts, directory},
};

impl Rooms {
    /// Asks the policy whether an event may be sent to a room.
    ///
    /// # Errors
    /// [`Error::Denied`] if it may not.
    pub(super) async fn ask_policy(
        &self,
        nid: RoomNid,
        room: &Room,
        planned: &Planned,
    ) -> Result<(), Error> {
        let draft = &planned.draft;
        let is_message = draft.state_key.is_none() && planned.redacts.is_none();
        if is_message || planned.is_decided {
            return Ok(());
        }
        let decision = self.decide(nid, room, planned).await?;
        Ok(decision.into_result()?)
    }

    /// What the policy says of an event.
    pub(super) async fn decide(
        &self,
        nid: RoomNid,
        room: &Room,
        planned: &Planned,
    ) -> Result<Decision, Error> {
        let draft = &planned.draft;
        let policy = self.policy();
        let event = PlannedEvent {
            event_type: &draft.event_type,
            state_key: draft.state_key.as_deref(),
            content: &draft.content,
            sender: &planned.sender,
            redacts: planned.redacts.as_deref().map(|target| &*target.pdu),
        };
        let Some(needs) = policy.rooms().needs(room, &event) else {
            return Ok(policy.rooms().free());
        };
        let facts = Facts {
            people: self.people(&policy, &needs.users).await?,
            is_published: needs.publication && {
                let mut conn = self.0.store.conn().await?;
                directory::is_published(&mut conn, nid).await?
            },
        };
        Ok(policy.rooms().may_send(room, &event, &facts))
    }

    /// Asks the policy whether a room may be replaced.
    ///
    /// # Errors
    /// [`Error::Denied`] if it may not.
    pub(super) async fn ask_to_upgrade(
        &self,
        actor: &Actor,
        room: &Room,
        creators: &[OwnedUserId],
    ) -> Result<(), Error> {
        let policy = self.policy();
        let creators: Vec<&UserId> = creators.iter().map(|user_id| &**user_id).collect();
        let mut users = creators.clone();
        users.push(&actor.user_id);
        let people = self.people(&policy, &users).await?;
        let upgrade = policy
            .rooms()
            .may_upgrade(room, &actor.user_id, &creators, &people);
        Ok(upgrade.into_result()?)
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Who somebody is to the rules of rooms.
    pub(super) async fn standing(
        &self,
        policy: &Policy,
        user_id: &UserId,
    ) -> Result<Standing, Error> {
        let people = self.people(policy, &[user_id]).await?;
        Ok(people.standing(user_id))
    }

    /// Who these users are to the rules of rooms, by one query, or by none where all of them belong
    /// to other servers.
    pub(super) async fn people(&self, policy: &Policy, users: &[&UserId]) -> Result<People, Error> {
        let mut local: Vec<OwnedUserId> = users
            .iter()
            .filter(|user_id| self.is_local(user_id) && !user_id.as_str().contains('\0'))
            .map(|user_id| (*user_id).to_owned())
            .collect();
        local.sort_unstable();
        local.dedup();
        let flags = if local.is_empty() {
            std::collections::HashMap::new()
        } else {
            let mut conn = self.0.store.conn().await?;
            accounts::list_flags(&mut conn, &local).await?
        };
        let standing = |user_id: &UserId| {
            let flags = flags.get(user_id).copied().unwrap_or_default();
            policy.standing(user_id, flags.is_external, flags.is_admin)
        };
        let people = users.iter();
        Ok(people
            .map(|user_id| ((*user_id).to_owned(), standing(user_id)))
            .collect())
    }
}
