ALTER TABLE memberships ADD COLUMN changed_after BIGINT NOT NULL DEFAULT 0;
ALTER TABLE memberships ADD COLUMN removed BOOLEAN NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN memberships.changed_after IS 'A place in the stream shortly before the membership event: rooms that the user is not in are ordered by it.';
COMMENT ON COLUMN memberships.removed IS 'Whether somebody else ended the membership of a user who was joined.';
