ALTER TABLE accounts
    ADD COLUMN closed_by TEXT CHECK (closed_by IN ('user', 'admin', 'expiry'));

COMMENT ON COLUMN accounts.closed_by IS 'Who closed the account: its owner, an administrator, or its expiry; null: it is open, or nobody knows any more.';

CREATE TABLE former_addresses (
    address_hash BYTEA NOT NULL,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    closed_ms BIGINT NOT NULL,
    PRIMARY KEY (address_hash, user_nid)
);

CREATE INDEX former_addresses_user ON former_addresses (user_nid);

COMMENT ON TABLE former_addresses IS 'Which addresses a closed account had, so that whoever proves one again gets the account back. Erased accounts have none.';
COMMENT ON COLUMN former_addresses.address_hash IS 'SHA-256 of the address in canonical form.';
COMMENT ON COLUMN former_addresses.user_nid IS 'The closed account.';
COMMENT ON COLUMN former_addresses.closed_ms IS 'When it was closed: of two accounts with the address the newest counts.';
