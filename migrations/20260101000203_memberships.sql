CREATE TABLE memberships (
    user_nid BIGINT NOT NULL,
    room_nid BIGINT NOT NULL,
    membership SMALLINT NOT NULL,
    position BIGINT NOT NULL,
    forgotten BOOLEAN NOT NULL DEFAULT FALSE,
    read_position BIGINT NOT NULL DEFAULT 0,
    read_notify_count BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_nid, room_nid)
) WITH (fillfactor = 80);

CREATE INDEX memberships_room ON memberships (room_nid, membership);

CREATE TABLE highlights (
    user_nid BIGINT NOT NULL,
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, room_nid, position)
);

COMMENT ON TABLE memberships IS 'Who is what in which room now, and how far they have read.';
COMMENT ON COLUMN memberships.user_nid IS 'The user.';
COMMENT ON COLUMN memberships.room_nid IS 'The room.';
COMMENT ON COLUMN memberships.membership IS '0 leave, 1 invite, 2 join, 3 knock, 4 ban.';
COMMENT ON COLUMN memberships.position IS 'The position of the membership event.';
COMMENT ON COLUMN memberships.forgotten IS 'Whether the user has forgotten the room since leaving.';
COMMENT ON COLUMN memberships.read_position IS 'How far the user has read: the newest of their read receipts and their own messages.';
COMMENT ON COLUMN memberships.read_notify_count IS 'notify_count of the event at read_position, so that unread messages are a subtraction.';
COMMENT ON INDEX memberships_room IS 'Lists the members of a room.';
COMMENT ON TABLE highlights IS 'Events that mention a user.';
COMMENT ON COLUMN highlights.user_nid IS 'Who is mentioned; 0 for everybody in the room.';
COMMENT ON COLUMN highlights.room_nid IS 'The room.';
COMMENT ON COLUMN highlights.position IS 'The position of the event.';
