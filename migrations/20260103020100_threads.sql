-- The running version writes none of these; what it writes counts as the main timeline.
ALTER TABLE memberships
    ADD COLUMN threads_position BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN threads_notify_count BIGINT NOT NULL DEFAULT 0;

ALTER TABLE highlights
    ADD COLUMN thread_id TEXT COLLATE "C" NOT NULL DEFAULT 'main',
    ADD COLUMN sender_nid BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN extra BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE thread_events (
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    thread_id TEXT COLLATE "C" NOT NULL,
    sender_nid BIGINT NOT NULL,
    notifies BOOLEAN NOT NULL,
    PRIMARY KEY (room_nid, position)
);

CREATE INDEX thread_events_sender ON thread_events (room_nid, sender_nid, thread_id, position);

COMMENT ON COLUMN events.notify_count IS 'How many events up to and with this one count as unread messages: those of the main timeline in the lower 32 bits, those of threads in the upper.';
COMMENT ON COLUMN rooms.notify_count IS 'notify_count of the newest event.';
COMMENT ON COLUMN memberships.read_position IS 'How far the user has read the main timeline: the newest of their receipts and their own messages.';
COMMENT ON COLUMN memberships.read_notify_count IS 'notify_count of the event at read_position; its lower half makes unread messages a subtraction.';
COMMENT ON COLUMN memberships.threads_position IS 'How far the user has read all threads: receipts without a thread, and joining.';
COMMENT ON COLUMN memberships.threads_notify_count IS 'notify_count of the event at threads_position; its upper half tells whether threads have unread messages.';
COMMENT ON COLUMN highlights.thread_id IS 'The root of the thread that the event is in, or main.';
COMMENT ON COLUMN highlights.sender_nid IS 'Who sent it, whom it does not notify.';
COMMENT ON COLUMN highlights.extra IS 'Whether the event is not in notify_count, since it notifies only whom it mentions.';
COMMENT ON TABLE thread_events IS 'Events that are in a thread, for the unread messages of each.';
COMMENT ON COLUMN thread_events.room_nid IS 'The room.';
COMMENT ON COLUMN thread_events.position IS 'The position of the event.';
COMMENT ON COLUMN thread_events.thread_id IS 'The event id of the root of the thread.';
COMMENT ON COLUMN thread_events.sender_nid IS 'The sender.';
COMMENT ON COLUMN thread_events.notifies IS 'Whether it counts as an unread message.';
COMMENT ON INDEX thread_events_sender IS 'Finds whether somebody has written in a thread since a mention.';
