CREATE TABLE identity_tokens (
    token_hash BYTEA PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX identity_tokens_user ON identity_tokens (user_nid, created_ms);

CREATE INDEX identity_tokens_expires ON identity_tokens (expires_ms);

COMMENT ON TABLE identity_tokens IS 'Access tokens of the identity service. They are good for nothing else.';
COMMENT ON COLUMN identity_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN identity_tokens.user_nid IS 'Whose token it is.';
COMMENT ON COLUMN identity_tokens.created_ms IS 'When it was given out. Of many tokens of one user the oldest go.';
COMMENT ON COLUMN identity_tokens.expires_ms IS 'When it stops working; clients then ask for another.';

CREATE TABLE identity_terms (
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    url TEXT NOT NULL,
    accepted_ms BIGINT NOT NULL,
    PRIMARY KEY (user_nid, url)
);

COMMENT ON TABLE identity_terms IS 'Documents that people accepted at the identity service.';
COMMENT ON COLUMN identity_terms.user_nid IS 'Who accepted.';
COMMENT ON COLUMN identity_terms.url IS 'The address of the document, one of those that the configuration names.';
COMMENT ON COLUMN identity_terms.accepted_ms IS 'When, the first time.';
