CREATE TABLE login_tokens (
    token_hash BYTEA PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    expires_ms BIGINT NOT NULL
);

CREATE INDEX login_tokens_expires ON login_tokens (expires_ms);
CREATE INDEX login_tokens_user ON login_tokens (user_nid);

COMMENT ON TABLE login_tokens IS 'Tokens with which a user who has a session logs in another client, once and soon.';
COMMENT ON COLUMN login_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN login_tokens.user_nid IS 'Who logs in with it.';
COMMENT ON COLUMN login_tokens.expires_ms IS 'When it stops working.';
