CREATE TABLE account_holds (
    user_nid BIGINT PRIMARY KEY REFERENCES accounts (user_nid),
    locked_ms BIGINT,
    suspended_ms BIGINT
);

COMMENT ON TABLE account_holds IS 'Accounts that an administrator holds back.';
COMMENT ON COLUMN account_holds.user_nid IS 'Whose account it is.';
COMMENT ON COLUMN account_holds.locked_ms IS 'Since when it can do nothing but log out; null: it is not locked.';
COMMENT ON COLUMN account_holds.suspended_ms IS 'Since when it can read and not write; null: it is not suspended.';
