//! Who is notified of an event, and how. For the many without rules of their own that is worked out
//! once; the rules of the others are kept between events, until they change in the stream.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedUserId, UserId, push::Action};

use super::Error;
use crate::{
    event::{
        self, Room,
        push::{Reader, Rules, Subject},
    },
    rooms,
    store::{
        Conn, Membership, UserNid,
        live::{OwnRules, TimelineEvent},
        memberships,
    },
};

/// The most users whose rules are kept.
const MAX_KNOWN: usize = 100_000;

/// What users say about being notified.
#[derive(Debug)]
pub(super) struct Deciders {
    known: HashMap<UserNid, (OwnedUserId, OwnRules)>,
    usual: Arc<Rules>,
    noisy: bool,
}

impl Deciders {
    /// `noisy`: see [`event::push::predefined`].
    pub(super) fn new(noisy: bool) -> Self {
        Self {
            known: HashMap::new(),
            usual: Arc::new(Rules::new(&event::push::of_everybody(noisy))),
            noisy,
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
                .extend(memberships::own_rules(conn, &missing).await?);
        }
        Ok(())
    }

    /// Which of these users an event notifies, and what their rules say.
    pub(super) fn decide(
        &self,
        event: &TimelineEvent,
        room: &Room,
        users: impl Iterator<Item = UserNid>,
    ) -> Vec<(UserNid, Arc<[Action]>)> {
        let subject = Subject::new(&event.pdu, room.power_levels(), room.joined_count());
        let usual = self.usual.ask(&subject, &Reader::default());
        let usual: Option<Arc<[Action]>> = usual.notifies.then(|| usual.actions.into());
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
            let actions = match &own.rules {
                Some(rules) => actions(event, room, own, rules, user_id),
                None if is_named => {
                    let rules = event::push::predefined(user_id, self.noisy);
                    actions(event, room, own, &Rules::new(&rules), user_id)
                }
                None => usual.clone(),
            };
            notified.extend(actions.map(|actions| (user, actions)));
        }
        notified
    }
}

fn actions(
    event: &TimelineEvent,
    room: &Room,
    own: &OwnRules,
    rules: &Rules,
    user_id: &UserId,
) -> Option<Arc<[Action]>> {
    let outcome = rooms::outcome(event, room, own, rules, user_id);
    outcome.notifies.then(|| outcome.actions.into())
}
