//! Which state of a room a client wants (`required_state`).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Pdu, Room, StateEvent},
    store::RoomPosition,
};

/// Stands for any type or any state key.
pub(super) const ANY: &str = "*";
/// Stands for the members whom the timeline mentions.
const LAZY: &str = "$LAZY";
/// Stands for the reader.
const ME: &str = "$ME";
/// The type of member events.
const MEMBER: &str = "m.room.member";

/// Which state is wanted: (type, state key) pairs, with [`ANY`] on either side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Required {
    pairs: BTreeSet<(String, String)>,
    /// What is not wanted, although the pairs name it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    excluded: BTreeSet<(String, String)>,
    /// Whether members come as the timeline needs them, instead of all of them.
    lazy: bool,
}

impl Required {
    /// What a client asked for.
    pub(super) fn new(pairs: Vec<(String, String)>, reader: &UserId) -> Self {
        let mut lazy = false;
        let mut wanted = BTreeSet::new();
        for (event_type, state_key) in pairs {
            match state_key.as_str() {
                LAZY if event_type == MEMBER => lazy = true,
                // It means nothing for other types.
                LAZY => {}
                ME => {
                    wanted.insert((event_type, reader.to_string()));
                }
                _ => {
                    wanted.insert((event_type, state_key));
                }
            }
        }
        let all_members = wanted.contains(&pair(MEMBER, ANY));
        Self {
            pairs: wanted,
            excluded: BTreeSet::new(),
            lazy: lazy && !all_members,
        }
    }

    /// What a client asked for that says what it does not want as well.
    pub(super) fn of_elements(
        wanted: Vec<(String, String)>,
        excluded: Vec<(String, String)>,
        lazy: bool,
    ) -> Self {
        let all_members = pair(MEMBER, ANY);
        let wanted = wanted.into_iter();
        Self {
            pairs: wanted
                .filter(|pair| !lazy || *pair != all_members)
                .collect(),
            excluded: excluded.into_iter().collect(),
            lazy,
        }
    }

    /// How many pairs there are.
    pub(super) fn len(&self) -> usize {
        self.pairs.len() + self.excluded.len()
    }

    /// Whether members come as the timeline needs them.
    pub(super) fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// What either of the two wants.
    pub(super) fn union(&self, other: &Self) -> Self {
        let all_members = self.wants_all_members() || other.wants_all_members();
        let mut pairs = self.pairs.clone();
        pairs.extend(other.pairs.iter().cloned());
        if all_members {
            pairs.insert(pair(MEMBER, ANY));
        }
        Self {
            pairs,
            excluded: self
                .excluded_by(other)
                .chain(other.excluded_by(self))
                .collect(),
            lazy: (self.lazy || other.lazy) && !all_members,
        }
    }

    /// What is excluded here, and not wanted by `other` either.
    fn excluded_by<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (String, String)> + use<'a> {
        let excluded = self.excluded.iter();
        excluded.filter(|one| !other.may_want(one)).cloned()
    }

    /// Whether there may be state that a pair names and that is wanted here.
    fn may_want(&self, named: &(String, String)) -> bool {
        let overlap = |one: &str, other: &str| one == other || one == ANY || other == ANY;
        let has_any = named.0 == ANY || named.1 == ANY;
        let excluded = self.excluded.contains(named)
            || (!has_any && names(&self.excluded, &named.0, &named.1));
        let mut pairs = self.pairs.iter();
        !excluded && pairs.any(|pair| overlap(&pair.0, &named.0) && overlap(&pair.1, &named.1))
    }

    /// Whether everything that `other` wants is wanted here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if other.wants_all_members() && !self.wants_all_members() {
            return false;
        }
        if other.lazy && !self.lazy && !self.wants_all_members() {
            return false;
        }
        if self
            .excluded
            .iter()
            .any(|excluded| other.may_want(excluded))
        {
            return false;
        }
        let pairs = other.pairs.iter();
        pairs
            .filter(|(event_type, state_key)| event_type != MEMBER || state_key != ANY)
            .all(|(event_type, state_key)| self.includes(event_type, state_key))
    }

    fn wants_all_members(&self) -> bool {
        !self.lazy
            && (self.pairs.contains(&pair(MEMBER, ANY)) || self.pairs.contains(&pair(ANY, ANY)))
    }

    /// Whether a state event is wanted, whatever the timeline holds.
    pub(super) fn wants(&self, event_type: &str, state_key: &str) -> bool {
        self.includes(event_type, state_key) && !names(&self.excluded, event_type, state_key)
    }

    /// Whether the pairs name a state event.
    fn includes(&self, event_type: &str, state_key: &str) -> bool {
        if self.lazy && event_type == MEMBER {
            let has = |event_type: &str| self.pairs.contains(&pair(event_type, state_key));
            return has(MEMBER) || has(ANY);
        }
        names(&self.pairs, event_type, state_key)
    }

    /// The same of an event.
    pub(super) fn wants_event(&self, pdu: &Pdu) -> bool {
        let state_key = pdu.state_key();
        state_key.is_some_and(|key| self.wants(&pdu.event_type().to_string(), key))
    }

    /// The state events of a room that are wanted. Walks over all members only if all are wanted.
    pub(super) fn select<'a>(&'a self, room: &'a Room) -> Vec<&'a Arc<StateEvent>> {
        let mut selected = self.included(room);
        if !self.excluded.is_empty() {
            selected.retain(|event| self.wants_event(&event.pdu));
        }
        selected
    }

    /// Those that the pairs name.
    fn included<'a>(&'a self, room: &'a Room) -> Vec<&'a Arc<StateEvent>> {
        let mut selected: Vec<&Arc<StateEvent>> = Vec::new();
        let any_type = |(event_type, _): &(String, String)| event_type == ANY;
        if self.pairs.iter().any(any_type) {
            for event_type in room.state_types() {
                let name = event_type.to_string();
                let all = (name != MEMBER || !self.lazy)
                    && (self.pairs.contains(&pair(ANY, ANY))
                        || self.pairs.contains(&pair(&name, ANY)));
                if all {
                    selected.extend(room.state_of_type(event_type));
                } else {
                    let keys = self.keys_of(&name);
                    selected.extend(keys.filter_map(|key| room.state_event(event_type, key)));
                }
            }
            return selected;
        }
        for (event_type, state_key) in &self.pairs {
            let event_type = StateEventType::from(event_type.as_str());
            if state_key == ANY {
                selected.extend(room.state_of_type(&event_type));
            } else if !self.pairs.contains(&pair(&event_type.to_string(), ANY)) {
                selected.extend(room.state_event(&event_type, state_key));
            }
        }
        selected
    }

    /// The state keys, none of them [`ANY`], that are wanted of a type, each once.
    fn keys_of<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a str> {
        let of_type = |name: &str| name == event_type || name == ANY;
        let keys: BTreeSet<&str> = self
            .pairs
            .iter()
            .filter(|(name, key)| of_type(name) && key != ANY)
            .map(|(_, key)| key.as_str())
            .collect();
        keys.into_iter()
    }
}

/// The members of a room among `users`, as they are now, that are no younger than `to`.
pub(super) fn members<'a>(
    room: &'a Room,
    users: &'a HashSet<OwnedUserId>,
    to: RoomPosition,
) -> impl Iterator<Item = &'a Arc<StateEvent>> {
    users
        .iter()
        .filter_map(|user| room.member(user))
        .filter(move |member| member.position <= to.0)
}

/// Whether any of the pairs names a state event.
fn names(pairs: &BTreeSet<(String, String)>, event_type: &str, state_key: &str) -> bool {
    let has = |event_type: &str, state_key: &str| pairs.contains(&pair(event_type, state_key));
    !pairs.is_empty()
        && (has(event_type, state_key)
            || has(ANY, state_key)
            || has(event_type, ANY)
            || has(ANY, ANY))
}

fn pair(event_type: &str, state_key: &str) -> (String, String) {
    (event_type.to_owned(), state_key.to_owned())
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::Required;

    fn required(pairs: &[(&str, &str)]) -> Required {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(event_type, key)| ((*event_type).to_owned(), (*key).to_owned()));
        Required::new(pairs.collect(), user_id!("@me:example.org"))
    }

    #[test]
    fn pairs_and_wildcards_say_which_state_is_wanted() {
        type Case = (
            &'static [(&'static str, &'static str)],
            &'static str,
            &'static str,
            bool,
        );
        let cases: &[Case] = &[
            (&[], "m.room.name", "", false),
            (&[("m.room.name", "")], "m.room.name", "", true),
            (&[("m.room.name", "")], "m.room.name", "a", false),
            (&[("m.room.name", "*")], "m.room.name", "a", true),
            (&[("*", "a")], "m.room.name", "a", true),
            (&[("*", "a")], "m.room.name", "b", false),
            (&[("*", "*")], "m.room.member", "@a:b", true),
            (
                &[("*", "*"), ("m.room.member", "$LAZY")],
                "m.room.member",
                "@a:b",
                false,
            ),
            (
                &[("*", "*"), ("m.room.member", "$LAZY")],
                "m.room.name",
                "",
                true,
            ),
            (
                &[("m.room.member", "$ME")],
                "m.room.member",
                "@me:example.org",
                true,
            ),
            (&[("m.room.member", "$ME")], "m.room.member", "@a:b", false),
            (
                &[("m.room.member", "*"), ("m.room.member", "$LAZY")],
                "m.room.member",
                "@a:b",
                true,
            ),
            (&[("m.room.name", "$LAZY")], "m.room.name", "$LAZY", false),
        ];
        for (pairs, event_type, key, expected) in cases {
            let wants = required(pairs).wants(event_type, key);
            assert_eq!(wants, *expected, "{pairs:?} {event_type} {key}");
        }
    }

    #[test]
    fn one_wish_may_cover_another() {
        let all = required(&[("*", "*")]);
        let lazy = required(&[("*", "*"), ("m.room.member", "$LAZY")]);
        let name = required(&[("m.room.name", "")]);
        let members = required(&[("m.room.member", "*")]);
        let nothing = required(&[]);
        for (one, other, expected) in [
            (&all, &name, true),
            (&all, &lazy, true),
            (&lazy, &all, false),
            (&lazy, &name, true),
            (&lazy, &members, false),
            (&all, &members, true),
            (&name, &nothing, true),
            (&name, &all, false),
            (&nothing, &name, false),
        ] {
            assert_eq!(one.covers(other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_is_excluded_is_not_wanted_unless_another_wish_names_it() {
        let elements = |wanted: &[(&str, &str)], excluded: &[(&str, &str)]| {
            let pairs = |pairs: &[(&str, &str)]| {
                let pairs = pairs.iter();
                pairs
                    .map(|(event_type, key)| ((*event_type).to_owned(), (*key).to_owned()))
                    .collect()
            };
            Required::of_elements(pairs(wanted), pairs(excluded), false)
        };
        let all = required(&[("*", "*")]);
        let most = elements(&[("*", "*")], &[("m.room.name", "")]);
        let no_members = elements(&[("*", "*")], &[("m.room.member", "*")]);
        let name = required(&[("m.room.name", "")]);
        let topic = required(&[("m.room.topic", "")]);
        assert!(most.wants("m.room.topic", "") && !most.wants("m.room.name", ""));
        assert!(most.wants("m.room.name", "other"));
        assert!(!no_members.wants("m.room.member", "@a:b"));
        for (one, other, wants_name, wants_members) in [
            (&most, &name, true, true),
            (&most, &topic, false, true),
            (&most, &all, true, true),
            (&most, &most, false, true),
            (&no_members, &topic, true, false),
            (&no_members, &most, true, true),
        ] {
            for both in [one.union(other), other.union(one)] {
                assert_eq!(both.wants("m.room.name", ""), wants_name, "{both:?}");
                assert_eq!(
                    both.wants("m.room.member", "@a:b"),
                    wants_members,
                    "{both:?}"
                );
                assert!(both.covers(one) && both.covers(other), "{both:?}");
            }
        }
        assert!(all.covers(&most) && most.covers(&topic));
        assert!(!most.covers(&all) && !most.covers(&name));
    }

    #[test]
    fn a_union_wants_what_either_wants() {
        let all = required(&[("*", "*")]);
        let lazy = required(&[("m.room.member", "$LAZY")]);
        assert!(all.union(&lazy).wants("m.room.member", "@a:b"));
        let name = required(&[("m.room.name", "")]);
        let both = lazy.union(&name);
        assert!(both.is_lazy() && both.wants("m.room.name", ""));
        assert!(both.covers(&lazy) && both.covers(&name));
    }
}
