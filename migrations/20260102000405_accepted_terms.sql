CREATE TABLE accepted_terms (
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    accepted_ms BIGINT NOT NULL,
    PRIMARY KEY (user_nid, name, version)
);

COMMENT ON TABLE accepted_terms IS 'Who agreed to which version of which document, and when.';
COMMENT ON COLUMN accepted_terms.user_nid IS 'Who.';
COMMENT ON COLUMN accepted_terms.name IS 'The name of the document, as in registration.terms.';
COMMENT ON COLUMN accepted_terms.version IS 'The version of its text.';
COMMENT ON COLUMN accepted_terms.accepted_ms IS 'When, in milliseconds since the epoch.';

CREATE TABLE server_secrets (
    name TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

COMMENT ON TABLE server_secrets IS 'Secrets that the processes of this server share, made by the first that wants one.';
COMMENT ON COLUMN server_secrets.name IS 'What it is for.';
COMMENT ON COLUMN server_secrets.secret IS 'Random bytes.';
COMMENT ON COLUMN server_secrets.created_ms IS 'When it was made.';
