//! What clients ask of sliding sync, and the positions that they send back.
#![no_main]

use std::time::Duration;

use chappe::{
    rooms::Actor,
    store::{DeviceNid, UserNid},
    sync::sliding::{Body, Position, Request},
};
use libfuzzer_sys::fuzz_target;
use ruma::user_id;

fuzz_target!(|input: (&str, &str)| {
    let (text, pos) = input;
    let pos = pos.parse::<Position>().ok();
    if let Some(pos) = pos {
        assert_eq!(pos.to_string().parse::<Position>().ok(), Some(pos));
    }
    if let Ok(body) = serde_json::from_str::<Body>(text) {
        let actor = Actor {
            user_id: user_id!("@a:b").to_owned(),
            user: UserNid(1),
            device: Some(DeviceNid(1)),
        };
        if let Ok(request) = Request::new(actor, pos, Duration::ZERO, body) {
            assert_eq!(request.actor().user_id, "@a:b");
        }
    }
});
