CREATE TABLE identity_bindings (
    address TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    bound_ms BIGINT NOT NULL
);

COMMENT ON TABLE identity_bindings IS 'Addresses that were bound at the identity service and belong to no account of this server. The addresses of accounts are always bound, and stand in threepids.';
COMMENT ON COLUMN identity_bindings.address IS 'The address in canonical form.';
COMMENT ON COLUMN identity_bindings.user_id IS 'Whose it is, on any server.';
COMMENT ON COLUMN identity_bindings.bound_ms IS 'When it was bound.';
