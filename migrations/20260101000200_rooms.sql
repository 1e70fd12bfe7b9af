CREATE SEQUENCE room_nids INCREMENT BY 64;

CREATE TABLE rooms (
    room_nid BIGINT PRIMARY KEY,
    room_id TEXT COLLATE "C" NOT NULL UNIQUE,
    room_version TEXT NOT NULL,
    position BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    extremities BIGINT[] NOT NULL,
    notify_count BIGINT NOT NULL
) WITH (fillfactor = 70);

COMMENT ON SEQUENCE room_nids IS 'Blocks of 64 room numbers: a process takes a block and hands its numbers out.';
COMMENT ON TABLE rooms IS 'The head of each room: what the next event is built on. Updated with each event, so it holds nothing wide.';
COMMENT ON COLUMN rooms.room_nid IS 'The number that stands for the room.';
COMMENT ON COLUMN rooms.room_id IS 'The Matrix room id.';
COMMENT ON COLUMN rooms.room_version IS 'The room version.';
COMMENT ON COLUMN rooms.position IS 'The position of the newest event on the line, and so the version of the room: a write names the position it was built on.';
COMMENT ON COLUMN rooms.depth IS 'The depth of the newest event.';
COMMENT ON COLUMN rooms.extremities IS 'The positions of the forward extremities.';
COMMENT ON COLUMN rooms.notify_count IS 'How many events on the line count as unread messages.';
