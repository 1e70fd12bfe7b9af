//! Which rooms a client is told of: those in the windows of its lists, and those it subscribes to.
//!
//! MSC4186, "Lists and subscriptions": rooms are ordered by their newest event, and not by the
//! bump stamp, so that whatever happens in a room brings it into the first window.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, RoomId, events::StateEventType};
use serde::Deserialize;

use super::{
    request::{Filters, Request, Rule},
    snapshot::{Kind, Snapshot},
};
use crate::{
    store::{
        Membership, RoomNid,
        live::{Activity, RoomHead, RoomOfUser, Survey},
    },
    sync::{Error, Sync, entries::hides_invite},
};

/// A room that a client is told of.
pub(super) struct Chosen<'a> {
    /// What is wanted of it.
    pub(super) rule: Rule,
    /// The lists in whose windows it is.
    pub(super) lists: Vec<&'a str>,
    /// The subscription's room id.
    pub(super) subscribed: Option<&'a OwnedRoomId>,
}

/// The rooms that a client is told of, and how many there are in each list.
pub(super) struct Choice<'a> {
    pub(super) rooms: BTreeMap<RoomNid, Chosen<'a>>,
    pub(super) counts: Vec<(&'a str, usize)>,
    /// Rooms to which the user is invited, and is not to hear of it. Those among them that the
    /// client has as rooms that the user is or was in are told as rooms that the user was in.
    pub(super) hidden: HashSet<RoomNid>,
}

/// Rooms that the request names, by their numbers.
#[derive(Default)]
pub(super) struct Named {
    pub(super) numbers: HashMap<OwnedRoomId, RoomNid>,
}

/// What filters look at beside the survey.
struct Sight<'a> {
    survey: &'a Survey,
    hidden: &'a HashSet<RoomNid>,
    ids: HashMap<RoomNid, OwnedRoomId>,
    /// The rooms of each space that filters name, and in which the user is.
    children: HashMap<OwnedRoomId, HashSet<OwnedRoomId>>,
}

impl Sync {
    /// The numbers of the rooms that a request names.
    pub(super) async fn named_rooms(&self, request: &Request) -> Result<Named, Error> {
        let spaces = request
            .lists
            .iter()
            .filter_map(|list| list.filters.spaces.as_ref());
        let ids = request.subscriptions.keys().chain(spaces.flatten());
        let ids: Vec<&RoomId> = ids.map(|id| &**id).collect();
        Ok(Named {
            numbers: self.0.store.room_numbers(&ids).await?,
        })
    }

    /// Chooses rooms.
    pub(super) async fn choose<'a>(
        &self,
        request: &'a Request,
        named: &Named,
        survey: &Survey,
        known: Option<&Snapshot>,
    ) -> Result<Choice<'a>, Error> {
        let hidden = self.hidden_invites(request, survey).await?;
        let mut choice = Choice {
            rooms: BTreeMap::new(),
            counts: Vec::with_capacity(request.lists.len()),
            hidden: hidden.clone(),
        };
        let is_told = |room: &RoomNid| {
            let sent = known.and_then(|known| known.rooms.get(room));
            !hidden.contains(room) || sent.is_some_and(|sent| sent.kind != Kind::Stripped)
        };
        let mut listed = listed_rooms(survey, known);
        listed.retain(|(room, _, _)| is_told(room));
        let sight = self.sight(request, named, survey, &hidden).await?;
        for list in &request.lists {
            let filters = &list.filters;
            let filtered: Vec<RoomNid> = listed
                .iter()
                .filter(|(room, of_user, activity)| sight.passes(filters, *room, of_user, activity))
                .map(|(room, _, _)| *room)
                .collect();
            choice.counts.push((&list.name, filtered.len()));
            let all = [(0, usize::MAX)];
            for (first, last) in list.ranges.as_deref().unwrap_or(&all) {
                let count = (last - first).saturating_add(1);
                let window = filtered.iter().skip(*first).take(count);
                for room in window {
                    let chosen = choice.add(*room, &list.rule);
                    if chosen.lists.last() != Some(&&*list.name) {
                        chosen.lists.push(&list.name);
                    }
                }
            }
        }
        for (room_id, rule) in &request.subscriptions {
            let room = named.numbers.get(room_id);
            let seen = room.filter(|room| is_seen(survey.rooms.get(**room)));
            if let Some(room) = seen.filter(|room| is_told(room)) {
                choice.add(*room, rule).subscribed = Some(room_id);
            }
        }
        Ok(choice)
    }

    /// The rooms to which somebody has invited the reader whom the reader ignores, and those of a
    /// reader who refuses all invitations.
    async fn hidden_invites(
        &self,
        request: &Request,
        survey: &Survey,
    ) -> Result<HashSet<RoomNid>, Error> {
        let invited: Vec<RoomNid> = survey.rooms.with(Membership::Invite).collect();
        let refused = invited.iter().copied();
        let refused = refused.filter(|room| survey.rooms.hides_invite(*room));
        let mut all: HashSet<RoomNid> = refused.collect();
        if survey.rooms.ignored().is_empty() {
            return Ok(all);
        }
        let rooms = self.0.store.load_rooms(&invited).await?;
        let user_id = &request.actor.user_id;
        let hidden = rooms
            .iter()
            .filter(|room| hides_invite(&survey.rooms, room.nid(), &room.head(), user_id));
        all.extend(hidden.map(|room| room.nid()));
        Ok(all)
    }

    /// What the filters of a request need; most need nothing.
    async fn sight<'a>(
        &self,
        request: &Request,
        named: &Named,
        survey: &'a Survey,
        hidden: &'a HashSet<RoomNid>,
    ) -> Result<Sight<'a>, Error> {
        let mut sight = Sight {
            survey,
            hidden,
            ids: HashMap::new(),
            children: HashMap::new(),
        };
        let filters = || request.lists.iter().map(|list| &list.filters);
        if filters().any(|filters| filters.is_dm.is_some() || filters.spaces.is_some()) {
            let rooms: Vec<_> = survey.rooms.iter().map(|(room, _)| room).collect();
            sight.ids = self.0.store.room_ids(&rooms).await?;
        }
        let spaces = filters()
            .filter_map(|filters| filters.spaces.as_ref())
            .flatten();
        let spaces: Vec<RoomNid> = spaces
            .filter_map(|space| named.numbers.get(space).copied())
            .filter(|space| survey.rooms.membership(*space) == Membership::Join)
            .collect();
        if !spaces.is_empty() {
            for space in self.0.store.load_rooms(&spaces).await? {
                let head = space.head();
                let id = head.room().room_id().to_owned();
                sight.children.insert(id, children(&head));
            }
        }
        Ok(sight)
    }
}

impl<'a> Choice<'a> {
    fn add(&mut self, room: RoomNid, rule: &Rule) -> &mut Chosen<'a> {
        let chosen = self.rooms.entry(room).or_insert_with(|| Chosen {
            rule: rule.clone(),
            lists: Vec::new(),
            subscribed: None,
        });
        if chosen.rule != *rule {
            chosen.rule = chosen.rule.union(rule);
        }
        chosen
    }
}

/// The rooms that lists are made of, those with the newest events first.
fn listed_rooms<'a>(
    survey: &'a Survey,
    known: Option<&Snapshot>,
) -> Vec<(RoomNid, &'a RoomOfUser, &'a Activity)> {
    let mut listed: Vec<_> = survey
        .rooms
        .iter()
        .filter(|(room, of_user)| match of_user.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            // Who left knows it, unless this client does not yet.
            Membership::Leave | Membership::Ban => {
                is_seen(Some(of_user))
                    && (of_user.removed
                        || known.is_some_and(|known| known.rooms.contains_key(room)))
            }
        })
        .filter_map(|(room, of_user)| Some((room, of_user, survey.activities.get(&room)?)))
        .collect();
    listed.sort_unstable_by_key(|(room, of_user, activity)| {
        let newest = if of_user.membership == Membership::Join {
            activity.last
        } else {
            of_user.changed_at
        };
        (std::cmp::Reverse(newest), *room)
    });
    listed
}

/// Whether a user may be told anything of a room: they have not forgotten it.
fn is_seen(of_user: Option<&RoomOfUser>) -> bool {
    of_user.is_some_and(|of_user| !of_user.forgotten)
}

impl Sight<'_> {
    fn passes(
        &self,
        filters: &Filters,
        room: RoomNid,
        of_user: &RoomOfUser,
        activity: &Activity,
    ) -> bool {
        let labels = self.survey.rooms.labels();
        let is = |wanted: Option<bool>, found: &dyn Fn() -> bool| {
            wanted.is_none_or(|wanted| wanted == found())
        };
        let id = || self.ids.get(&room);
        // Of a room that was left nobody learns what became of it.
        let is_joined = of_user.membership == Membership::Join;
        let encrypted_at = activity.encrypted_at;
        let is_encrypted = || encrypted_at.0 > 0 && (is_joined || encrypted_at <= of_user.position);
        let of_type = |types: &[Option<String>]| {
            let mut types = types.iter();
            types.any(|one| one.as_deref() == activity.room_type.as_deref())
        };
        let tags = labels.tags.get(&room).map(Vec::as_slice);
        let tagged = |wanted: &[String]| {
            let mut tags = tags.unwrap_or_default().iter();
            tags.any(|tag| wanted.contains(tag))
        };
        let in_space = |spaces: &[OwnedRoomId]| {
            let mut children = spaces.iter().filter_map(|space| self.children.get(space));
            id().is_some_and(|id| children.any(|children| children.contains(id)))
        };
        is(filters.is_dm, &|| {
            id().is_some_and(|id| labels.direct.contains(id))
        }) && is(filters.is_encrypted, &is_encrypted)
            && is(filters.is_invite, &|| {
                of_user.membership == Membership::Invite && !self.hidden.contains(&room)
            })
            && filters.room_types.as_deref().is_none_or(of_type)
            && !of_type(&filters.not_room_types)
            && filters.tags.as_deref().is_none_or(tagged)
            && !tagged(&filters.not_tags)
            && filters.spaces.as_deref().is_none_or(in_space)
    }
}

/// The rooms that a space names as its own.
fn children(space: &Arc<RoomHead>) -> HashSet<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Child {
        #[serde(default)]
        via: Vec<String>,
    }
    let children = space.room().state_of_type(&StateEventType::SpaceChild);
    children
        .filter(|child| {
            let content = child.pdu.content_as::<Child>();
            content.is_some_and(|content| !content.via.is_empty())
        })
        .filter_map(|child| RoomId::parse(child.pdu.state_key()?).ok())
        .collect()
}
