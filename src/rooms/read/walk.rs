//! A walk along a room's line, from one point between two events to another.

use crate::store::{RoomPosition, events::Direction};

/// A walk along the line.
#[derive(Clone, Copy, Debug)]
pub(in crate::rooms) struct Walk {
    pub(in crate::rooms) direction: Direction,
    /// The point between two events where it stands: after the event at this position.
    pub(in crate::rooms) cursor: RoomPosition,
    /// The point where it ends.
    pub(in crate::rooms) stop: RoomPosition,
}

impl Walk {
    /// The next event's position. `None` at the end.
    pub(in crate::rooms) fn next(&self) -> Option<RoomPosition> {
        match self.direction {
            Direction::Backward => (self.cursor > self.stop).then_some(self.cursor),
            Direction::Forward => {
                (self.cursor < self.stop).then_some(RoomPosition(self.cursor.0 + 1))
            }
        }
    }

    /// The first and the last position of the next events, at most `count`.
    pub(in crate::rooms) fn ahead(&self, count: i64) -> Option<(RoomPosition, RoomPosition)> {
        let next = self.next()?;
        Some(match self.direction {
            Direction::Backward => {
                let first = (next.0 - count).max(self.stop.0) + 1;
                (RoomPosition(first), next)
            }
            Direction::Forward => {
                let last = (self.cursor.0 + count).min(self.stop.0);
                (next, RoomPosition(last))
            }
        })
    }

    /// Stands beyond an event.
    pub(in crate::rooms) fn pass(&mut self, position: RoomPosition) {
        self.cursor = match self.direction {
            Direction::Backward => RoomPosition(position.0 - 1),
            Direction::Forward => position,
        };
    }

    /// Stands right before an event, without passing the end.
    pub(in crate::rooms) fn skip_to(&mut self, position: Option<RoomPosition>) {
        self.cursor = match (self.direction, position) {
            (_, None) => self.stop,
            (Direction::Backward, Some(position)) => position.max(self.stop),
            (Direction::Forward, Some(position)) => RoomPosition(position.0 - 1).min(self.stop),
        };
    }
}
