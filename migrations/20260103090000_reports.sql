CREATE TABLE reports (
    report_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reported_ms BIGINT NOT NULL,
    reporter_nid BIGINT NOT NULL REFERENCES users (user_nid),
    room_nid BIGINT,
    event_id TEXT COLLATE "C",
    user_nid BIGINT REFERENCES users (user_nid),
    reason TEXT NOT NULL
);

COMMENT ON TABLE reports IS 'What users reported to the administrators as inappropriate.';
COMMENT ON COLUMN reports.report_nid IS 'The number of the report.';
COMMENT ON COLUMN reports.reported_ms IS 'When, in milliseconds since the epoch.';
COMMENT ON COLUMN reports.reporter_nid IS 'Who reported.';
COMMENT ON COLUMN reports.room_nid IS 'The room that was reported, or that the event is in; null where a user was reported.';
COMMENT ON COLUMN reports.event_id IS 'The event that was reported, if any.';
COMMENT ON COLUMN reports.user_nid IS 'The user who was reported, or who sent the event; null where a room was reported.';
COMMENT ON COLUMN reports.reason IS 'What the reporter says; may be empty.';
