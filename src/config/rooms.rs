//! `[rooms]`: what new rooms are like.

use ruma::RoomVersionId;
use serde::{Deserialize, Serialize};

use super::{Problem, Profile, policy::Enforce, units::HumanDuration};

/// `[rooms]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of new rooms whose creator asks for none.
    pub default_version: RoomVersionId,
    /// Whether messages that are not encrypted can be searched on the server.
    pub search: bool,
    /// `[rooms.retention]`.
    pub retention: Retention,
    /// `[rooms.delayed_events]`.
    pub delayed_events: DelayedEvents,
}

/// `[rooms.delayed_events]`: events that clients ask to be sent later (MSC4140).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DelayedEvents {
    /// How much later at most.
    pub max_delay: HumanDuration,
    /// How many events one user may have scheduled at once; 0: none.
    pub max_scheduled: u32,
}

impl Default for DelayedEvents {
    fn default() -> Self {
        Self {
            max_delay: HumanDuration::from_secs(24 * 60 * 60),
            max_scheduled: 100,
        }
    }
}

/// `[rooms.retention]`: how long messages are kept (MSC1763; tchap.md, 4.10).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Whether messages are deleted that are older than their room keeps them; by default with the
    /// profile `tchap`.
    pub purge: Enforce,
    /// How long the messages of rooms are kept that have no `m.room.retention` event; for ever if
    /// not set.
    pub default_lifetime: Option<HumanDuration>,
    /// The shortest time that a room may ask for.
    pub shortest: HumanDuration,
    /// The longest time that a room may ask for; no bound if not set.
    pub longest: Option<HumanDuration>,
    /// The time between two runs of the job.
    pub interval: HumanDuration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            purge: Enforce::default(),
            default_lifetime: None,
            shortest: HumanDuration::from_secs(24 * 60 * 60),
            longest: None,
            interval: HumanDuration::from_secs(60 * 60),
        }
    }
}

impl Retention {
    /// Whether the job runs with this profile.
    pub fn purges(&self, profile: Profile) -> bool {
        self.purge.applies(profile)
    }

    fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let minute = HumanDuration::from_secs(60);
        for (key, found) in [("shortest", self.shortest), ("interval", self.interval)] {
            if found < minute {
                let message = format!("found {found}, expected a minute or more");
                problems.push(Problem::new(format!("rooms.retention.{key}"), message));
            }
        }
        for (key, found) in [
            ("default_lifetime", self.default_lifetime),
            ("longest", self.longest),
        ] {
            if let Some(found) = found
                && found < self.shortest
            {
                let message = format!(
                    "found {found}, expected at least `rooms.retention.shortest`, which is {}",
                    self.shortest
                );
                problems.push(Problem::new(format!("rooms.retention.{key}"), message));
            }
        }
        problems
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: RoomVersionId::V12,
            search: true,
            retention: Retention::default(),
            delayed_events: DelayedEvents::default(),
        }
    }
}

impl Rooms {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let known = self.default_version.rules().is_some();
        let message = format!(
            "found \"{}\", expected a room version from 1 to 12",
            self.default_version
        );
        let problem = Problem::new("rooms.default_version", message);
        let mut problems = self.retention.validate();
        problems.extend((!known).then_some(problem));
        problems
    }
}
