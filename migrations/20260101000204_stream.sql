CREATE TABLE stream_counter (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    position BIGINT NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

INSERT INTO stream_counter (position) VALUES (0);

CREATE TABLE stream (
    position BIGINT PRIMARY KEY,
    kind SMALLINT NOT NULL,
    room_nid BIGINT,
    room_position BIGINT,
    user_nid BIGINT,
    detail TEXT
);

CREATE INDEX stream_room ON stream (room_nid, position) WHERE room_nid IS NOT NULL;
CREATE INDEX stream_user ON stream (user_nid, position) WHERE user_nid IS NOT NULL;

COMMENT ON TABLE stream_counter IS 'The last position given out. Whoever commits takes this row last, so positions are in commit order and without gaps.';
COMMENT ON COLUMN stream_counter.one IS 'There is one row.';
COMMENT ON COLUMN stream_counter.position IS 'The last position.';
COMMENT ON TABLE stream IS 'Everything that a sync can show, in commit order. A sync token is a position.';
COMMENT ON COLUMN stream.position IS 'The position.';
COMMENT ON COLUMN stream.kind IS '1 event, 2 membership event, 3 receipt, 4 account data.';
COMMENT ON COLUMN stream.room_nid IS 'The room that it is about, if any.';
COMMENT ON COLUMN stream.room_position IS 'For an event, its position in the room; for a receipt, that of the event read.';
COMMENT ON COLUMN stream.user_nid IS 'For a membership event, whose membership; for a receipt or account data, whose.';
COMMENT ON COLUMN stream.detail IS 'For a membership event, the membership before; for a receipt, its type and thread; for account data, its type.';
COMMENT ON INDEX stream_room IS 'Finds what happened in a room after a position.';
COMMENT ON INDEX stream_user IS 'Finds what happened to a user after a position.';
