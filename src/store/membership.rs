//! Memberships as the database and the rooms in memory hold them.

use ruma::events::room::member::MembershipState;

/// What a user is to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Membership {
    /// Left, was kicked, refused an invite, or never was there.
    #[default]
    Leave = 0,
    /// Invited.
    Invite = 1,
    /// Joined.
    Join = 2,
    /// Asks to be let in.
    Knock = 3,
    /// Banned.
    Ban = 4,
}

impl Membership {
    /// The number in the database.
    pub fn to_sql(self) -> i16 {
        match self {
            Self::Leave => 0,
            Self::Invite => 1,
            Self::Join => 2,
            Self::Knock => 3,
            Self::Ban => 4,
        }
    }

    /// From the number in the database; what is unknown is no membership.
    pub fn from_sql(number: i16) -> Self {
        match number {
            1 => Self::Invite,
            2 => Self::Join,
            3 => Self::Knock,
            4 => Self::Ban,
            _ => Self::Leave,
        }
    }

    /// The word that Matrix uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Ban => "ban",
        }
    }
}

impl From<&MembershipState> for Membership {
    fn from(state: &MembershipState) -> Self {
        match state {
            MembershipState::Join => Self::Join,
            MembershipState::Invite => Self::Invite,
            MembershipState::Knock => Self::Knock,
            MembershipState::Ban => Self::Ban,
            _ => Self::Leave,
        }
    }
}
