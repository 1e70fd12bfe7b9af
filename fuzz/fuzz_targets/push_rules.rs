//! Push rules and the events that they are asked about.
#![no_main]

use chappe::event::{
    Pdu, PowerLevels,
    push::{Broadcast, Reader, Rules, Subject, merged, notifies_subscribers, usual},
};
use libfuzzer_sys::fuzz_target;
use ruma::{event_id, push::Ruleset, room_id, user_id};

fuzz_target!(|texts: (&str, &str, &str)| {
    let (rules, event, name) = texts;
    let user = user_id!("@bob:example.org");
    let Ok(own) = serde_json::from_str::<Ruleset>(rules) else {
        return;
    };
    let rules = Rules::new(&merged(own, usual(user)));
    let room_id = room_id!("!room:example.org").to_owned();
    for thread_subscriptions in [false, true] {
        let _ = rules.counting(user, &room_id, 2, thread_subscriptions);
    }
    let Ok(pdu) = Pdu::from_stored(event_id!("$event").to_owned(), room_id, event) else {
        return;
    };
    let levels = PowerLevels::default();
    let subject = Subject::new(&pdu, &levels, 2);
    for subscribed in [None, Some(false), Some(true)] {
        let reader = Reader {
            display_name: Some(name),
            subscribed,
        };
        let _ = rules.ask(&subject, &reader);
    }
    let _ = Broadcast::new(&pdu, &levels);
    let _ = notifies_subscribers(&pdu);
});
