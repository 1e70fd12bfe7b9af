CREATE TABLE relations (
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    parent BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    rel_type TEXT COLLATE "C" NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    sender_nid BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    annotation_key BYTEA,
    PRIMARY KEY (room_nid, position)
);

CREATE INDEX relations_parent ON relations (room_nid, parent, position);

-- The same reaction is not sent twice by one user.
CREATE UNIQUE INDEX relations_annotation_key
    ON relations (room_nid, parent, sender_nid, event_type, annotation_key)
    WHERE annotation_key IS NOT NULL;

CREATE TABLE threads (
    room_nid BIGINT NOT NULL,
    root BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    PRIMARY KEY (room_nid, root)
);

CREATE INDEX threads_latest ON threads (room_nid, latest);

COMMENT ON TABLE relations IS 'Which events relate to which others of their room. A redaction takes the row away.';
COMMENT ON COLUMN relations.room_nid IS 'The room.';
COMMENT ON COLUMN relations.position IS 'The position of the event that relates: the child.';
COMMENT ON COLUMN relations.parent IS 'The position of the event that it relates to.';
COMMENT ON COLUMN relations.kind IS 'How the parent is shown with it: 1 as edited, 2 as the root of a thread, 3 as referred to, 0 not at all.';
COMMENT ON COLUMN relations.rel_type IS 'The relation type.';
COMMENT ON COLUMN relations.event_type IS 'The type of the child.';
COMMENT ON COLUMN relations.sender_nid IS 'The sender of the child.';
COMMENT ON COLUMN relations.ts IS 'The origin_server_ts of the child: the newest edit is the one that counts.';
COMMENT ON COLUMN relations.event_id IS 'The id of the child.';
COMMENT ON COLUMN relations.annotation_key IS 'For an annotation that was sent here, its key, digested.';
COMMENT ON TABLE threads IS 'The threads of rooms, for the list of them.';
COMMENT ON COLUMN threads.room_nid IS 'The room.';
COMMENT ON COLUMN threads.root IS 'The position of the event that the thread begins with.';
COMMENT ON COLUMN threads.latest IS 'The position of the newest event of the thread.';
