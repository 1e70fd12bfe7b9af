CREATE TABLE filters (
    user_nid BIGINT NOT NULL,
    filter_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_nid, filter_id),
    CONSTRAINT filters_digest_key UNIQUE (user_nid, digest)
);

COMMENT ON TABLE filters IS 'Sync filters that clients have uploaded; never changed.';
COMMENT ON COLUMN filters.user_nid IS 'Whose.';
COMMENT ON COLUMN filters.filter_id IS 'The id that the client names it by.';
COMMENT ON COLUMN filters.digest IS 'SHA-256 of the text, so that the same filter is stored once.';
COMMENT ON COLUMN filters.json IS 'The filter.';
