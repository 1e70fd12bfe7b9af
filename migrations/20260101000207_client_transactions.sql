CREATE TABLE client_transactions (
    device_nid BIGINT NOT NULL,
    transaction_key BYTEA NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT client_transactions_pkey PRIMARY KEY (device_nid, transaction_key)
);

CREATE INDEX client_transactions_created ON client_transactions USING BRIN (created_at);

COMMENT ON TABLE client_transactions IS 'What the sends of each device made, so that a repeated send makes nothing twice. Kept for a day.';
COMMENT ON COLUMN client_transactions.device_nid IS 'The device.';
COMMENT ON COLUMN client_transactions.transaction_key IS 'The first 16 bytes of the SHA-256 of the room, the event type and the transaction id.';
COMMENT ON COLUMN client_transactions.event_id IS 'The event that was made.';
COMMENT ON COLUMN client_transactions.created_at IS 'When, in milliseconds since the epoch.';
COMMENT ON INDEX client_transactions_created IS 'Finds what is old enough to delete.';
