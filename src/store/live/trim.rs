//! Which users' views are dropped from memory.

use super::Inner;
use crate::store::UserNid;

impl Inner {
    /// Drops all views.
    pub(super) fn forget_users(&mut self) {
        for online in self.users.values() {
            online.wake();
        }
        self.users.clear();
        self.watchers.clear();
    }

    /// Drops the view of a user.
    pub(super) fn drop_user(&mut self, user: UserNid) {
        let Some(online) = self.users.remove(&user) else {
            return;
        };
        online.wake();
        for room in online.rooms().watched() {
            if let Some(watchers) = self.watchers.get_mut(&room) {
                watchers.remove(&user);
                if watchers.is_empty() {
                    self.watchers.remove(&room);
                }
            }
        }
    }

    /// Drops users without a waiting sync when there are `limit` of them, the longest unused
    /// first, and a quarter at once.
    ///
    /// Users with a waiting sync do not count: between two of its syncs a user has none, and were
    /// those dropped because so many others wait, a server with many clients would do nothing but
    /// read views. All are counted only when there may be too many: that is seldom, but for the
    /// moment in which many syncs end without another.
    pub(super) fn trim_users(&mut self, limit: usize) {
        if self.users.len() < self.trim_at {
            return;
        }
        let mut idle: Vec<_> = self
            .users
            .iter()
            .filter(|(_, online)| !online.is_waiting())
            .map(|(user, online)| (online.last_used(), *user))
            .collect();
        let mut kept = idle.len();
        if kept >= limit {
            idle.sort_unstable();
            kept = limit - limit.div_ceil(4);
            let excess = idle.len() - kept;
            for (_, user) in idle.into_iter().take(excess) {
                self.drop_user(user);
            }
        }
        self.trim_at = self.users.len() + (limit - kept).max(1);
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{
        StreamPosition, UserNid,
        live::{Live, LiveOptions, UserRooms},
    };

    fn live(idle_users: usize) -> Live {
        let options = LiveOptions {
            idle_users,
            ..LiveOptions::default()
        };
        Live::new(options, StreamPosition(0))
    }

    fn add(live: &Live, users: std::ops::Range<i64>) {
        for user in users {
            assert!(live.insert_user(UserNid(user), UserRooms::default(), StreamPosition(0)));
        }
    }

    fn known(live: &Live, users: std::ops::Range<i64>) -> usize {
        users.filter(|user| live.knows_user(UserNid(*user))).count()
    }

    #[test]
    fn who_has_just_been_answered_is_kept_however_many_wait() {
        let live = live(8);
        let mut waiting = Vec::new();
        for user in 0..100 {
            add(&live, user..user + 1);
            waiting.extend(live.waiter(UserNid(user)));
        }
        assert_eq!(known(&live, 0..100), 100);
        add(&live, 100..107);
        assert_eq!(known(&live, 0..107), 107);
        // Many more come, and go at once: those who wait stay, and few of the others.
        add(&live, 107..1_000);
        assert_eq!(known(&live, 0..100), 100);
        let idle = known(&live, 100..1_000);
        assert!((6..=9).contains(&idle), "{idle}");
        assert!(live.knows_user(UserNid(999)));
    }

    #[test]
    fn many_who_end_their_syncs_are_dropped() {
        let live = live(8);
        let mut waiting = Vec::new();
        for user in 0..100 {
            add(&live, user..user + 1);
            waiting.extend(live.waiter(UserNid(user)));
        }
        drop(waiting);
        add(&live, 100..120);
        let idle = known(&live, 0..120);
        assert!((6..=9).contains(&idle), "{idle}");
    }

    #[test]
    fn no_memory_keeps_the_newest_alone() {
        let live = live(0);
        add(&live, 0..10);
        assert_eq!(known(&live, 0..10), 1);
    }
}
