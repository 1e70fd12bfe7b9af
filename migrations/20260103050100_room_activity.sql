ALTER TABLE rooms ADD COLUMN bumped_ms BIGINT NOT NULL DEFAULT 0;

COMMENT ON COLUMN rooms.bumped_ms IS 'When somebody last said something, in milliseconds since the epoch: what the bump stamp of sliding sync is.';
