CREATE TABLE openid_tokens (
    token_hash BYTEA PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    expires_ms BIGINT NOT NULL
);

CREATE INDEX openid_tokens_expires ON openid_tokens (expires_ms);

COMMENT ON TABLE openid_tokens IS 'Tokens that prove to other services who somebody is, and nothing else.';
COMMENT ON COLUMN openid_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN openid_tokens.user_nid IS 'Who it names.';
COMMENT ON COLUMN openid_tokens.expires_ms IS 'When it stops working.';
