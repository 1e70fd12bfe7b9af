//! Chappe: a Matrix homeserver with the Tchap policy inside.
//!
//! The modules are listed by layer, lowest first. A module uses lower layers only;
//! `tests/it/tidy.rs` holds this order.

// Layer 0: leaves, which know nothing of the others.
pub mod clock;
pub mod language;
pub mod lifecycle;
pub mod outbound;
pub mod random;
pub mod telemetry;
pub mod templates;

// Layer 1: settings.
pub mod config;

// Layer 2: what Matrix says of events (pure), and which users, aliases and rooms belong to
// application services.
pub mod appservice;
pub mod event;

// Layer 3: what Tchap says of people. Pure.
pub mod policy;

// Layer 4: the only SQL, and what a process holds in memory.
pub mod store;

// Layer 5: gateways to the outside, and what people see of them.
pub mod audit;
pub mod cluster;
pub mod mail;
pub mod pages;

// Layer 6: rooms, and calls.
pub mod calls;
pub mod rooms;

// Layer 7: accounts and their sessions, and end-to-end encryption.
pub mod accounts;
pub mod keys;

// Layer 8: what a client missed, whose address is whose, and what the operator tells people.
pub mod identity;
pub mod notices;
pub mod sync;

// Layer 9: what application services are told and asked.
pub mod bridges;

// Layer 10: what comes in.
pub mod http;

// Layer 11: everything put together.
pub mod app;

// Layer 12: the command line.
pub mod cli;
