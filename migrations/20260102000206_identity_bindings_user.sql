CREATE INDEX identity_bindings_user ON identity_bindings (user_id);

COMMENT ON COLUMN identity_bindings.user_id IS 'Whose it is, on any server. The bindings of an account of this server end with it.';
