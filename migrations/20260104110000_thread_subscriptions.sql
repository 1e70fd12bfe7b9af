CREATE TABLE thread_subscriptions (
    user_nid BIGINT NOT NULL REFERENCES users,
    room_nid BIGINT NOT NULL REFERENCES rooms,
    thread_id TEXT COLLATE "C" NOT NULL,
    state SMALLINT NOT NULL,
    room_position BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (user_nid, room_nid, thread_id)
);

CREATE INDEX thread_subscriptions_of_thread ON thread_subscriptions (room_nid, thread_id) WHERE state > 0;
CREATE UNIQUE INDEX thread_subscriptions_changes ON thread_subscriptions (user_nid, changed_at);

-- The running version does not write it: stickers that it takes in are not counted.
ALTER TABLE thread_events
    ADD COLUMN for_subscribers BOOLEAN NOT NULL DEFAULT FALSE;

COMMENT ON TABLE thread_subscriptions IS 'Which threads users have subscribed to (MSC4306). The row of a subscription that has ended stays, since syncs tell of it.';
COMMENT ON COLUMN thread_subscriptions.user_nid IS 'Who.';
COMMENT ON COLUMN thread_subscriptions.room_nid IS 'The room of the thread.';
COMMENT ON COLUMN thread_subscriptions.thread_id IS 'The event that the thread begins with.';
COMMENT ON COLUMN thread_subscriptions.state IS '0 not subscribed any more, 1 by the user, 2 by a client of the user''s.';
COMMENT ON COLUMN thread_subscriptions.room_position IS 'The newest position in the room when it last began or ended: while it lasts, what comes later notifies; when it has ended, nothing up to there lets a client subscribe again.';
COMMENT ON COLUMN thread_subscriptions.changed_at IS 'The position in the stream of its last change.';
COMMENT ON INDEX thread_subscriptions_pkey IS 'Finds the subscription of a user to a thread.';
COMMENT ON INDEX thread_subscriptions_of_thread IS 'Finds who is told of a message in a thread.';
COMMENT ON INDEX thread_subscriptions_changes IS 'Lists what a user has changed, newest first.';

COMMENT ON COLUMN thread_events.for_subscribers IS 'Whether it counts as an unread message for those alone who have subscribed to the thread.';

COMMENT ON COLUMN events.notify_count IS 'How many events up to and with this one count as unread messages: those of the main timeline in the lower 32 bits; those of threads, for whoever has subscribed to them at least, in the upper.';
COMMENT ON COLUMN highlights.extra IS 'Whether the event counts for nobody but whom it mentions, and in a thread for who has subscribed to it.';
COMMENT ON COLUMN stream.kind IS '1 event, 2 membership event, 3 receipt, 4 account data, 5 device list, 6 messages to devices, 7 one-time keys, 8 thread subscription.';
COMMENT ON COLUMN stream.detail IS 'For a membership event, the membership before; for a receipt, its type and thread; for account data, its type; for a device list, the one user who is told, if not everybody is; for messages to devices and one-time keys, the devices; for a thread subscription, the thread.';
