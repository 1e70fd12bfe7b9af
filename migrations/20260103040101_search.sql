CREATE TABLE search_entries (
    stream_position BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    sender_nid BIGINT NOT NULL,
    key SMALLINT NOT NULL,
    words TSVECTOR NOT NULL
);

CREATE UNIQUE INDEX search_entries_event ON search_entries (room_nid, position);

CREATE INDEX search_entries_words ON search_entries USING GIN (words);

CREATE TABLE search_progress (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    stream_position BIGINT NOT NULL
);

INSERT INTO search_progress (stream_position) VALUES (0);

COMMENT ON TABLE search_entries IS 'The words of messages, room names and topics, for search. Filled from the stream, after the commit of the event; a redaction takes the row away.';
COMMENT ON COLUMN search_entries.stream_position IS 'The place of the event in the stream: the order of the newest.';
COMMENT ON COLUMN search_entries.room_nid IS 'The room.';
COMMENT ON COLUMN search_entries.position IS 'The position of the event in the room.';
COMMENT ON COLUMN search_entries.sender_nid IS 'The sender.';
COMMENT ON COLUMN search_entries.key IS 'What the words are: 1 the body of a message, 2 the name of a room, 3 its topic.';
COMMENT ON COLUMN search_entries.words IS 'The words, in French, in English and as they are without accents; and #n for the room with the number n, so that one index finds the words of some rooms.';
COMMENT ON TABLE search_progress IS 'How far the stream was read for search_entries. Whoever fills them holds the row.';
COMMENT ON COLUMN search_progress.one IS 'There is one row.';
COMMENT ON COLUMN search_progress.stream_position IS 'Everything up to here was read.';
