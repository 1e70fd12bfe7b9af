CREATE TABLE media_verdicts (
    content_hash BYTEA PRIMARY KEY,
    is_clean BOOLEAN NOT NULL,
    mime_type TEXT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX media_verdicts_expires ON media_verdicts (expires_ms);

COMMENT ON TABLE media_verdicts IS 'What the antivirus said of contents. Neither names nor keys of files are here.';
COMMENT ON COLUMN media_verdicts.content_hash IS 'A hash of the content and, where it is encrypted, of its key.';
COMMENT ON COLUMN media_verdicts.is_clean IS 'Whether it is free of viruses.';
COMMENT ON COLUMN media_verdicts.mime_type IS 'The type that its decrypted bytes tell.';
COMMENT ON COLUMN media_verdicts.expires_ms IS 'When it is scanned again.';
