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

// Layer 6: what people upload.
pub mod media;

// Layer 7: rooms, calls, previews of web pages, what looks for viruses in files, and where devices
// meet that sign in by a QR code.
pub mod calls;
pub mod previews;
pub mod rendezvous;
pub mod rooms;
pub mod scanner;

// Layer 8: accounts and their sessions, and end-to-end encryption.
pub mod accounts;
pub mod keys;

// Layer 9: what a client missed, whose address is whose, and what the operator tells people.
pub mod identity;
pub mod notices;
pub mod push;
pub mod sync;

// Layer 10: what application services are told and asked.
pub mod bridges;

// Layer 11: what comes in.
pub mod http;

// Layer 12: everything put together.
pub mod app;

// Layer 13: the command line.
pub mod cli;
