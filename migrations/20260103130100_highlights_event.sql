-- no-transaction
CREATE INDEX CONCURRENTLY highlights_event ON highlights (room_nid, position);
