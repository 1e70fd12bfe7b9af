CREATE TABLE sliding_positions (
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    snapshot_id BIGINT NOT NULL,
    conn_id TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (device_nid, snapshot_id)
);

COMMENT ON TABLE sliding_positions IS 'What the clients of sliding sync know of which rooms. A row never changes; each connection keeps the one that its client has acknowledged and a few newer ones.';
COMMENT ON COLUMN sliding_positions.device_nid IS 'The device.';
COMMENT ON COLUMN sliding_positions.snapshot_id IS 'A random number, which positions name.';
COMMENT ON COLUMN sliding_positions.conn_id IS 'The connection: what the client calls it, or nothing.';
COMMENT ON COLUMN sliding_positions.created_ms IS 'When it was written, in milliseconds since the epoch.';
COMMENT ON COLUMN sliding_positions.content IS 'Which rooms were told, and in which detail, as JSON.';
