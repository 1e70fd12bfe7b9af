//! What the tests stand on: servers, clients, databases, and stand-ins for other machines.

pub(crate) mod accounts;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod keys;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod smtp;
pub(crate) mod tchap;
