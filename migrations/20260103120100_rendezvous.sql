-- What may be lost with a crash: whoever signs in by a QR code begins again.
CREATE UNLOGGED TABLE rendezvous_sessions (
    session_id TEXT PRIMARY KEY,
    payload BYTEA NOT NULL,
    etag TEXT NOT NULL,
    changed_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX rendezvous_sessions_expires ON rendezvous_sessions (expires_ms);

COMMENT ON TABLE rendezvous_sessions IS 'Places where two devices leave each other notes while one of them signs in by a QR code (MSC4108).';
COMMENT ON COLUMN rendezvous_sessions.session_id IS 'The end of its address: whoever knows it may read and write.';
COMMENT ON COLUMN rendezvous_sessions.payload IS 'What was left there last.';
COMMENT ON COLUMN rendezvous_sessions.etag IS 'Names this payload; another one for each that is written.';
COMMENT ON COLUMN rendezvous_sessions.changed_ms IS 'When the payload was written.';
COMMENT ON COLUMN rendezvous_sessions.expires_ms IS 'When it is over.';
