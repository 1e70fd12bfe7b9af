//! The table of the specification's rules on history visibility.

use ruma::events::room::{
    history_visibility::HistoryVisibility as Visibility, member::MembershipState as Membership,
};

use crate::event::visibility::{Change, may_see, may_see_change};

#[test]
fn each_visibility_shows_what_the_specification_says() {
    use Membership::{Ban, Invite, Join, Knock, Leave};
    let unknown = Visibility::from("secret");
    // Visibility, memberships that see without joining later, and with joining later.
    let table: [(Visibility, &[Membership], &[Membership]); 5] = [
        (
            Visibility::WorldReadable,
            &[Join, Invite, Knock, Leave, Ban],
            &[Join, Invite, Knock, Leave, Ban],
        ),
        (
            Visibility::Shared,
            &[Join],
            &[Join, Invite, Knock, Leave, Ban],
        ),
        (Visibility::Invited, &[Join, Invite], &[Join, Invite]),
        (Visibility::Joined, &[Join], &[Join]),
        (unknown, &[Join], &[Join, Invite, Knock, Leave, Ban]),
    ];
    for (visibility, never, later) in table {
        for membership in [Join, Invite, Knock, Leave, Ban] {
            let row = format!("{visibility} {membership}");
            let sees = |joined_after| may_see(&visibility, &membership, joined_after);
            assert_eq!(sees(false), never.contains(&membership), "{row}");
            assert_eq!(
                sees(true),
                later.contains(&membership),
                "{row}, joined after"
            );
        }
    }
}

#[test]
fn a_change_is_seen_from_either_side() {
    let (world, joined) = (&Visibility::WorldReadable, &Visibility::Joined);
    let (join, leave) = (&Membership::Join, &Membership::Leave);
    let seen = |before, after, from, to| {
        let visibility = Change { before, after };
        let membership = Change {
            before: from,
            after: to,
        };
        may_see_change(&visibility, &membership, false)
    };
    assert!(seen(world, joined, leave, leave));
    assert!(seen(joined, world, leave, leave));
    assert!(seen(joined, joined, join, leave));
    assert!(seen(joined, joined, leave, join));
    assert!(!seen(joined, joined, leave, leave));
    let none = Change::none(joined);
    assert!(!may_see_change(&none, &Change::none(leave), true));
}
