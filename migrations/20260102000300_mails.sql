CREATE TABLE mails (
    mail_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message BYTEA NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    valid_until_ms BIGINT
);

CREATE INDEX mails_next_attempt ON mails (next_attempt_ms);

COMMENT ON TABLE mails IS 'Mails that wait for the mail server. A row goes when the server took the mail, refused it for good, or the mail is of no use any more.';
COMMENT ON COLUMN mails.mail_id IS 'The mail, as logs name it.';
COMMENT ON COLUMN mails.kind IS 'What the mail is about, for logs.';
COMMENT ON COLUMN mails.recipient IS 'The address that it goes to.';
COMMENT ON COLUMN mails.message IS 'The whole message (RFC 5322), with its secrets: the links that it is sent for.';
COMMENT ON COLUMN mails.attempts IS 'How often it was taken for sending. Also tells the process that took it last from the others.';
COMMENT ON COLUMN mails.next_attempt_ms IS 'When it is due. Who takes it moves this on, so that others take it only if that process died.';
COMMENT ON COLUMN mails.created_ms IS 'When it was written.';
COMMENT ON COLUMN mails.valid_until_ms IS 'When its link stops working, after which it is not sent; null: never.';
