CREATE TABLE email_validations (
    sid TEXT PRIMARY KEY,
    purpose TEXT NOT NULL CHECK (purpose IN ('registration', 'password')),
    address TEXT NOT NULL,
    client_secret_hash BYTEA NOT NULL,
    send_attempt BIGINT NOT NULL,
    token_hash BYTEA NOT NULL,
    next_link TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    validated_ms BIGINT,
    CONSTRAINT email_validations_client UNIQUE (purpose, address, client_secret_hash)
);

CREATE INDEX email_validations_expires ON email_validations (expires_ms);

COMMENT ON TABLE email_validations IS 'Mails with a link that proves who reads an address.';
COMMENT ON COLUMN email_validations.sid IS 'The id of the session, which the client learns.';
COMMENT ON COLUMN email_validations.purpose IS 'What the proof is good for: making an account, or a new password.';
COMMENT ON COLUMN email_validations.address IS 'The address in canonical form.';
COMMENT ON COLUMN email_validations.client_secret_hash IS 'SHA-256 of the secret that the client chose.';
COMMENT ON COLUMN email_validations.send_attempt IS 'The client''s count: a mail is sent only when it grows.';
COMMENT ON COLUMN email_validations.token_hash IS 'SHA-256 of the token in the link of the newest mail.';
COMMENT ON COLUMN email_validations.next_link IS 'Where the browser goes after the link.';
COMMENT ON COLUMN email_validations.created_ms IS 'When the newest mail was sent.';
COMMENT ON COLUMN email_validations.expires_ms IS 'When link and proof stop being good.';
COMMENT ON COLUMN email_validations.validated_ms IS 'When the link was opened; null: not yet.';
