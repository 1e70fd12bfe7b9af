CREATE TABLE device_keys (
    device_nid BIGINT PRIMARY KEY REFERENCES devices (device_nid) ON DELETE CASCADE,
    user_nid BIGINT NOT NULL,
    ed25519 TEXT NOT NULL,
    json TEXT NOT NULL
);

CREATE INDEX device_keys_user ON device_keys (user_nid);

CREATE TABLE one_time_keys (
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    uploaded BIGINT GENERATED ALWAYS AS IDENTITY,
    json TEXT NOT NULL,
    PRIMARY KEY (device_nid, algorithm, key_id)
);

CREATE INDEX one_time_keys_next ON one_time_keys (device_nid, algorithm, uploaded);

CREATE TABLE fallback_keys (
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    json TEXT NOT NULL,
    used BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (device_nid, algorithm)
);

COMMENT ON TABLE device_keys IS 'The identity keys that devices have published.';
COMMENT ON COLUMN device_keys.device_nid IS 'The device.';
COMMENT ON COLUMN device_keys.user_nid IS 'Whose device it is.';
COMMENT ON COLUMN device_keys.ed25519 IS 'Its public signing key, in unpadded base64; empty if it has published none.';
COMMENT ON COLUMN device_keys.json IS 'The keys as they were uploaded, with the signatures of their owner that were found to be right.';
COMMENT ON INDEX device_keys_user IS 'Lists the keys of a user.';
COMMENT ON TABLE one_time_keys IS 'Keys that are given out once, and deleted with that.';
COMMENT ON COLUMN one_time_keys.device_nid IS 'The device.';
COMMENT ON COLUMN one_time_keys.algorithm IS 'The algorithm, such as signed_curve25519.';
COMMENT ON COLUMN one_time_keys.key_id IS 'What the device calls the key.';
COMMENT ON COLUMN one_time_keys.uploaded IS 'Grows: keys are given out in the order in which they were uploaded.';
COMMENT ON COLUMN one_time_keys.json IS 'The key: an object, or for unsigned algorithms a string.';
COMMENT ON INDEX one_time_keys_next IS 'Finds the key to give out next.';
COMMENT ON TABLE fallback_keys IS 'Keys that are given out when a device has no one-time keys left.';
COMMENT ON COLUMN fallback_keys.device_nid IS 'The device.';
COMMENT ON COLUMN fallback_keys.algorithm IS 'The algorithm.';
COMMENT ON COLUMN fallback_keys.key_id IS 'What the device calls the key.';
COMMENT ON COLUMN fallback_keys.json IS 'The key.';
COMMENT ON COLUMN fallback_keys.used IS 'Whether it was given out.';
