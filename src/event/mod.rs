//! Events as data: the pure core, without I/O, clock or randomness.
//!
//! A local event takes this way: a [`Draft`] goes to [`Room::build_event`], which chooses the auth
//! events from the snapshot's state ([`auth`]), lays out the event ([`build`]), hashes and signs it
//! ([`SigningKey`]), checks the authorization rules, and gives the [`Pdu`] with the next snapshot.
//! Clients see it through [`client_format`], and only where [`visibility`] allows.
//!
//! The checks on an event of another server are listed in the server-server API v1.19, "Checks
//! performed on receipt of a PDU".

pub mod auth;
pub mod build;
pub mod client_format;
mod json;
mod members;
mod parsed;
mod pdu;
mod power_levels;
pub mod push;
pub mod redact;
pub mod relation;
mod room;
mod signing;
#[cfg(test)]
mod tests;
pub mod threads;
pub mod version;
pub mod visibility;

pub use self::{
    auth::AuthFailure,
    build::{BuildError, Draft},
    pdu::{Pdu, PduError},
    power_levels::PowerLevels,
    room::{EventError, Room, RoomError, StateEvent},
    signing::{KeyError, SigningKey},
};
