CREATE TABLE threepids (
    address TEXT PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    validated_ms BIGINT NOT NULL,
    added_ms BIGINT NOT NULL
);

CREATE INDEX threepids_user ON threepids (user_nid);

COMMENT ON TABLE threepids IS 'The e-mail addresses of the accounts. E-mail is the only medium.';
COMMENT ON COLUMN threepids.address IS 'The address in canonical form. One address belongs to one account.';
COMMENT ON COLUMN threepids.user_nid IS 'Whose address it is.';
COMMENT ON COLUMN threepids.validated_ms IS 'When its owner opened the link in the mail.';
COMMENT ON COLUMN threepids.added_ms IS 'When it was added to the account.';
