//! What the profile of the server changes.

use ruma::server_name;

use super::{address, me, open, tchap};
use crate::{
    config::Profile,
    policy::{AddressInfo, EmailAddress, OPEN},
};

#[test]
fn reg_15_the_tchap_profile_derives_user_names() {
    assert!(tchap("").username_is_derived());
    assert!(!open("").username_is_derived());
}

#[test]
fn reg_16_the_tchap_profile_does_not_reveal_user_names() {
    assert!(!tchap("").reveals_availability());
    assert!(open("").reveals_availability());
}

#[test]
fn reg_21_the_tchap_profile_requires_an_address() {
    assert!(tchap("").registration_requires_email());
    assert!(!open("").registration_requires_email());
}

#[test]
fn display_names_are_fixed_after_the_first_time() {
    let policy = tchap("");
    assert!(policy.may_set_display_name(true, false).is_allowed());
    assert!(policy.may_set_display_name(false, true).is_allowed());
    let refusal = policy.may_set_display_name(false, false);
    let violation = refusal.into_result().unwrap_err();
    assert_eq!(violation.kind.errcode(), "M_FORBIDDEN");
    assert_eq!(violation.kind.status(), 400);
    assert_eq!(violation.reason, "display_name_fixed");
    let lenient = tchap("display_names.allow_change = true");
    assert!(lenient.may_set_display_name(false, false).is_allowed());
}

#[test]
fn avatars_can_be_fixed() {
    assert!(tchap("").may_set_avatar(false).is_allowed());
    let fixed = tchap("display_names.allow_avatar_change = false");
    assert!(!fixed.may_set_avatar(false).is_allowed());
    assert!(fixed.may_set_avatar(true).is_allowed());
}

#[test]
fn addresses_are_fixed_unless_the_settings_say_otherwise() {
    let refusal = tchap("").may_change_addresses().into_result().unwrap_err();
    assert_eq!(
        (refusal.kind.status(), refusal.reason),
        (403, "addresses_fixed")
    );
    let lenient = tchap("addresses.allow_change = true");
    assert!(lenient.may_change_addresses().is_allowed());
    assert!(open("").may_change_addresses().is_allowed());
}

#[test]
fn profiles_can_be_kept_to_people_who_share_a_room() {
    assert!(tchap("").may_see_profile(false).is_allowed());
    let shy = tchap("profiles.known_users_only = true");
    assert!(shy.may_see_profile(true).is_allowed());
    let refusal = shy.may_see_profile(false).into_result().unwrap_err();
    assert_eq!(
        (refusal.kind.status(), refusal.kind.errcode()),
        (403, "M_FORBIDDEN")
    );
    assert!(open("profiles.known_users_only = true").shows_all_profiles());
}

#[test]
fn the_open_profile_says_yes() {
    let policy = open(
        r#"
        addresses.patterns = [{ pattern = '.*', server = "other.fr", requires_invite = true }]
        display_names = { allow_change = false, allow_avatar_change = false }
        "#,
    );
    assert_eq!(policy.profile(), Profile::Open);
    let x = address("x@gmail.com");
    let other = server_name!("other.fr");
    let info = policy.address_info(&x, None, Some(other), false);
    assert_eq!(info.hs.as_deref(), Some(me()));
    assert!(!info.requires_invite);
    assert!(!policy.is_external_address(&x));
    let may = policy.may_register(&AddressInfo::default());
    assert_eq!((may.rule(), may.is_allowed()), (OPEN, true));
    assert!(policy.may_set_display_name(false, false).is_allowed());
    assert!(policy.may_set_avatar(false).is_allowed());
    assert!(EmailAddress::parse("a@b@c.fr").is_err());
}
