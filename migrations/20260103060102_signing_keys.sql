CREATE TABLE signing_keys (
    key_id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    retired_ms BIGINT
);

CREATE UNIQUE INDEX signing_keys_current ON signing_keys ((TRUE)) WHERE retired_ms IS NULL;

COMMENT ON TABLE signing_keys IS 'The public halves of the keys that sign for this server, so that all processes hold the same one. The private half is in a file alone.';
COMMENT ON COLUMN signing_keys.key_id IS 'The name of the key, such as ed25519:a_key.';
COMMENT ON COLUMN signing_keys.public_key IS 'The public half, in unpadded base64.';
COMMENT ON COLUMN signing_keys.since_ms IS 'Since when it signs, in milliseconds since the epoch.';
COMMENT ON COLUMN signing_keys.retired_ms IS 'When another took its place; null: it is the current one, of which there is one at most.';
