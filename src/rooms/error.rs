//! Why a room operation failed, in the words of the domain.

use std::time::Duration;

use ruma::RoomVersionId;

use crate::{
    event::{BuildError, EventError},
    policy::Violation,
    store::StoreError,
};

/// A failed room operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not know the room.
    #[error("unknown room")]
    UnknownRoom,
    /// The user is not in the room, or there is no such room.
    #[error("you are not joined to this room")]
    NotJoined,
    /// The room has no such event, or the user may not see it.
    #[error("event not found")]
    UnknownEvent,
    /// The room has no such state.
    #[error("state not found")]
    UnknownState,
    /// The room does not allow it: power levels, join rules, bans.
    #[error("{0}")]
    Forbidden(String),
    /// The room does not let guest accounts in.
    #[error("guests may not join this room")]
    GuestAccess,
    /// The authorization rules or the event format refuse the event.
    #[error(transparent)]
    Event(EventError),
    /// A rule of the policy refuses it.
    #[error("{}", .0.message.en)]
    Denied(Violation),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The content of an event has another shape than its type asks for.
    #[error("{0}")]
    BadContent(String),
    /// A new room would begin with state that its own rules refuse.
    #[error("{0}")]
    InvalidRoomState(String),
    /// An invitation to the room of server notices cannot be refused.
    #[error("you cannot reject the invitation to the room of server notices")]
    NoticesRoom,
    /// Only rooms that the user has left can be forgotten.
    #[error("only rooms that you have left can be forgotten")]
    NotLeft,
    /// The room version is not supported.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(RoomVersionId),
    /// There is no such alias.
    #[error("room alias not found")]
    UnknownAlias,
    /// The alias belongs to a room already.
    #[error("the room alias is taken")]
    AliasTaken,
    /// The alias is kept for an application service.
    #[error("the alias belongs to an application service")]
    AliasExclusive,
    /// An alias in the canonical alias event does not point to this room.
    #[error("{0}")]
    BadAlias(String),
    /// Somebody who is to be invited refuses all invitations.
    #[error("the user does not want to be invited")]
    InviteBlocked,
    /// There is no such user.
    #[error("unknown user")]
    UnknownUser,
    /// The room, or its alias, is on another server, and there is no federation.
    #[error("the room is on a server that cannot be reached")]
    Unreachable,
    /// What was asked for is not there.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// A content that is no object.
    #[error("{0}")]
    BadJson(&'static str),
    /// A content that is too large to be kept.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// Account data that the server alone changes.
    #[error("account data of this type is changed by other endpoints")]
    ServerManaged,
    /// An event is to be sent later than the server allows: no later than after this time.
    #[error("events can be delayed by {} seconds at most", .0.as_secs())]
    DelayTooLong(Duration),
    /// The user has as many events to be sent later as the server allows.
    #[error("too many events wait to be sent")]
    TooManyDelayed {
        /// When the first of them is sent.
        retry_after: Duration,
    },
    /// An event to be sent later was sent already, or was canceled.
    #[error("the event was sent or canceled already")]
    DelayedDone,
    /// The account of the sender is closed, locked or suspended.
    #[error("the account is held back")]
    HeldBack,
    /// Messages cannot be searched on this server.
    #[error("search is disabled on this server")]
    SearchDisabled,
    /// The user has reacted in the same way already.
    #[error("you have annotated this event in the same way already")]
    DuplicateAnnotation,
    /// A thread begins with an event that relates to nothing.
    #[error("a thread cannot begin with an event that relates to another one")]
    NestedThread,
    /// An event that would have a client subscribe to a thread is not in it.
    #[error("the event is not in the thread")]
    NotInThread,
    /// The user has unsubscribed from a thread after the event for which a client would subscribe.
    #[error("you have unsubscribed from the thread since")]
    Unsubscribed,
    /// The room changes faster than this event could be built.
    #[error("the room is too busy")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EventError> for Error {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Refused(failure) => Self::Forbidden(failure.to_string()),
            error @ EventError::Build(_) => Self::Event(error),
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::Event(EventError::Build(error))
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Denied(violation)
    }
}
