CREATE TABLE receipts (
    room_nid BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    receipt_type SMALLINT NOT NULL,
    thread_id TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (room_nid, user_nid, receipt_type, thread_id)
);

COMMENT ON TABLE receipts IS 'The newest receipt of each user, type and thread in each room.';
COMMENT ON COLUMN receipts.room_nid IS 'The room.';
COMMENT ON COLUMN receipts.user_nid IS 'Who has read.';
COMMENT ON COLUMN receipts.receipt_type IS '1 m.read, 2 m.read.private.';
COMMENT ON COLUMN receipts.thread_id IS 'The thread: an event id, main, or empty for a receipt without thread.';
COMMENT ON COLUMN receipts.position IS 'The position of the event that was read.';
COMMENT ON COLUMN receipts.event_id IS 'The id of the event that was read.';
COMMENT ON COLUMN receipts.received_at IS 'When, in milliseconds since the epoch.';
