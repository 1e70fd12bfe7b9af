CREATE TABLE account_data (
    user_nid BIGINT NOT NULL,
    room_nid BIGINT NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (user_nid, room_nid, event_type)
);

COMMENT ON TABLE account_data IS 'Account data, global and of rooms, tags and the read marker among it.';
COMMENT ON COLUMN account_data.user_nid IS 'Whose.';
COMMENT ON COLUMN account_data.room_nid IS 'The room, or 0 for global account data.';
COMMENT ON COLUMN account_data.event_type IS 'The type.';
COMMENT ON COLUMN account_data.content IS 'The content, a JSON object.';
