//! How many events count as unread messages: two counts in one number.
//!
//! Both only grow along the line of a room, so the greater number has the greater counts, and a
//! message writes one number (`docs/decisions/0006-unread-counts-by-subtraction.md`).

/// The bits of the main timeline.
const MAIN_BITS: u32 = 32;
/// The part of the main timeline.
const MAIN_MASK: i64 = (1 << MAIN_BITS) - 1;

/// The counts up to and with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyCount(i64);

impl NotifyCount {
    /// The counts as they are stored.
    pub fn new(stored: i64) -> Self {
        Self(stored)
    }

    /// As they are stored.
    pub fn stored(self) -> i64 {
        self.0
    }

    /// How many events of the main timeline count.
    pub fn main(self) -> i64 {
        self.0 & MAIN_MASK
    }

    /// How many events of threads count, for whoever has subscribed to them at least.
    pub fn threads(self) -> i64 {
        self.0 >> MAIN_BITS
    }

    /// The counts after one event more.
    #[must_use]
    pub fn after(self, notifies: bool, in_thread: bool) -> Self {
        let one = if in_thread { 1 << MAIN_BITS } else { 1 };
        Self(if notifies {
            self.0.saturating_add(one)
        } else {
            self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::NotifyCount;

    #[test]
    fn the_two_counts_grow_apart() {
        let mut count = NotifyCount::new(5);
        for (notifies, in_thread) in [(true, false), (true, true), (false, true), (true, true)] {
            count = count.after(notifies, in_thread);
        }
        assert_eq!((count.main(), count.threads()), (6, 2));
        assert_eq!(NotifyCount::new(count.stored()), count);
    }
}
