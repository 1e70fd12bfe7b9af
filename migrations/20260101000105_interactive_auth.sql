CREATE TABLE interactive_auth_sessions (
    session_hash BYTEA PRIMARY KEY,
    binding BYTEA NOT NULL,
    completed TEXT[] NOT NULL DEFAULT '{}',
    username TEXT,
    password_hash TEXT,
    device_id TEXT,
    device_name TEXT,
    address TEXT,
    registration_token TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX interactive_auth_sessions_expires ON interactive_auth_sessions (expires_ms);

COMMENT ON TABLE interactive_auth_sessions IS 'Operations that wait for more proofs of who asks. Results are kept, never passwords.';
COMMENT ON COLUMN interactive_auth_sessions.session_hash IS 'SHA-256 of the session id.';
COMMENT ON COLUMN interactive_auth_sessions.binding IS 'SHA-256 of the operation, the user and the parameters: the session is good for nothing else.';
COMMENT ON COLUMN interactive_auth_sessions.completed IS 'The stages that were passed.';
COMMENT ON COLUMN interactive_auth_sessions.username IS 'The local part that a registration asks for.';
COMMENT ON COLUMN interactive_auth_sessions.password_hash IS 'Argon2id of the new password, so that the client sends it only once.';
COMMENT ON COLUMN interactive_auth_sessions.device_id IS 'The device id that a registration asks for.';
COMMENT ON COLUMN interactive_auth_sessions.device_name IS 'The name of the device that registers.';
COMMENT ON COLUMN interactive_auth_sessions.address IS 'The address that the e-mail stage proved, in canonical form.';
COMMENT ON COLUMN interactive_auth_sessions.registration_token IS 'The registration token that was accepted.';
COMMENT ON COLUMN interactive_auth_sessions.created_ms IS 'When the session began.';
COMMENT ON COLUMN interactive_auth_sessions.expires_ms IS 'When it is forgotten.';
