CREATE TABLE account_validity (
    user_nid BIGINT PRIMARY KEY REFERENCES accounts (user_nid),
    expires_ms BIGINT NOT NULL,
    sends_mails BOOLEAN NOT NULL DEFAULT TRUE,
    mailed_ms BIGINT,
    token_hash BYTEA UNIQUE,
    used_token_hash BYTEA UNIQUE
);

CREATE INDEX account_validity_expires ON account_validity (expires_ms);

COMMENT ON TABLE account_validity IS 'Until when accounts are good, where accounts.validity.period is set. An account without a row never expires, or has not got its date yet.';
COMMENT ON COLUMN account_validity.user_nid IS 'Whose account it is. Closing the account takes the row away.';
COMMENT ON COLUMN account_validity.expires_ms IS 'When the account expires, in milliseconds since the epoch.';
COMMENT ON COLUMN account_validity.sends_mails IS 'Whether its owner is reminded by mail.';
COMMENT ON COLUMN account_validity.mailed_ms IS 'When the newest mail about this date was sent; null: none was. A mail for each configured delay is due when this is before the delay''s beginning.';
COMMENT ON COLUMN account_validity.token_hash IS 'SHA-256 of the token in the newest mail; null: it was used, or there was none.';
COMMENT ON COLUMN account_validity.used_token_hash IS 'SHA-256 of the token that was used last, so that using it again is not an error.';
COMMENT ON INDEX account_validity_expires IS 'Lists the accounts to remind and to close.';
