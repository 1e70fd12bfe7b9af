//! Buckets that empty and refill.

use std::{sync::Arc, time::Duration};

use super::{Kind, Rate, RateLimitSettings, RateLimits};
use crate::{clock::ManualClock, store::UserNid};

fn limits(per_second: f64, burst: u32) -> (RateLimits, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let rate = Rate { per_second, burst };
    let settings = RateLimitSettings {
        join: rate,
        login_failed: rate,
        registration: rate,
        ..RateLimitSettings::default()
    };
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    (RateLimits::new(&settings, shared), clock)
}

#[test]
fn a_bucket_empties_and_refills() {
    let (limits, clock) = limits(0.5, 3);
    let join = || limits.check_user(Kind::Join, UserNid(1));
    for _ in 0..3 {
        join().unwrap();
    }
    assert_eq!(join().unwrap_err().status(), 429);
    limits.check_user(Kind::Join, UserNid(2)).unwrap();
    clock.advance(Duration::from_secs(2));
    join().unwrap();
    join().unwrap_err();
}

#[test]
fn several_are_taken_at_once_and_never_more_than_there_can_be() {
    let (limits, clock) = limits(1.0, 10);
    let join = |count| limits.check_user_for(Kind::Join, UserNid(1), count);
    join(4).unwrap();
    join(6).unwrap();
    join(1).unwrap_err();
    clock.advance(Duration::from_secs(9));
    // As much as a full bucket, which this one is not.
    join(1000).unwrap_err();
    clock.advance(Duration::from_secs(1));
    join(1000).unwrap();
    join(1).unwrap_err();
    clock.advance(Duration::from_secs(1));
    join(0).unwrap();
}

#[test]
fn looking_takes_nothing() {
    let (limits, _) = limits(0.1, 1);
    for _ in 0..10 {
        limits.peek_text(Kind::LoginFailed, "camille").unwrap();
    }
    limits.check_text(Kind::LoginFailed, "camille").unwrap();
    limits.peek_text(Kind::LoginFailed, "camille").unwrap_err();
    limits.peek_text(Kind::LoginFailed, "claude").unwrap();
}

#[test]
fn one_household_of_ipv6_shares_a_bucket() {
    let (limits, _) = limits(0.1, 1);
    let register =
        |address: &str| limits.check_address(Kind::Registration, address.parse().unwrap());
    register("2001:db8::1").unwrap();
    register("2001:db8::2").unwrap_err();
    register("2001:db8:0:1::1").unwrap();
    register("198.51.100.7").unwrap();
    register("::ffff:198.51.100.7").unwrap_err();
}

#[test]
fn new_rates_apply_at_once_and_may_be_nonsense() {
    let (limits, _) = limits(1.0, 1);
    limits.check_user(Kind::Join, UserNid(1)).unwrap();
    limits.check_user(Kind::Join, UserNid(1)).unwrap_err();
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
        let join = Rate {
            per_second,
            burst: 0,
        };
        limits.reload(&RateLimitSettings {
            join,
            ..RateLimitSettings::default()
        });
        limits.check_user(Kind::Join, UserNid(1)).unwrap();
    }
    limits.reload(&RateLimitSettings {
        enabled: false,
        ..RateLimitSettings::default()
    });
    for _ in 0..1000 {
        limits.check_user(Kind::Join, UserNid(1)).unwrap();
    }
}
