ALTER TABLE accounts ADD COLUMN is_guest BOOLEAN NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN accounts.is_guest IS 'Whether it is a guest account of the specification (guest access): made without a password, it may do little. Says nothing of external guests.';
