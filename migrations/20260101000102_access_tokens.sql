CREATE TABLE refresh_tokens (
    token_hash BYTEA PRIMARY KEY,
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    replaces BYTEA REFERENCES refresh_tokens (token_hash) ON DELETE SET NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);

CREATE INDEX refresh_tokens_device ON refresh_tokens (device_nid);
CREATE INDEX refresh_tokens_replaces ON refresh_tokens (replaces);

COMMENT ON TABLE refresh_tokens IS 'The tokens that clients trade for new access tokens.';
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN refresh_tokens.device_nid IS 'The device that it belongs to.';
COMMENT ON COLUMN refresh_tokens.replaces IS 'The token that this one was given for: it works until this one, or its access token, is used.';
COMMENT ON COLUMN refresh_tokens.created_ms IS 'When it was given out.';
COMMENT ON COLUMN refresh_tokens.expires_ms IS 'When it stops working; null: never.';

CREATE TABLE access_tokens (
    token_hash BYTEA PRIMARY KEY,
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    refresh_hash BYTEA REFERENCES refresh_tokens (token_hash) ON DELETE CASCADE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);

CREATE INDEX access_tokens_device ON access_tokens (device_nid);
CREATE INDEX access_tokens_refresh ON access_tokens (refresh_hash);
CREATE INDEX access_tokens_expires ON access_tokens (expires_ms) WHERE refresh_hash IS NULL;

COMMENT ON TABLE access_tokens IS 'The tokens that requests carry.';
COMMENT ON COLUMN access_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN access_tokens.device_nid IS 'The device that it belongs to.';
COMMENT ON COLUMN access_tokens.refresh_hash IS 'The refresh token that was given out with it, if any.';
COMMENT ON COLUMN access_tokens.created_ms IS 'When it was given out.';
COMMENT ON COLUMN access_tokens.expires_ms IS 'When it stops working; null: at logout.';
