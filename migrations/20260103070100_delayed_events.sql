CREATE TABLE delayed_events (
    delay_id TEXT COLLATE "C" PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    device_nid BIGINT,
    transaction_key BYTEA,
    room_nid BIGINT NOT NULL REFERENCES rooms (room_nid),
    event_type TEXT NOT NULL,
    state_key TEXT,
    content TEXT NOT NULL,
    delay_ms BIGINT NOT NULL,
    running_since_ms BIGINT NOT NULL,
    next_attempt_ms BIGINT NOT NULL,
    lease_ends_ms BIGINT,
    attempts INTEGER NOT NULL DEFAULT 0,
    finalized_ms BIGINT,
    event_id TEXT COLLATE "C",
    errcode TEXT,
    error TEXT
);

CREATE UNIQUE INDEX delayed_events_transaction ON delayed_events (device_nid, transaction_key);
CREATE INDEX delayed_events_next_attempt ON delayed_events (next_attempt_ms) WHERE finalized_ms IS NULL;
CREATE INDEX delayed_events_user ON delayed_events (user_nid, finalized_ms);
CREATE INDEX delayed_events_finalized ON delayed_events (finalized_ms) WHERE finalized_ms IS NOT NULL;

COMMENT ON TABLE delayed_events IS 'Events that are sent later (MSC4140), and for a few days what became of them.';
COMMENT ON COLUMN delayed_events.delay_id IS 'Names the event to those who restart, send or cancel it. Whoever knows it may, so it is a secret that cannot be guessed.';
COMMENT ON COLUMN delayed_events.user_nid IS 'Who sends it.';
COMMENT ON COLUMN delayed_events.device_nid IS 'The device that asked for it, which need not be there any more.';
COMMENT ON COLUMN delayed_events.transaction_key IS 'The first 16 bytes of the SHA-256 of the room, the event type and the transaction id; null for state events that were asked for without one.';
COMMENT ON COLUMN delayed_events.room_nid IS 'The room.';
COMMENT ON COLUMN delayed_events.event_type IS 'The type of the event.';
COMMENT ON COLUMN delayed_events.state_key IS 'The state key of a state event; null for others.';
COMMENT ON COLUMN delayed_events.content IS 'The content, as the client sent it.';
COMMENT ON COLUMN delayed_events.delay_ms IS 'How long after running_since_ms it is sent.';
COMMENT ON COLUMN delayed_events.running_since_ms IS 'When it was asked for, or last restarted.';
COMMENT ON COLUMN delayed_events.next_attempt_ms IS 'When it may be taken for sending: at its time, after a failure that may pass, or when whoever has taken it seems to have died.';
COMMENT ON COLUMN delayed_events.lease_ends_ms IS 'Until when a process has it for sending, so that nobody restarts or cancels it meanwhile; null: nobody has.';
COMMENT ON COLUMN delayed_events.attempts IS 'How often it was taken for sending. Also tells the process that took it last from the others.';
COMMENT ON COLUMN delayed_events.finalized_ms IS 'When it was sent, canceled or given up; null: it is still to be sent.';
COMMENT ON COLUMN delayed_events.event_id IS 'The event that it became.';
COMMENT ON COLUMN delayed_events.errcode IS 'Why it could not be sent, as an error code of the specification.';
COMMENT ON COLUMN delayed_events.error IS 'Why it could not be sent, in words.';
COMMENT ON INDEX delayed_events_transaction IS 'A repeated request makes nothing twice.';
