//! Who is notified of an event, and how. For the many without rules of their own that is worked out
//! once; the rules of the others are kept between events, until they change in the stream.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedUserId, push::Action};

use super::Error;
use crate::{
    event::{
        self, Room,
        push::{Defaults, Reader, Rules, Subject},
    },
    rooms::{self, Asked, Subscribed},
    store::{
        Conn, Membership, UserNid, account_data,
        live::{OwnRules, TimelineEvent},
    },
};

/// The most users whose rules are kept.
const MAX_KNOWN: usize = 100_000;

/// What users say about being notified.
#[derive(Debug)]
pub(super) struct Deciders {
    known: HashMap<UserNid, (OwnedUserId, OwnRules)>,
    usual: Arc<Rules>,
    defaults: Defaults,
}

impl Deciders {
    /// The deciders of a server with such predefined rules.
    pub(super) fn new(defaults: Defaults) -> Self {
        Self {
            known: HashMap::new(),
            usual: Arc::new(Rules::new(&event::push::of_everybody(defaults))),
            defaults,
        }
    }

    /// Forgets what a user said: it has changed.
    pub(super) fn forget(&mut self, user: UserNid) {
        self.known.remove(&user);
    }

    /// Makes sure that the rules of users are known.
    pub(super) async fn load(&mut self, conn: &mut Conn, users: &[UserNid]) -> Result<(), Error> {
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        let missing: Vec<UserNid> = users
            .iter()
            .copied()
            .filter(|user| !self.known.contains_key(user))
            .collect();
        if !missing.is_empty() {
            self.known
                .extend(account_data::own_rules(conn, &missing).await?);
        }
        Ok(())
    }

    /// Which of these users an event notifies, and what their rules say.
    pub(super) fn decide(
        &self,
        event: &TimelineEvent,
        room: &Room,
        users: impl Iterator<Item = UserNid>,
        subscribed: &Subscribed,
    ) -> Vec<(UserNid, Arc<[Action]>)> {
        let subject = Subject::new(&event.pdu, room.power_levels(), room.joined_count());
        let usual = |subscribed| -> Option<Arc<[Action]>> {
            let reader = Reader {
                subscribed,
                ..Reader::default()
            };
            let usual = self.usual.ask(&subject, &reader);
            usual.notifies.then(|| usual.actions.into())
        };
        let thread = event.thread.as_deref();
        let (others, subscribers) = if subscribed.is_asked(thread) {
            (usual(Some(false)), usual(Some(true)))
        } else {
            (usual(None), None)
        };
        let sender = event.pdu.sender();
        let mentions = event.pdu.content_str().contains("m.mentions");
        let mut notified = Vec::new();
        for user in users {
            let Some((user_id, own)) = self.known.get(&user) else {
                continue;
            };
            if event.sender == user || own.ignored.contains(sender) {
                continue;
            }
            let is_mentioned = || event.pdu.content_str().contains(user_id.as_str());
            let is_named = (mentions && is_mentioned())
                || event.member.is_some_and(|member| {
                    member.user == user && member.after == Membership::Invite
                });
            let is_subscribed = subscribed.to(user, event.room, thread, event.position);
            let asked = Asked {
                event,
                room,
                own,
                user_id,
                subscribed: is_subscribed,
            };
            let actions = match &own.rules {
                Some(rules) => actions(&asked, rules),
                None if is_named => {
                    let rules = event::push::predefined(user_id, self.defaults);
                    actions(&asked, &Rules::new(&rules))
                }
                None if is_subscribed == Some(true) => subscribers.clone(),
                None => others.clone(),
            };
            notified.extend(actions.map(|actions| (user, actions)));
        }
        notified
    }
}

fn actions(asked: &Asked<'_>, rules: &Rules) -> Option<Arc<[Action]>> {
    let outcome = rooms::outcome(asked, rules);
    outcome.notifies.then(|| outcome.actions.into())
}
