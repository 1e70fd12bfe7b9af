CREATE TABLE stream_times (
    at_ms BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE retention_run (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    started_ms BIGINT NOT NULL,
    next_room BIGINT
);

INSERT INTO retention_run (started_ms) VALUES (0);

CREATE TABLE purged_rooms (
    room_nid BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);

COMMENT ON TABLE stream_times IS 'How far the stream was at some moments, one for each run of the retention: whatever stands at or before a position is older than its moment.';
COMMENT ON COLUMN stream_times.at_ms IS 'The moment, in milliseconds since the epoch.';
COMMENT ON COLUMN stream_times.position IS 'The last position of the stream then.';
COMMENT ON TABLE retention_run IS 'Where the job stands that deletes old messages. Whoever works on it holds the row.';
COMMENT ON COLUMN retention_run.one IS 'There is one row.';
COMMENT ON COLUMN retention_run.started_ms IS 'When the newest run began, in milliseconds since the epoch.';
COMMENT ON COLUMN retention_run.next_room IS 'The rooms from this number on are still to be done in this run; null: it is over.';
COMMENT ON TABLE purged_rooms IS 'Up to where the messages of a room have been deleted.';
COMMENT ON COLUMN purged_rooms.room_nid IS 'The room.';
COMMENT ON COLUMN purged_rooms.position IS 'Messages up to this position of the room are gone.';
