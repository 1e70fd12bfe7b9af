CREATE TABLE key_backups (
    backup_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    etag BIGINT NOT NULL DEFAULT 0,
    key_count BIGINT NOT NULL DEFAULT 0,
    is_deleted BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT key_backups_version UNIQUE (user_nid, version)
);

CREATE TABLE backed_up_keys (
    backup_nid BIGINT NOT NULL REFERENCES key_backups (backup_nid),
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    is_verified BOOLEAN NOT NULL,
    session_data TEXT NOT NULL,
    PRIMARY KEY (backup_nid, room_id, session_id)
);

COMMENT ON TABLE key_backups IS 'The backups of users'' room keys. The newest that is not deleted takes new keys.';
COMMENT ON COLUMN key_backups.backup_nid IS 'The number that stands for the backup in other tables.';
COMMENT ON COLUMN key_backups.user_nid IS 'Whose backup.';
COMMENT ON COLUMN key_backups.version IS 'The version that clients know it by: 1 for the first backup of a user, and one more for each that follows.';
COMMENT ON COLUMN key_backups.algorithm IS 'How the keys are encrypted.';
COMMENT ON COLUMN key_backups.auth_data IS 'What the algorithm needs to know, a JSON object.';
COMMENT ON COLUMN key_backups.etag IS 'Grows when the keys change.';
COMMENT ON COLUMN key_backups.key_count IS 'How many keys there are.';
COMMENT ON COLUMN key_backups.is_deleted IS 'Whether it was deleted: the row stays, so that no version is given out twice.';
COMMENT ON TABLE backed_up_keys IS 'Encrypted room keys in backups.';
COMMENT ON COLUMN backed_up_keys.backup_nid IS 'The backup.';
COMMENT ON COLUMN backed_up_keys.room_id IS 'The room whose messages the key is for, as the client says.';
COMMENT ON COLUMN backed_up_keys.session_id IS 'The session, as the client says.';
COMMENT ON COLUMN backed_up_keys.first_message_index IS 'From which message of the session on the key is good.';
COMMENT ON COLUMN backed_up_keys.forwarded_count IS 'How often the key was handed on.';
COMMENT ON COLUMN backed_up_keys.is_verified IS 'Whether the client trusts the device that it has the key from.';
COMMENT ON COLUMN backed_up_keys.session_data IS 'The encrypted key, a JSON object.';
