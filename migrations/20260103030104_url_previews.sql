CREATE TABLE url_previews (
    preview_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url_hash BYTEA NOT NULL,
    preview TEXT NOT NULL,
    media_id TEXT COLLATE "C",
    expires_ms BIGINT NOT NULL
);

CREATE INDEX url_previews_url ON url_previews (url_hash, expires_ms);
CREATE INDEX url_previews_expires ON url_previews (expires_ms);

COMMENT ON TABLE url_previews IS 'What web pages said of themselves.';
COMMENT ON COLUMN url_previews.preview_nid IS 'The number of the preview.';
COMMENT ON COLUMN url_previews.url_hash IS 'A hash of the URL and the language that was asked for.';
COMMENT ON COLUMN url_previews.preview IS 'The preview, as JSON.';
COMMENT ON COLUMN url_previews.media_id IS 'Its picture, among the media of this server.';
COMMENT ON COLUMN url_previews.expires_ms IS 'When the page is asked again.';
