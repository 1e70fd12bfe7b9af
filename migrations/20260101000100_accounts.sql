CREATE TABLE accounts (
    user_nid BIGINT PRIMARY KEY REFERENCES users (user_nid),
    password_hash TEXT,
    is_admin BOOLEAN NOT NULL,
    is_external BOOLEAN NOT NULL,
    user_type TEXT,
    created_ms BIGINT NOT NULL,
    deactivated_ms BIGINT,
    is_erased BOOLEAN NOT NULL DEFAULT FALSE
);

COMMENT ON TABLE accounts IS 'The people and programs that have, or had, an account on this server.';
COMMENT ON COLUMN accounts.user_nid IS 'The user.';
COMMENT ON COLUMN accounts.password_hash IS 'Argon2id in the PHC format; null: nobody can log in with a password.';
COMMENT ON COLUMN accounts.is_admin IS 'Whether the account may administer the server.';
COMMENT ON COLUMN accounts.is_external IS 'Whether the person is an external guest, as decided at registration.';
COMMENT ON COLUMN accounts.user_type IS 'What a shared-secret registration said about the account, such as bot or support.';
COMMENT ON COLUMN accounts.created_ms IS 'When the account was made, in milliseconds since the epoch.';
COMMENT ON COLUMN accounts.deactivated_ms IS 'When the account was closed; null: it is open. The row stays, so that nobody gets the id again.';
COMMENT ON COLUMN accounts.is_erased IS 'Whether the person asked that what they wrote be forgotten.';
