//! Searches as clients send them, and the tokens with which they go on.
#![no_main]

use chappe::rooms::{SearchToken, filter};
use libfuzzer_sys::fuzz_target;
use ruma::api::{IncomingRequest as _, client::search::search_events::v3::Request};

fuzz_target!(|input: (&[u8], &str)| {
    let (body, token) = input;
    if let Ok(token) = token.parse::<SearchToken>() {
        assert_eq!(token.to_string().parse::<SearchToken>().ok(), Some(token));
    }
    let request = http::Request::post("/_matrix/client/v3/search")
        .body(body)
        .unwrap();
    let Ok(request) = Request::try_from_http_request_inner(request, &[]) else {
        return;
    };
    if let Some(criteria) = request.search_categories.room_events {
        let _ = filter::is_selective(&criteria.filter);
        let _ = filter::is_lazy(&criteria.filter);
    }
});
