//! The small numbers that stand for long names in the database and in memory.

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A user, of this server or of another.
    UserNid
}
number! {
    /// A device of a user of this server.
    DeviceNid
}
number! {
    /// A room.
    RoomNid
}
number! {
    /// A (type, state key) pair.
    SlotNid
}
number! {
    /// A place in the one stream of everything that a sync can show, in commit order without gaps.
    StreamPosition
}
number! {
    /// A place on a room's line of events: 1 is the create event, and each event is one further.
    RoomPosition
}
