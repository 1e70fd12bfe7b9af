//! Device lists: whose keys a user has to look at again, and whose no more.
//!
//! Three things change what a user's clients have to know of others' devices: the others change
//! their keys, they begin to share a room with the user, or they share none any more. The first
//! stands in the stream; the other two follow from the memberships that changed.
//!
//! Client-server API v1.19, "Tracking the device list for a user" and "Extensions to /sync".

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedUserId, UserId};

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        Membership, RoomNid, StreamPosition, UserNid,
        device_lists::{self, Moved},
        live::{Change, ListNews, LiveRoom, UserRooms},
        stream,
    },
};

/// How many look-ups of members are worth it to leave people out who shared a room before. The
/// specification lets them be told.
const MAX_LOOKUPS: usize = 2_000_000;

/// What `device_lists` says. Both are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceLists {
    /// The users whose keys are to be looked at.
    pub changed: Vec<OwnedUserId>,
    /// The users who share no room any more.
    pub left: Vec<OwnedUserId>,
}

impl DeviceLists {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// What happened to the memberships of one room.
#[derive(Debug, Default)]
struct RoomMoves(HashMap<UserNid, Moved>);

/// People who have come to share a room, and who may have ceased to.
#[derive(Debug, Default)]
struct Candidates {
    come: BTreeSet<OwnedUserId>,
    gone: BTreeSet<OwnedUserId>,
}

impl Keys {
    /// What a user's device lists have to say of the time between two positions, the second of
    /// which memory has reached.
    pub async fn device_lists(
        &self,
        actor: &Actor,
        since: StreamPosition,
        until: StreamPosition,
    ) -> Result<DeviceLists, Error> {
        let store = &self.0.store;
        if since >= until {
            return Ok(DeviceLists::default());
        }
        store.load_user(actor.user).await?;
        let news = store.live().list_news(actor.user, since, until);
        let (changed, moved) = match news {
            Some(news) => {
                let moved = moves(&news);
                (news.changed, moved)
            }
            None => self.read_news(actor, since, until).await?,
        };
        if changed.is_empty() && moved.is_empty() {
            return Ok(DeviceLists::default());
        }
        let Some((_, rooms)) = store.live().rooms_of(actor.user) else {
            return Err(crate::store::StoreError::Unavailable.into());
        };
        let mut candidates = Candidates::default();
        for (room, of_room) in &moved {
            self.compare(actor, &rooms, *room, of_room, &mut candidates)
                .await?;
        }
        if changed.is_empty() && candidates.come.is_empty() && candidates.gone.is_empty() {
            return Ok(DeviceLists::default());
        }
        let joined: Vec<_> = rooms.with(Membership::Join).collect();
        let joined = store.load_rooms(&joined).await?;
        let changed = self.changed_ids(actor, changed, &joined).await?;
        let numbers = self.numbers(&moved).await?;
        Ok(candidates.decide(actor, changed, &joined, &moved, &numbers))
    }

    /// The same news from the database, for a token that is older than memory.
    async fn read_news(
        &self,
        actor: &Actor,
        since: StreamPosition,
        until: StreamPosition,
    ) -> Result<(Vec<UserNid>, BTreeMap<RoomNid, RoomMoves>), Error> {
        let store = &self.0.store;
        let mut conn = store.conn().await?;
        let changed = device_lists::list_changed(&mut conn, actor.user, since, until).await?;
        let own = stream::membership_changes(&mut conn, actor.user, since, until).await?;
        let mut rooms: BTreeSet<_> = own.into_iter().map(|(room, _, _)| room).collect();
        if let Some((_, view)) = store.live().rooms_of(actor.user) {
            rooms.extend(view.with(Membership::Join));
        }
        let rooms: Vec<_> = rooms.into_iter().collect();
        let mut moved: BTreeMap<RoomNid, RoomMoves> = BTreeMap::new();
        for one in device_lists::list_moved(&mut conn, &rooms, since, until).await? {
            moved.entry(one.room).or_default().0.insert(one.user, one);
        }
        Ok((changed, moved))
    }

    /// Who has come and gone in a room, as the actor sees it.
    async fn compare(
        &self,
        actor: &Actor,
        rooms: &UserRooms,
        room: RoomNid,
        of_room: &RoomMoves,
        candidates: &mut Candidates,
    ) -> Result<(), Error> {
        let is_in = rooms.membership(room) == Membership::Join;
        let own = of_room.0.get(&actor.user);
        let was_in = own.map_or(is_in, |own| own.was_joined);
        if !is_in && !was_in {
            return Ok(());
        }
        let Some(loaded) = self.0.store.load_room(room).await? else {
            return Ok(());
        };
        let head = loaded.head();
        let now = head.room();
        let moved: Vec<_> = of_room.0.keys().copied().collect();
        let ids = self.0.store.user_ids(&moved).await?;
        for (user, one) in &of_room.0 {
            let Some(id) = ids.get(user) else { continue };
            if is_in && one.was_away && now.is_joined(id) {
                candidates.come.insert(id.clone());
            } else if was_in && one.was_joined && !(is_in && now.is_joined(id)) {
                candidates.gone.insert(id.clone());
            }
        }
        let has_stayed = is_in && own.is_none_or(|own| !own.was_away);
        if has_stayed {
            return Ok(());
        }
        // The actor has left, or came anew. Who has moved was looked at; those who came after the
        // actor had left are among them.
        let moved: BTreeSet<&UserId> = ids.values().map(|id| &**id).collect();
        let members = now.joined_members();
        if is_in {
            candidates.come.extend(members.map(UserId::to_owned));
        } else {
            let members = members.filter(|id| !moved.contains(id));
            candidates.gone.extend(members.map(UserId::to_owned));
        }
        Ok(())
    }

    /// The ids of the users whose keys changed, if they share a room or are told anyway.
    async fn changed_ids(
        &self,
        actor: &Actor,
        changed: Vec<UserNid>,
        joined: &[Arc<LiveRoom>],
    ) -> Result<BTreeSet<OwnedUserId>, Error> {
        let ids = self.0.store.user_ids(&changed).await?;
        let heads: Vec<_> = joined.iter().map(|room| room.head()).collect();
        Ok(ids
            .into_values()
            .filter(|id| *id == actor.user_id || heads.iter().any(|head| head.room().is_joined(id)))
            .collect())
    }

    /// The numbers of the users who moved.
    async fn numbers(
        &self,
        moved: &BTreeMap<RoomNid, RoomMoves>,
    ) -> Result<HashMap<OwnedUserId, UserNid>, Error> {
        let users: BTreeSet<_> = moved.values().flat_map(|room| room.0.keys()).collect();
        let users: Vec<_> = users.into_iter().copied().collect();
        let ids = self.0.store.user_ids(&users).await?;
        Ok(ids.into_iter().map(|(user, id)| (id, user)).collect())
    }
}

impl Candidates {
    /// Leaves out who shared a room all the time, and who still shares one.
    fn decide(
        self,
        actor: &Actor,
        mut changed: BTreeSet<OwnedUserId>,
        joined: &[Arc<LiveRoom>],
        moved: &BTreeMap<RoomNid, RoomMoves>,
        numbers: &HashMap<OwnedUserId, UserNid>,
    ) -> DeviceLists {
        let rooms: Vec<_> = joined
            .iter()
            .map(|room| (room.nid(), room.head()))
            .collect();
        let stayed = |room: RoomNid, user: Option<&UserNid>| {
            let of_room = moved.get(&room).zip(user);
            let one = of_room.and_then(|(of_room, user)| of_room.0.get(user));
            one.is_none_or(|one| !one.was_away && one.was_joined)
        };
        // The rooms that the actor was in all the time.
        let steady: Vec<_> = rooms
            .iter()
            .filter(|(room, _)| stayed(*room, Some(&actor.user)))
            .collect();
        let is_cheap = self.come.len().saturating_mul(steady.len()) <= MAX_LOOKUPS;
        for id in self.come {
            let shared_before = is_cheap
                && steady.iter().any(|(room, head)| {
                    head.room().is_joined(&id) && stayed(*room, numbers.get(&id))
                });
            if id != actor.user_id && !shared_before {
                changed.insert(id);
            }
        }
        let left = self.gone.into_iter().filter(|id| {
            *id != actor.user_id && !rooms.iter().any(|(_, head)| head.room().is_joined(id))
        });
        DeviceLists {
            left: left.collect(),
            changed: changed.into_iter().collect(),
        }
    }
}

/// The memberships that changed, from the entries in memory.
fn moves(news: &ListNews) -> BTreeMap<RoomNid, RoomMoves> {
    let mut moved: BTreeMap<RoomNid, RoomMoves> = BTreeMap::new();
    for (room, entries) in &news.members {
        let of_room = moved.entry(*room).or_default();
        for entry in entries {
            let Change::Event(event) = &entry.change else {
                continue;
            };
            let Some(member) = event.member else { continue };
            let was_joined = member.before == Membership::Join;
            let one = of_room.0.entry(member.user).or_insert(Moved {
                room: *room,
                user: member.user,
                was_joined,
                was_away: false,
            });
            one.was_away |= !was_joined;
        }
    }
    moved
}
