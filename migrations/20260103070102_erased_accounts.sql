CREATE INDEX accounts_erased ON accounts (user_nid) WHERE is_erased;

COMMENT ON INDEX accounts_erased IS 'Lists the users whose events newcomers see without their content.';
