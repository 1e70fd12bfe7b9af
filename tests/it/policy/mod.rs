//! The rules of Tchap, as people and clients meet them.

mod rooms;
