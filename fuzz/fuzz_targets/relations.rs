//! What events say of how they relate to others, and what is asked of the events that do.
#![no_main]

use chappe::{event::Pdu, rooms::Token};
use libfuzzer_sys::fuzz_target;
use ruma::{
    api::{
        IncomingRequest as _,
        client::relations::get_relating_events_with_rel_type_and_event_type::v1::Request,
    },
    event_id, room_id,
};

fuzz_target!(|input: (&str, &str, [&str; 4])| {
    let (event, query, path) = input;
    let event_id = event_id!("$event").to_owned();
    if let Ok(pdu) = Pdu::from_stored(event_id, room_id!("!room:example.org").to_owned(), event) {
        let _ = format!("{:?}", pdu.relates_to());
    }
    let Ok(uri) = format!("/relations?{query}").parse::<http::Uri>() else {
        return;
    };
    let request = http::Request::get(uri).body(&b""[..]).unwrap();
    if let Ok(request) = Request::try_from_http_request_inner(request, &path) {
        for token in [request.from, request.to].into_iter().flatten() {
            let _ = token.parse::<Token>();
        }
    }
});
