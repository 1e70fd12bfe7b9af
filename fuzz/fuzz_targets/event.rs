//! Events as they are stored, and contents as clients send them.
#![no_main]

use chappe::event::{Pdu, build::content_from_json, client_format, redact::redact};
use libfuzzer_sys::fuzz_target;
use ruma::{RoomVersionId, event_id, room_id};
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    if let Ok(raw) = RawValue::from_string(text.to_owned())
        && let Ok(content) = content_from_json(&raw)
    {
        // What was taken is canonical: it is taken again, and is the same.
        let again = serde_json::to_string(&content).unwrap();
        let again = RawValue::from_string(again).unwrap();
        assert_eq!(content_from_json(&again).unwrap(), content);
    }
    let event_id = event_id!("$event").to_owned();
    let room_id = room_id!("!room:example.org").to_owned();
    let Ok(pdu) = Pdu::from_stored(event_id, room_id, text) else {
        return;
    };
    let _ = (pdu.membership(), pdu.any_redacts(), pdu.state_key());
    let shown = client_format::client_text(&pdu, &client_format::Unsigned::default(), true);
    serde_json::from_str::<serde_json::Value>(&shown).unwrap();
    for version in [RoomVersionId::V1, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let rules = version.rules().unwrap().redaction;
        if let Ok(redacted) = redact(&pdu, &rules) {
            // There is nothing more to take away.
            let again = redact(&redacted, &rules).unwrap();
            assert_eq!(again.json(), redacted.json());
        }
    }
});
