//! What a client does not know of the rooms that it is told of.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ruma::OwnedUserId;

use super::{
    Conversation,
    lists::{Choice, Chosen},
    past::Past,
    required,
    snapshot::{Kind, Sent},
};
use crate::{
    event::Pdu,
    rooms::{Unread, UnreadBy, UnreadOf},
    store::{
        Membership, RoomNid, RoomPosition,
        live::{RoomHead, RoomOfUser, Survey},
    },
    sync::{
        Error, Events, Sync,
        missed::LeftNews,
        section::Section,
        state::{StateScope, member_of, newest_state},
        write::stripped_state,
    },
};

/// The state of a room that was left is that at the end.
const AFTER: StateScope = StateScope {
    full: false,
    after: true,
};

/// What there is to tell of rooms.
pub(super) struct News {
    pub(super) past: Past,
    pub(super) rooms: BTreeMap<RoomNid, RoomNews>,
}

/// What there is to tell of a room.
pub(super) struct RoomNews {
    pub(super) kind: Kind,
    /// Whether the client forgets what it has of the room.
    pub(super) initial: bool,
    /// Whether older events are told because the client wants more of them.
    pub(super) expanded: bool,
    /// The last position that the client knew.
    pub(super) from: Option<RoomPosition>,
    pub(super) head: Arc<RoomHead>,
    pub(super) of_user: RoomOfUser,
    /// How many messages are unread.
    pub(super) unread: Unread,
    /// The timeline, unless the user was never there.
    pub(super) section: Option<Section>,
    /// What somebody outside is told.
    pub(super) stripped: Vec<String>,
    /// The state that was asked for.
    pub(super) state: Vec<Arc<Pdu>>,
    /// Whether state has changed that the client has and does not ask for any more.
    pub(super) outdated: bool,
}

/// How a room is told.
struct Plan {
    kind: Kind,
    initial: bool,
    expanded: bool,
    from: Option<RoomPosition>,
    was_joined: bool,
    /// Where the user left, if that is not the newest change of their membership.
    left: Option<RoomPosition>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

impl RoomNews {
    /// Whether the members, and so their counts and the heroes, may have changed for the client.
    pub(super) fn tells_of_members(&self) -> bool {
        let Some(section) = &self.section else {
            return false;
        };
        let known = section.known.as_deref().unwrap_or_default();
        let mut events = known.iter().chain(&section.timeline);
        self.initial || section.limited || events.any(|event| member_of(&event.pdu).is_some())
    }
}

impl Sync {
    /// What there is to tell of the chosen rooms.
    pub(super) async fn news(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
    ) -> Result<News, Error> {
        let past = self.past(conversation, survey, choice).await?;
        let mut plans = BTreeMap::new();
        for (room, chosen) in &choice.rooms {
            let Some(of_user) = survey.rooms.get(*room) else {
                continue;
            };
            let sent = conversation.known.rooms.get(room);
            let plan = if choice.hidden.contains(room) {
                plan_of_hidden(*room, sent, &past, survey)
            } else {
                plan(*room, chosen, of_user, sent, &past, survey)
            };
            if let Some(plan) = plan {
                plans.insert(*room, plan);
            }
        }
        let mut news = News {
            past,
            rooms: BTreeMap::new(),
        };
        if plans.is_empty() {
            return Ok(news);
        }
        let nids: Vec<RoomNid> = plans.keys().copied().collect();
        for room in self.0.store.load_rooms(&nids).await? {
            let nid = room.nid();
            if let (Some(plan), Some(of_user)) = (plans.remove(&nid), survey.rooms.get(nid)) {
                let mut of_user = of_user.clone();
                if let Some(left) = plan.left {
                    of_user.membership = Membership::Leave;
                    of_user.position = left;
                }
                let room_news = RoomNews {
                    kind: plan.kind,
                    initial: plan.initial,
                    expanded: plan.expanded,
                    from: plan.from,
                    section: section(nid, &plan, &room.head(), &of_user, survey, &news.past),
                    head: room.head(),
                    of_user,
                    unread: Unread::default(),
                    stripped: Vec::new(),
                    state: Vec::new(),
                    outdated: false,
                };
                news.rooms.insert(nid, room_news);
            }
        }
        self.fill_sections(conversation, choice, &mut news).await?;
        self.fill_state(conversation, choice, &mut news);
        // What was asked for anew may hold nothing.
        let direct = &survey.rooms.labels().direct;
        news.rooms.retain(|room, of_room| {
            let before = conversation.known.rooms.get(room);
            of_room.says_anything(
                before,
                direct,
                news.past.has_read(*room, conversation, survey),
            )
        });
        self.fill_unread(conversation, survey, &mut news).await?;
        Ok(news)
    }

    /// Counts the unread messages.
    async fn fill_unread(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        news: &mut News,
    ) -> Result<(), Error> {
        let joined = news.rooms.iter();
        let joined: Vec<_> = joined
            .filter(|(_, of_room)| matches!(of_room.kind, Kind::Joined))
            .map(|(room, of_room)| UnreadOf {
                room: *room,
                head: &of_room.head,
                of_user: &of_room.of_user,
            })
            .collect();
        let actor = &conversation.request.actor;
        let by = UnreadBy {
            user: actor.user,
            user_id: &actor.user_id,
            own: survey.rooms.own_rules(),
            rooms: joined,
        };
        let mut counts = self.0.rooms.unread(by).await?;
        for (room, of_room) in &mut news.rooms {
            of_room.unread = counts.remove(room).unwrap_or_default();
        }
        Ok(())
    }

    /// Fills in the timelines, and the state of the rooms that were left.
    async fn fill_sections(
        &self,
        conversation: &Conversation,
        choice: &Choice<'_>,
        news: &mut News,
    ) -> Result<(), Error> {
        let mut sections = Vec::with_capacity(news.rooms.len());
        for (room, of_room) in &mut news.rooms {
            if let Some(mut section) = of_room.section.take() {
                let limit = choice.rooms.get(room).map_or(0, |chosen| chosen.rule.limit);
                section.limit = usize::try_from(limit).unwrap_or(usize::MAX);
                sections.push(section);
            }
        }
        self.add_timelines(
            &conversation.request.actor,
            &Events::default(),
            &mut sections,
        )
        .await?;
        let is_left = |section: &Section| {
            let of_room = news.rooms.get(&section.room);
            of_room.is_some_and(|of_room| of_room.kind == Kind::Left)
        };
        let (left, mut sections): (Vec<_>, Vec<_>) = sections.into_iter().partition(is_left);
        let (ends, mut left): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|section| section.only_end);
        self.add_whole_state(AFTER, &mut left).await?;
        self.add_changed_state(AFTER, &mut left).await?;
        sections.extend(left);
        sections.extend(ends);
        for section in sections {
            if let Some(of_room) = news.rooms.get_mut(&section.room) {
                of_room.section = Some(section);
            }
        }
        Ok(())
    }

    /// Chooses the state that each room tells.
    fn fill_state(&self, conversation: &Conversation, choice: &Choice<'_>, news: &mut News) {
        let told = self.told(&conversation.told_key(), conversation.since());
        let mut told = told.as_ref().map(|told| {
            told.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        });
        for (room, of_room) in &mut news.rooms {
            let Some(chosen) = choice.rooms.get(room) else {
                continue;
            };
            if of_room.kind == Kind::Stripped {
                of_room.stripped = stripped_state(&conversation.request.actor, &of_room.head);
                continue;
            }
            let mut members = HashSet::new();
            let mut repeated = HashSet::new();
            if chosen.rule.required.is_lazy() {
                members = of_room.mentioned();
                if let Some(told) = &mut told {
                    if of_room.initial {
                        told.members.retain(|(of, _)| of != room);
                    }
                    let is_new = |user: &OwnedUserId| told.members.insert((*room, user.clone()));
                    let (new, known) = members.into_iter().partition(is_new);
                    (members, repeated) = (new, known);
                }
            }
            of_room.add_state(
                chosen,
                conversation.known.rooms.get(room),
                &members,
                &repeated,
            );
        }
    }
}

/// How a room is told; `None` if there is nothing to tell.
fn plan(
    room: RoomNid,
    chosen: &Chosen<'_>,
    of_user: &RoomOfUser,
    sent: Option<&Sent>,
    past: &Past,
    survey: &Survey,
) -> Option<Plan> {
    let newest = survey.activities.get(&room)?.position;
    let from = sent.map(|_| past.from(room, newest));
    let own = past.own(room);
    let plan = |kind, initial, from| Plan {
        kind,
        initial,
        expanded: false,
        from,
        was_joined: true,
        left: None,
    };
    let kind = sent.map(|sent| sent.kind);
    match of_user.membership {
        Membership::Invite | Membership::Knock => {
            let is_known = kind == Some(Kind::Stripped) && from >= Some(of_user.position);
            (!is_known).then(|| plan(Kind::Stripped, true, None))
        }
        Membership::Join => {
            let rejoined = own.is_some_and(|own| own.joined);
            let sent = sent.filter(|sent| sent.kind == Kind::Joined && !rejoined);
            let Some((sent, from)) = sent.zip(from) else {
                return Some(plan(Kind::Joined, true, None));
            };
            let is_new = newest.0.saturating_sub(from.0);
            let limit = i64::from(chosen.rule.limit);
            // Where there is enough that is new, there is nothing to add.
            let expanded = chosen.rule.limit > sent.limit
                && is_new < limit
                && i64::from(sent.limit) < newest.0;
            Some(Plan {
                expanded,
                ..plan(Kind::Joined, false, Some(from))
            })
        }
        Membership::Leave | Membership::Ban => match (kind, from) {
            (None, _) | (_, None) => Some(plan(Kind::Left, true, None)),
            (_, Some(from)) if from >= of_user.position => None,
            (Some(Kind::Joined), from) => Some(plan(Kind::Left, false, from)),
            (_, from) if own.is_some_and(|own| own.joined) => {
                let _ = from;
                Some(plan(Kind::Left, true, None))
            }
            (_, from) => Some(Plan {
                was_joined: false,
                ..plan(Kind::Left, false, from)
            }),
        },
    }
}

/// How a room is told to which the user is invited, and is not to hear of it: where the client has it
/// as one that the user is in, it hears how that ended.
fn plan_of_hidden(
    room: RoomNid,
    sent: Option<&Sent>,
    past: &Past,
    survey: &Survey,
) -> Option<Plan> {
    let newest = survey.activities.get(&room)?.position;
    sent.filter(|sent| sent.kind == Kind::Joined)?;
    let from = past.from(room, newest);
    let left = past.own(room).and_then(|own| own.left)?;
    (from < left).then_some(Plan {
        kind: Kind::Left,
        initial: false,
        expanded: false,
        from: Some(from),
        was_joined: true,
        left: Some(left),
    })
}

/// The part of a room's line that a plan tells.
fn section(
    room: RoomNid,
    plan: &Plan,
    head: &Arc<RoomHead>,
    of_user: &RoomOfUser,
    survey: &Survey,
    past: &Past,
) -> Option<Section> {
    match plan.kind {
        Kind::Stripped => None,
        Kind::Joined => {
            let now = survey
                .activities
                .get(&room)
                .map(|activity| activity.position);
            // A head may be a moment younger than the survey.
            let to = now.unwrap_or(head.position()).min(head.position());
            let from = plan.from.filter(|_| !plan.expanded);
            let mut section = Section::new(room, head, from, to);
            if from.is_some() {
                section.known = past.events(room, survey);
            }
            Some(section)
        }
        Kind::Left => Some(Section::of_left(&LeftNews {
            room,
            head: Arc::clone(head),
            at: of_user.position,
            from: plan.from,
            was_joined: plan.was_joined,
        })),
    }
}

impl RoomNews {
    /// The users whom the timeline shows: who sent its events, and whose membership they change.
    fn mentioned(&self) -> HashSet<OwnedUserId> {
        let timeline = self.section.iter().flat_map(|section| &section.timeline);
        timeline
            .flat_map(|event| {
                let target =
                    member_of(&event.pdu).and_then(|user| OwnedUserId::try_from(user).ok());
                [Some(event.pdu.sender().to_owned()), target]
            })
            .flatten()
            .collect()
    }

    /// Adds the state that is wanted. `members` are new to the client; those of `repeated` it
    /// knows, unless they have changed.
    fn add_state(
        &mut self,
        chosen: &Chosen<'_>,
        sent: Option<&Sent>,
        members: &HashSet<OwnedUserId>,
        repeated: &HashSet<OwnedUserId>,
    ) {
        let Some(section) = &self.section else { return };
        let required = &chosen.rule.required;
        if self.kind == Kind::Left {
            let is_shown = |pdu: &Arc<Pdu>| {
                let user = member_of(pdu).and_then(|user| OwnedUserId::try_from(user).ok());
                required.wants_event(pdu)
                    || user.is_some_and(|user| members.contains(&user) || repeated.contains(&user))
            };
            let end = section.timeline.iter().filter(|_| section.only_end);
            let end = end
                .filter(|event| event.slot.is_some())
                .map(|event| &event.pdu);
            let state = section.state.iter().chain(end);
            self.state = state.filter(|pdu| is_shown(pdu)).cloned().collect();
            return;
        }
        let room = self.head.room();
        let to = section.to;
        let mut state: BTreeMap<i64, Arc<Pdu>> = BTreeMap::new();
        let sent = sent.filter(|_| !self.initial);
        let from = self.from.filter(|_| sent.is_some());
        if let (Some(sent), Some(from)) = (sent, from) {
            let changed: Vec<Arc<Pdu>> = if let Some(events) = &section.known {
                newest_state(events, to)
            } else {
                let both = required.union(&sent.required);
                let changed = both.select(room).into_iter();
                changed
                    .filter(|event| event.position > from.0 && event.position <= to.0)
                    .map(|event| Arc::clone(&event.pdu))
                    .collect()
            };
            let is_outdated =
                |pdu: &Arc<Pdu>| !required.wants_event(pdu) && sent.required.wants_event(pdu);
            self.outdated = changed.iter().any(is_outdated);
            let changed = changed.into_iter().filter(|pdu| required.wants_event(pdu));
            // Any order will do: each slot is there once.
            state.extend((i64::MIN..).zip(changed));
        }
        let is_news = |event: &&Arc<crate::event::StateEvent>| {
            sent.is_none_or(|sent| !sent.required.wants_event(&event.pdu))
        };
        if sent.is_none_or(|sent| !sent.required.covers(required)) {
            let whole = required.select(room).into_iter();
            let whole = whole.filter(|event| event.position <= to.0).filter(is_news);
            state.extend(whole.map(|event| (event.position, Arc::clone(&event.pdu))));
        }
        let new = required::members(room, members, to);
        let changed = required::members(room, repeated, to)
            .filter(|member| from.is_some_and(|from| member.position > from.0));
        let lazy = new.chain(changed);
        state.extend(lazy.map(|member| (member.position, Arc::clone(&member.pdu))));
        let mut seen = HashSet::new();
        self.state = state.into_values().collect();
        self.state
            .retain(|pdu| seen.insert(pdu.owned_event_id().clone()));
    }

    /// Whether there is anything in it.
    fn says_anything(
        &self,
        before: Option<&Sent>,
        direct: &HashSet<ruma::OwnedRoomId>,
        has_read: bool,
    ) -> bool {
        let Some(section) = &self.section else {
            return true;
        };
        if self.kind == Kind::Left {
            // Who was invited and never came has nothing to see here, unless the client has it.
            let viewer = section.viewer.as_ref();
            return !self.initial || viewer.is_some_and(crate::rooms::Viewer::was_joined);
        }
        let is_direct = direct.contains(self.head.room().room_id());
        self.initial
            || self.expanded
            || self.from < Some(section.to)
            || !self.state.is_empty()
            || has_read
            || before.is_some_and(|before| before.is_direct != is_direct)
    }
}
