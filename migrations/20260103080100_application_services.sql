CREATE TABLE appservice_streams (
    service_id TEXT PRIMARY KEY,
    position BIGINT NOT NULL,
    pending_id TEXT,
    pending_position BIGINT,
    pending_body TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at_ms BIGINT
);

CREATE TABLE appservice_directory (
    service_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    room_nid BIGINT NOT NULL REFERENCES rooms (room_nid),
    PRIMARY KEY (network_id, room_nid, service_id)
);

COMMENT ON TABLE appservice_streams IS 'How far each application service was told what happened.';
COMMENT ON COLUMN appservice_streams.service_id IS 'The id of its registration.';
COMMENT ON COLUMN appservice_streams.position IS 'Everything in the stream up to here was told, or does not concern it.';
COMMENT ON COLUMN appservice_streams.pending_id IS 'The transaction that is being sent; null: there is none.';
COMMENT ON COLUMN appservice_streams.pending_position IS 'What position is once the transaction has been taken.';
COMMENT ON COLUMN appservice_streams.pending_body IS 'The body of the transaction, which is the same whenever it is sent.';
COMMENT ON COLUMN appservice_streams.failures IS 'How often in a row the transaction was not taken.';
COMMENT ON COLUMN appservice_streams.retry_at_ms IS 'When it is sent again, in milliseconds since the epoch.';
COMMENT ON TABLE appservice_directory IS 'The rooms that application services publish in the directories of their networks.';
COMMENT ON COLUMN appservice_directory.service_id IS 'The id of the registration.';
COMMENT ON COLUMN appservice_directory.network_id IS 'The network.';
COMMENT ON COLUMN appservice_directory.room_nid IS 'The room.';
