CREATE TABLE aliases (
    alias TEXT COLLATE "C" PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    creator_nid BIGINT NOT NULL
);

CREATE INDEX aliases_room ON aliases (room_nid);

CREATE TABLE room_summaries (
    room_nid BIGINT PRIMARY KEY,
    published BOOLEAN NOT NULL DEFAULT FALSE,
    joined_count BIGINT NOT NULL,
    name TEXT,
    topic TEXT,
    canonical_alias TEXT,
    avatar_url TEXT,
    join_rule TEXT,
    room_type TEXT,
    world_readable BOOLEAN NOT NULL,
    guest_can_join BOOLEAN NOT NULL
);

CREATE INDEX room_summaries_published ON room_summaries (joined_count DESC, room_nid) WHERE published;

COMMENT ON TABLE aliases IS 'Room aliases of this server.';
COMMENT ON COLUMN aliases.alias IS 'The alias, #name:server.';
COMMENT ON COLUMN aliases.room_nid IS 'The room.';
COMMENT ON COLUMN aliases.creator_nid IS 'Who made the alias.';
COMMENT ON INDEX aliases_room IS 'Lists the aliases of a room.';
COMMENT ON TABLE room_summaries IS 'What the room directory shows of a room, kept up to date as its state changes.';
COMMENT ON COLUMN room_summaries.room_nid IS 'The room.';
COMMENT ON COLUMN room_summaries.published IS 'Whether the room is in the directory.';
COMMENT ON COLUMN room_summaries.joined_count IS 'How many members have joined.';
COMMENT ON COLUMN room_summaries.name IS 'The name, cut at 255 bytes.';
COMMENT ON COLUMN room_summaries.topic IS 'The topic, cut at 1024 bytes.';
COMMENT ON COLUMN room_summaries.canonical_alias IS 'The canonical alias.';
COMMENT ON COLUMN room_summaries.avatar_url IS 'The avatar.';
COMMENT ON COLUMN room_summaries.join_rule IS 'The join rule.';
COMMENT ON COLUMN room_summaries.room_type IS 'The type of the room, such as m.space.';
COMMENT ON COLUMN room_summaries.world_readable IS 'Whether anybody may read without joining.';
COMMENT ON COLUMN room_summaries.guest_can_join IS 'Whether guest accounts may join.';
COMMENT ON INDEX room_summaries_published IS 'Pages through the directory, largest rooms first.';
