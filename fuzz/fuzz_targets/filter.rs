//! Filters as clients send them: what they say is the same once they were stored, and what they let
//! through stays JSON.
#![no_main]

use chappe::{
    event::Pdu,
    rooms::{self, filter::RelationFilters},
    sync::Filter,
};
use libfuzzer_sys::fuzz_target;
use ruma::{
    api::client::filter::{FilterDefinition, RoomEventFilter},
    event_id, room_id,
};

fuzz_target!(|input: (&str, &str)| {
    let (text, event) = input;
    let pdu = Pdu::from_stored(
        event_id!("$event").to_owned(),
        room_id!("!room:example.org").to_owned(),
        event,
    );
    if let Ok(filter) = serde_json::from_str::<RoomEventFilter>(text)
        && let Ok(pdu) = &pdu
    {
        let _ = rooms::filter::is_selective(&filter);
        let _ = rooms::filter::allows(&filter, pdu);
    }
    if let Ok(relations) = serde_json::from_str::<rooms::filter::RelationFilter>(text)
        && let Ok(pdu) = &pdu
    {
        let _ = relations.allows(pdu);
    }
    let Ok(definition) = serde_json::from_str::<FilterDefinition>(text) else {
        return;
    };
    let stored = serde_json::to_string(&definition).unwrap();
    let again = Filter::new(
        serde_json::from_str(&stored).unwrap(),
        RelationFilters::default(),
    );
    let filter = Filter::new(definition, RelationFilters::default());
    assert_eq!(format!("{filter:?}"), format!("{again:?}"));
    let _ = filter.timeline.limit();
    if let Ok(pdu) = &pdu {
        let room_id = room_id!("!room:example.org");
        let wanted = filter.timeline.wants(room_id, pdu);
        assert_eq!(wanted, again.timeline.wants(room_id, pdu));
        serde_json::from_str::<serde_json::Value>(&filter.cut(event.to_owned())).unwrap();
    }
});
