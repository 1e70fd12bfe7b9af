CREATE TABLE events (
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    sender_nid BIGINT NOT NULL,
    slot_nid BIGINT,
    replaces BIGINT,
    notify_count BIGINT NOT NULL,
    redacted_by BIGINT,
    device_nid BIGINT,
    transaction_id TEXT,
    json TEXT NOT NULL,
    PRIMARY KEY (room_nid, position),
    CONSTRAINT events_event_id_key UNIQUE (event_id)
);

-- Texts are read whole and are mostly short: compress what is long, and keep it in the row.
ALTER TABLE events ALTER COLUMN json SET COMPRESSION lz4;

COMMENT ON TABLE events IS 'Every event, named by its room and its position there. Append-only, but for redactions.';
COMMENT ON COLUMN events.room_nid IS 'The room.';
COMMENT ON COLUMN events.position IS 'The place on the line of the room: 1 for the create event, without gaps.';
COMMENT ON COLUMN events.event_id IS 'The Matrix event id.';
COMMENT ON COLUMN events.sender_nid IS 'The sender.';
COMMENT ON COLUMN events.slot_nid IS 'For a state event, its (type, state key).';
COMMENT ON COLUMN events.replaces IS 'For a state event, the position of the event that it replaced.';
COMMENT ON COLUMN events.notify_count IS 'How many events up to and with this one count as unread messages.';
COMMENT ON COLUMN events.redacted_by IS 'The position of the redaction, when json holds the redacted event.';
COMMENT ON COLUMN events.device_nid IS 'The device of this server that sent it, which alone is shown the transaction id.';
COMMENT ON COLUMN events.transaction_id IS 'The transaction id under which it was sent.';
COMMENT ON COLUMN events.json IS 'The whole PDU as canonical JSON.';
