//! The kinds of mail, and what each says (tchap.md, section 5.4).

use std::time::Duration;

use url::Url;

/// A kind of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks the holder of an address to show that it is theirs.
    AddressVerification,
    /// Asks the holder of an account whether its password may change.
    PasswordReset,
    /// Invites somebody who has no account to make one and to join a room.
    Invitation,
    /// Asks the holder of an account to keep it open.
    Renewal,
    /// Tells somebody who wants to make an account that they have one.
    AlreadyRegistered,
    /// Tells of messages that wait.
    Unread,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::AddressVerification,
        Self::PasswordReset,
        Self::Invitation,
        Self::Renewal,
        Self::AlreadyRegistered,
        Self::Unread,
    ];

    /// The kind's name, in the names of its templates and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddressVerification => "address_verification",
            Self::PasswordReset => "password_reset",
            Self::Invitation => "invitation",
            Self::Renewal => "renewal",
            Self::AlreadyRegistered => "already_registered",
            Self::Unread => "unread",
        }
    }
}

/// An invitation to a room, for somebody who has no account yet.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// The display name of who invites.
    pub inviter: &'a str,
    /// The room's name, if it has one that the reader may know.
    pub room_name: Option<&'a str>,
    /// Where to register.
    pub link: &'a Url,
    /// How long the invitation can be accepted.
    pub valid_for: Duration,
}

/// An account that is about to expire, or has.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// The display name of its holder.
    pub display_name: &'a str,
    /// When it expires, in milliseconds since the epoch.
    pub expires_ms: u64,
    /// In how many days that is; 0 once it has expired.
    pub days: u64,
    /// What keeps the account open when it is opened.
    pub link: Option<&'a Url>,
    /// What keeps the account open when it is given to the application (AV-12).
    pub code: Option<&'a str>,
}

/// Messages that nobody has read.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a> {
    /// The display name of whom they wait for.
    pub display_name: &'a str,
    /// How many there are.
    pub count: u64,
    /// For how long the oldest has waited at least.
    pub after: Duration,
    /// Where to read them.
    pub link: Option<&'a Url>,
    /// Where to say that no such mail is wanted.
    pub unsubscribe: &'a Url,
}

/// What a mail says.
#[derive(Clone, Copy, Debug)]
pub enum Letter<'a> {
    /// A link that proves who reads an address.
    AddressVerification {
        /// The link.
        link: &'a Url,
        /// How long it works.
        valid_for: Duration,
    },
    /// A link that allows a new password.
    PasswordReset {
        /// The link.
        link: &'a Url,
        /// How long it works.
        valid_for: Duration,
    },
    /// An invitation.
    Invitation(Invitation<'a>),
    /// An account to be renewed.
    Renewal(Renewal<'a>),
    /// There is an account already.
    AlreadyRegistered {
        /// Where to log in.
        link: &'a Url,
    },
    /// Messages wait.
    Unread(Unread<'a>),
}

impl Letter<'_> {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::AddressVerification { .. } => Kind::AddressVerification,
            Self::PasswordReset { .. } => Kind::PasswordReset,
            Self::Invitation(_) => Kind::Invitation,
            Self::Renewal(_) => Kind::Renewal,
            Self::AlreadyRegistered { .. } => Kind::AlreadyRegistered,
            Self::Unread(_) => Kind::Unread,
        }
    }

    /// For how long the mail is of use. `None`: always.
    pub(super) fn valid_for(&self) -> Option<Duration> {
        match self {
            Self::AddressVerification { valid_for, .. } | Self::PasswordReset { valid_for, .. } => {
                Some(*valid_for)
            }
            Self::Invitation(invitation) => Some(invitation.valid_for),
            Self::Renewal(_) | Self::AlreadyRegistered { .. } | Self::Unread(_) => None,
        }
    }

    /// The link that the mail is sent for.
    pub(super) fn link(&self) -> Option<&Url> {
        match self {
            Self::AddressVerification { link, .. }
            | Self::PasswordReset { link, .. }
            | Self::AlreadyRegistered { link } => Some(link),
            Self::Invitation(invitation) => Some(invitation.link),
            Self::Renewal(renewal) => renewal.link,
            Self::Unread(unread) => unread.link,
        }
    }
}
