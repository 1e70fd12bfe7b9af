CREATE TABLE media_files (
    file_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 BYTEA NOT NULL,
    object_key TEXT NOT NULL,
    size BIGINT NOT NULL,
    detected_type TEXT,
    quarantined_ms BIGINT,
    quarantined_by TEXT,
    CONSTRAINT media_files_sha256_key UNIQUE (sha256)
);

COMMENT ON TABLE media_files IS 'Bytes that were uploaded: each content once, however many media have it.';
COMMENT ON COLUMN media_files.file_nid IS 'The number that stands for the content.';
COMMENT ON COLUMN media_files.sha256 IS 'The hash of the bytes.';
COMMENT ON COLUMN media_files.object_key IS 'Where the bytes are in the object store.';
COMMENT ON COLUMN media_files.size IS 'How many bytes there are.';
COMMENT ON COLUMN media_files.detected_type IS 'The type that the first bytes tell, whatever the client said; null: they tell none.';
COMMENT ON COLUMN media_files.quarantined_ms IS 'When an administrator withdrew the content; null: it can be downloaded.';
COMMENT ON COLUMN media_files.quarantined_by IS 'Who withdrew it.';

CREATE TABLE media (
    media_id TEXT COLLATE "C" PRIMARY KEY,
    user_nid BIGINT REFERENCES users (user_nid),
    file_nid BIGINT REFERENCES media_files (file_nid),
    content_type TEXT,
    file_name TEXT,
    created_ms BIGINT NOT NULL,
    unused_expires_ms BIGINT,
    used_ms BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL,
    is_protected BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX media_file ON media (file_nid) WHERE file_nid IS NOT NULL;
CREATE INDEX media_user ON media (user_nid, created_ms, media_id);
CREATE INDEX media_used ON media (used_ms) WHERE file_nid IS NOT NULL;
CREATE INDEX media_unused ON media (unused_expires_ms) WHERE file_nid IS NULL;
CREATE INDEX media_pending ON media (user_nid, unused_expires_ms) WHERE file_nid IS NULL;

COMMENT ON TABLE media IS 'What mxc: URIs of this server name.';
COMMENT ON COLUMN media.media_id IS 'The last part of the mxc: URI, which nobody can guess.';
COMMENT ON COLUMN media.user_nid IS 'Who uploaded it; null: the server itself, as for images of previews.';
COMMENT ON COLUMN media.file_nid IS 'Its bytes; null: they are still to be uploaded.';
COMMENT ON COLUMN media.content_type IS 'The type that the client gave.';
COMMENT ON COLUMN media.file_name IS 'The file name that the client gave.';
COMMENT ON COLUMN media.created_ms IS 'When the id was given out.';
COMMENT ON COLUMN media.unused_expires_ms IS 'Until when the bytes can be uploaded, where the id was given out before them.';
COMMENT ON COLUMN media.used_ms IS 'About when somebody downloaded it last: within a day.';
COMMENT ON COLUMN media.is_open IS 'Whether it can be downloaded without an access token: it was uploaded while that was allowed.';
COMMENT ON COLUMN media.is_protected IS 'Whether quarantines of whole rooms and users leave it alone.';

CREATE TABLE media_thumbnails (
    file_nid BIGINT NOT NULL REFERENCES media_files (file_nid),
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    method TEXT NOT NULL CHECK (method IN ('crop', 'scale')),
    is_animated BOOLEAN NOT NULL,
    content_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    PRIMARY KEY (file_nid, width, height, method, is_animated)
);

COMMENT ON TABLE media_thumbnails IS 'Thumbnails that were made, to be given again.';
COMMENT ON COLUMN media_thumbnails.file_nid IS 'The image.';
COMMENT ON COLUMN media_thumbnails.width IS 'The width that was asked for.';
COMMENT ON COLUMN media_thumbnails.height IS 'The height that was asked for.';
COMMENT ON COLUMN media_thumbnails.method IS 'How it was made to fit.';
COMMENT ON COLUMN media_thumbnails.is_animated IS 'Whether it may move.';
COMMENT ON COLUMN media_thumbnails.content_type IS 'Its type.';
COMMENT ON COLUMN media_thumbnails.size IS 'How many bytes it has.';
COMMENT ON COLUMN media_thumbnails.object_key IS 'Where its bytes are in the object store.';

CREATE TABLE media_usage (
    user_nid BIGINT PRIMARY KEY REFERENCES users (user_nid),
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

COMMENT ON TABLE media_usage IS 'How much each user has uploaded.';
COMMENT ON COLUMN media_usage.user_nid IS 'The user.';
COMMENT ON COLUMN media_usage.files IS 'How many media they have.';
COMMENT ON COLUMN media_usage.bytes IS 'How many bytes those have, also where others uploaded the same ones.';

CREATE TABLE media_objects (
    object_key TEXT PRIMARY KEY,
    due_ms BIGINT NOT NULL
);

CREATE INDEX media_objects_due ON media_objects (due_ms);

COMMENT ON TABLE media_objects IS 'Objects that belong to nothing: those being written, and those to be deleted.';
COMMENT ON COLUMN media_objects.object_key IS 'Where the bytes are, or may be, in the object store.';
COMMENT ON COLUMN media_objects.due_ms IS 'When the object is deleted, unless it belongs to something by then.';
