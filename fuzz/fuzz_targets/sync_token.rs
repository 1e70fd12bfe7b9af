//! The tokens that clients send back.
#![no_main]

use chappe::{
    rooms::{Token, token_after},
    sync::SyncToken,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<SyncToken>() {
        assert_eq!(token.to_string().parse::<SyncToken>(), Ok(token));
        // A token of a sync stands for a point of each room as well.
        assert_eq!(text.parse::<Token>(), Ok(Token::Stream(token.position)));
    }
    if let Ok(Token::Room(position)) = text.parse::<Token>() {
        assert_eq!(token_after(position).parse::<Token>(), Ok(Token::Room(position)));
    }
});
