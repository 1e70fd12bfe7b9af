CREATE TABLE notice_rooms (
    user_nid BIGINT PRIMARY KEY REFERENCES accounts (user_nid),
    room_id TEXT
);

COMMENT ON TABLE notice_rooms IS 'The room in which the server tells something to a user. Whoever makes it holds the row.';
COMMENT ON COLUMN notice_rooms.user_nid IS 'Who is told.';
COMMENT ON COLUMN notice_rooms.room_id IS 'The room; null: it is being made.';
