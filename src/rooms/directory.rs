//! Aliases, and the directory of published rooms.
//!
//! Client-server API v1.19, "Room aliases" and "Published room directory".

use std::collections::{BTreeSet, HashSet};

use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId,
    events::{StateEventType, TimelineEventType, room::history_visibility::HistoryVisibility},
};

use super::{Actor, Error, Planned, Rooms, state_rules};
use crate::{
    appservice::Service,
    event::{Draft, Room, build},
    store::{
        RoomNid, appservices,
        directory::{self, DirectoryCursor, PublishedRoom},
    },
};

/// The most rooms on one page.
const MAX_PAGE: u64 = 500;
/// The rooms on a page where the client does not say.
const PAGE: u64 = 100;
/// The longest text that is searched for, in characters.
const MAX_SEARCH: usize = 255;

/// Which published rooms somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct DirectoryQuery {
    /// A text that the name, the topic or the canonical alias holds.
    pub search: Option<String>,
    /// The wanted room types, the empty string for rooms without one; empty: all.
    pub room_types: Vec<String>,
    /// A token of an earlier page.
    pub since: Option<String>,
    /// How many rooms; at most 500, 100 if the client does not say.
    pub limit: Option<u64>,
}

/// A page of the directory.
#[derive(Clone, Debug, Default)]
pub struct DirectoryPage {
    /// The rooms, largest first.
    pub rooms: Vec<PublishedRoom>,
    /// The token of the next page, if there is one.
    pub next_batch: Option<String>,
    /// The token of the page before, if there is one.
    pub prev_batch: Option<String>,
    /// How many rooms are published.
    pub total: i64,
}

impl Rooms {
    /// The room of an alias.
    ///
    /// # Errors
    /// [`Error::UnknownAlias`], or [`Error::Unreachable`] for an alias of another server.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<OwnedRoomId, Error> {
        if alias.server_name() != self.server_name() {
            return Err(Error::Unreachable);
        }
        let (room, _) = self.find_alias(alias).await?;
        let mut ids = self.0.store.room_ids(&[room]).await?;
        ids.remove(&room).ok_or(Error::UnknownAlias)
    }

    /// Adds an alias to a room in which the user is joined.
    ///
    /// # Errors
    /// [`Error::AliasTaken`]; [`Error::Invalid`] for an alias that cannot be one of this server.
    pub async fn create_alias(
        &self,
        actor: &Actor,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), Error> {
        if alias.server_name() != self.server_name() {
            let message = "the alias belongs to another server";
            return Err(Error::Invalid(message.to_owned()));
        }
        check_localpart(alias.alias())?;
        self.check_not_exclusive(actor, alias)?;
        let room = self.joined_room(room_id, &actor.user_id).await?;
        let mut conn = self.0.store.conn().await?;
        let inserted = directory::insert_alias(&mut conn, alias, room.nid(), actor.user).await;
        inserted.map_err(|error| match error.unique() {
            Some(directory::ALIAS_UNIQUE) => Error::AliasTaken,
            _ => error.into(),
        })
    }

    /// Whether an alias is kept for an application service that is not who acts.
    pub(super) fn check_not_exclusive(
        &self,
        actor: &Actor,
        alias: &RoomAliasId,
    ) -> Result<(), Error> {
        let services = self.0.settings.services.load();
        let owner = services.owner_of_alias(alias);
        match owner.filter(|owner| !owner.covers_user(&actor.user_id)) {
            Some(_) => Err(Error::AliasExclusive),
            None => Ok(()),
        }
    }

    /// Removes an alias. Allowed to who made it, and to members who may change the room's
    /// canonical alias. If the canonical alias event names it, and the user may, a new event names
    /// it no more.
    pub async fn delete_alias(&self, actor: &Actor, alias: &RoomAliasId) -> Result<(), Error> {
        self.check_not_exclusive(actor, alias)?;
        let (nid, creator) = self.find_alias(alias).await?;
        let room = self.0.store.load_room(nid).await?;
        let room = room.ok_or(Error::UnknownAlias)?;
        let head = room.head();
        if creator != actor.user && !may_set_alias(head.room(), actor) {
            return Err(Error::Forbidden("the alias is not yours".to_owned()));
        }
        {
            let mut conn = self.0.store.conn().await?;
            directory::delete_alias(&mut conn, alias).await?;
        }
        let plan = |room: &Room| {
            let content = canonical_alias(room);
            let left = content.and_then(|content| state_rules::without_alias(content, alias));
            let Some(left) = left.filter(|_| may_set_alias(room, actor)) else {
                return Ok(Vec::new());
            };
            let draft = Draft::state(StateEventType::RoomCanonicalAlias, "", left);
            Ok(vec![Planned::by(actor, draft)])
        };
        let room_id = head.room().room_id();
        match self.update(room_id, actor, None, plan).await {
            // The alias is gone, whatever the room says of it.
            Err(Error::Forbidden(_) | Error::Event(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The aliases of a room, in order: for members, and for everybody if the history is
    /// world-readable.
    pub async fn aliases(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, Error> {
        let room = self.find_room(room_id).await?.ok_or(Error::NotJoined)?;
        let is_open = *room.head().room().history_visibility() == HistoryVisibility::WorldReadable;
        if !is_open && !self.look_for(&room, &actor.user_id).await? {
            return Err(Error::NotJoined);
        }
        let mut conn = self.0.store.conn().await?;
        Ok(directory::list_aliases(&mut conn, room.nid()).await?)
    }

    /// Checks that the aliases of a new `m.room.canonical_alias` event exist and point to the room.
    /// Those that the event before it names are not asked for again.
    pub(super) async fn check_canonical_alias(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        content: &CanonicalJsonObject,
    ) -> Result<(), Error> {
        let mut named = state_rules::named_aliases(content)?;
        let room = self.joined_room(room_id, &actor.user_id).await?;
        let before = canonical_alias(room.head().room());
        let before = before.and_then(|content| state_rules::named_aliases(&content).ok());
        for alias in before.unwrap_or_default() {
            named.remove(&alias);
        }
        self.check_aliases(&named, room.nid()).await
    }

    async fn check_aliases(
        &self,
        aliases: &BTreeSet<OwnedRoomAliasId>,
        room: RoomNid,
    ) -> Result<(), Error> {
        if aliases.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = aliases.iter().cloned().collect();
        let mut conn = self.0.store.conn().await?;
        let found = directory::find_aliases(&mut conn, &wanted).await?;
        let points_here = |alias: &OwnedRoomAliasId| {
            found
                .iter()
                .any(|(known, target)| known == alias && *target == room)
        };
        match wanted.iter().find(|alias| !points_here(alias)) {
            None => Ok(()),
            Some(alias) => Err(Error::BadAlias(format!(
                "the alias {alias} does not point to this room"
            ))),
        }
    }

    /// A page of the published rooms.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a token that is none.
    pub async fn published_rooms(&self, query: &DirectoryQuery) -> Result<DirectoryPage, Error> {
        let since = query.since.as_deref().map(PageToken::parse).transpose()?;
        let backward = since.is_some_and(|token| token.backward);
        let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let pattern = query.search.as_deref().and_then(search_pattern);
        let types: Vec<String> = query
            .room_types
            .iter()
            .map(|name| name.replace('\0', ""))
            .collect();
        let mut conn = self.0.store.conn().await?;
        let mut rooms = directory::list_published(
            &mut conn,
            since.map(|token| token.cursor),
            backward,
            pattern.as_deref(),
            (!types.is_empty()).then_some(&*types),
            // One more than wanted says whether there is another page.
            i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        )
        .await?;
        let total = directory::count_published(&mut conn).await?;
        let has_more = rooms.len() > wanted;
        if has_more && backward {
            rooms.remove(0);
        }
        rooms.truncate(wanted);
        let token = |room: &PublishedRoom, backward| {
            let cursor = DirectoryCursor {
                joined_count: room.summary.joined_count,
                room: room.room,
            };
            PageToken { cursor, backward }.to_string()
        };
        let has_next = if backward { true } else { has_more };
        let has_before = if backward { has_more } else { since.is_some() };
        Ok(DirectoryPage {
            next_batch: rooms
                .last()
                .filter(|_| has_next)
                .map(|room| token(room, false)),
            prev_batch: rooms
                .first()
                .filter(|_| has_before)
                .map(|room| token(room, true)),
            rooms,
            total,
        })
    }

    /// A page of the rooms that application services publish for a network; without one, those of
    /// all networks and of this server. There are no pages before.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a token that is none.
    pub async fn rooms_of_network(
        &self,
        service_id: Option<&str>,
        network_id: Option<&str>,
        query: &DirectoryQuery,
    ) -> Result<DirectoryPage, Error> {
        let since = query.since.as_deref().map(PageToken::parse).transpose()?;
        let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let pattern = query.search.as_deref().and_then(search_pattern);
        let start = since.map_or(DirectoryCursor::START, |token| token.cursor);
        let mut conn = self.0.store.conn().await?;
        let mut rooms = appservices::list_published(
            &mut conn,
            service_id,
            network_id,
            start,
            pattern.as_deref(),
            i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        )
        .await?;
        let has_more = rooms.len() > wanted;
        rooms.truncate(wanted);
        let last = rooms.last().filter(|_| has_more);
        let next_batch = last.map(|room| {
            let cursor = DirectoryCursor {
                joined_count: room.summary.joined_count,
                room: room.room,
            };
            let backward = false;
            PageToken { cursor, backward }.to_string()
        });
        Ok(DirectoryPage {
            total: i64::try_from(rooms.len()).unwrap_or(i64::MAX),
            rooms,
            next_batch,
            prev_batch: None,
        })
    }

    /// Publishes a room in the directory of a service's network, or takes it out. The policy says
    /// which rooms can be there.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`] and [`Error::Denied`].
    pub async fn set_published_for(
        &self,
        actor: &Actor,
        service: &Service,
        network_id: &str,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), Error> {
        let room = self.find_room(room_id).await?.ok_or(Error::UnknownRoom)?;
        if published {
            let policy = self.policy();
            let standing = self.standing(&policy, &actor.user_id).await?;
            let decision = policy.rooms().may_publish(room.head().room(), standing);
            decision.into_result()?;
        }
        let mut conn = self.0.store.conn().await?;
        let nid = room.nid();
        appservices::set_published(&mut conn, service.id(), network_id, nid, published).await?;
        Ok(())
    }

    /// Whether a room is published in the directory.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, Error> {
        let room = self.0.store.room_number(room_id).await?;
        let room = room.ok_or(Error::UnknownRoom)?;
        let mut conn = self.0.store.conn().await?;
        Ok(directory::is_published(&mut conn, room).await?)
    }

    /// Those of some rooms that are published in the directory.
    pub async fn published_among(
        &self,
        room_ids: &[OwnedRoomId],
    ) -> Result<HashSet<OwnedRoomId>, Error> {
        let ids: Vec<&RoomId> = room_ids.iter().map(|room_id| &**room_id).collect();
        let numbers = self.0.store.room_numbers(&ids).await?;
        let nids: Vec<_> = numbers.values().copied().collect();
        let mut conn = self.0.store.conn().await?;
        let published = directory::published_among(&mut conn, &nids).await?;
        let published: HashSet<RoomNid> = published.into_iter().collect();
        let ids = numbers
            .into_iter()
            .filter(|(_, nid)| published.contains(nid));
        Ok(ids.map(|(room_id, _)| room_id).collect())
    }

    /// Publishes a room in the directory, or takes it out. Allowed to members who may change the
    /// room's canonical alias; the policy says which rooms can be there.
    ///
    /// # Errors
    /// [`Error::NotJoined`], [`Error::Forbidden`] and [`Error::Denied`].
    pub async fn set_published(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), Error> {
        let room = self.joined_room(room_id, &actor.user_id).await?;
        if !may_set_alias(room.head().room(), actor) {
            let message = "you may not change whether the room is published";
            return Err(Error::Forbidden(message.to_owned()));
        }
        if published {
            let policy = self.policy();
            let standing = self.standing(&policy, &actor.user_id).await?;
            let decision = policy.rooms().may_publish(room.head().room(), standing);
            decision.into_result()?;
        }
        let mut conn = self.0.store.conn().await?;
        directory::set_published(&mut conn, &[(room.nid(), published)]).await?;
        Ok(())
    }

    /// The alias of a new room, from the local part that its creator wants.
    pub(super) fn local_alias(&self, localpart: &str) -> Result<OwnedRoomAliasId, Error> {
        check_localpart(localpart)?;
        let alias = format!("#{localpart}:{}", self.server_name());
        RoomAliasId::parse(alias)
            .map_err(|_| Error::Invalid("the room alias is not valid".to_owned()))
    }

    async fn find_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(RoomNid, crate::store::UserNid), Error> {
        // The database keeps no NUL, so no alias has one.
        if alias.as_str().contains('\0') {
            return Err(Error::UnknownAlias);
        }
        let mut conn = self.0.store.conn().await?;
        let found = directory::find_alias(&mut conn, alias).await?;
        found.ok_or(Error::UnknownAlias)
    }
}

/// Whether the user is a member who may change the canonical alias.
fn may_set_alias(room: &Room, actor: &Actor) -> bool {
    let event_type = TimelineEventType::RoomCanonicalAlias;
    let levels = room.power_levels();
    room.is_joined(&actor.user_id) && levels.may_send(&actor.user_id, &event_type, true)
}

fn canonical_alias(room: &Room) -> Option<CanonicalJsonObject> {
    let event = room.state_event(&StateEventType::RoomCanonicalAlias, "")?;
    build::content_from_json(event.pdu.content()).ok()
}

/// Whether a local part makes an alias that people can type and link to (appendices v1.19, "Room
/// aliases": no NUL and no colon; the whole has at most 255 bytes, which parsing checks).
pub(super) fn check_localpart(localpart: &str) -> Result<(), Error> {
    let is_odd = |letter: char| letter.is_control() || letter.is_whitespace() || letter == ':';
    if localpart.is_empty() || localpart.starts_with('#') || localpart.contains(is_odd) {
        let message = "the room alias is empty, or has spaces or colons";
        return Err(Error::Invalid(message.to_owned()));
    }
    Ok(())
}

/// A `LIKE` pattern, in lower case, for texts that hold `term`; `None` for a term without content.
pub(super) fn search_pattern(term: &str) -> Option<String> {
    let term = term.trim().to_lowercase();
    if term.is_empty() {
        return None;
    }
    let mut pattern = String::from("%");
    for letter in term
        .chars()
        .filter(|letter| *letter != '\0')
        .take(MAX_SEARCH)
    {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Some(pattern)
}

/// Where a page begins, as clients hold it: a direction, the joined members and the number of the
/// room next to the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageToken {
    pub(super) cursor: DirectoryCursor,
    pub(super) backward: bool,
}

impl PageToken {
    /// Reads a token. Numbers that no page ended with give an odd page and no error.
    pub(super) fn parse(token: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid("this is not a token of the directory".to_owned());
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<i64>().ok();
            number.filter(|_| is_plain).ok_or_else(invalid)
        };
        let (backward, rest) = match token.split_at_checked(1) {
            Some(("n", rest)) => (false, rest),
            Some(("p", rest)) => (true, rest),
            _ => return Err(invalid()),
        };
        let (joined, room) = rest.split_once('_').ok_or_else(invalid)?;
        let cursor = DirectoryCursor {
            joined_count: number(joined)?,
            room: RoomNid(number(room)?),
        };
        Ok(Self { cursor, backward })
    }
}

impl std::fmt::Display for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cursor, backward } = self;
        let direction = if *backward { 'p' } else { 'n' };
        write!(f, "{direction}{}_{}", cursor.joined_count, cursor.room.0)
    }
}
