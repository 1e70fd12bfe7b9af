//! E-mail addresses: what is accepted has one reading.
#![no_main]

use chappe::policy::EmailAddress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(address) = EmailAddress::parse(text) else {
        return;
    };
    let read = address.as_str();
    assert_eq!(read.matches('@').count(), 1);
    assert_eq!(read, format!("{}@{}", address.local(), address.domain()));
    assert!(!address.local().is_empty() && !address.domain().is_empty());
    assert!(!read.contains(|c: char| c.is_control() || c.is_whitespace() || "<>()[]\",;:\\".contains(c)));
    assert!(address.domain().is_ascii());
    // Reading it again changes nothing.
    assert_eq!(EmailAddress::parse(read).unwrap().as_str(), read);
});
