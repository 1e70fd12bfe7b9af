CREATE TABLE state_slots (
    slot_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type TEXT COLLATE "C" NOT NULL,
    state_key TEXT COLLATE "C" NOT NULL,
    UNIQUE (event_type, state_key)
);

CREATE TABLE room_state (
    room_nid BIGINT NOT NULL,
    slot_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (room_nid, slot_nid, position)
);

CREATE INDEX room_state_current ON room_state (room_nid, position) INCLUDE (slot_nid) WHERE until IS NULL;
CREATE INDEX room_state_past ON room_state (room_nid, until) INCLUDE (slot_nid, position) WHERE until IS NOT NULL;

COMMENT ON TABLE state_slots IS 'The (type, state key) pairs in use, with the number that stands for each.';
COMMENT ON COLUMN state_slots.slot_nid IS 'The number.';
COMMENT ON COLUMN state_slots.event_type IS 'The event type.';
COMMENT ON COLUMN state_slots.state_key IS 'The state key.';
COMMENT ON TABLE room_state IS 'The state of each room over time: one row for each state event, never copied. The state after position p is the rows with position <= p that are not closed at p.';
COMMENT ON COLUMN room_state.room_nid IS 'The room.';
COMMENT ON COLUMN room_state.slot_nid IS 'The (type, state key).';
COMMENT ON COLUMN room_state.position IS 'The position of the state event, from which on it holds.';
COMMENT ON COLUMN room_state.until IS 'The position of the event that replaced it; null while it is current.';
COMMENT ON INDEX room_state_current IS 'Loads the current state of a room.';
COMMENT ON INDEX room_state_past IS 'Finds what has been replaced since a position.';
