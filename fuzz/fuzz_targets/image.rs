//! Reading images: whatever comes in, a thumbnail comes out that is one, or a refusal.
#![no_main]

use chappe::media::images::{Job, Outcome, make};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    let job = Job {
        width: 96,
        height: 64,
        crops: choice & 1 == 0,
        is_animated: choice & 2 == 0,
        max_pixels: 1_000_000,
        max_memory: 64 << 20,
    };
    if let Outcome::Made { bytes, .. } = make(input, &job) {
        assert!(!matches!(make(&bytes, &job), Outcome::Unreadable));
    }
});
