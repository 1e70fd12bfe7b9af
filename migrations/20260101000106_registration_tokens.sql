CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    uses_allowed BIGINT,
    completed BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);

COMMENT ON TABLE registration_tokens IS 'Tokens that let their holders make accounts.';
COMMENT ON COLUMN registration_tokens.token IS 'The token, in clear: administrators list and hand out tokens.';
COMMENT ON COLUMN registration_tokens.uses_allowed IS 'How many accounts it is good for; null: any number.';
COMMENT ON COLUMN registration_tokens.completed IS 'How many accounts were made with it.';
COMMENT ON COLUMN registration_tokens.created_ms IS 'When it was made.';
COMMENT ON COLUMN registration_tokens.expires_ms IS 'When it stops working; null: never.';

CREATE TABLE used_nonces (
    nonce_hash BYTEA PRIMARY KEY,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX used_nonces_expires ON used_nonces (expires_ms);

COMMENT ON TABLE used_nonces IS 'Nonces of shared-secret registrations that were used and would still be good.';
COMMENT ON COLUMN used_nonces.nonce_hash IS 'SHA-256 of the nonce.';
COMMENT ON COLUMN used_nonces.expires_ms IS 'When the nonce would have stopped working, so that the row may go.';
