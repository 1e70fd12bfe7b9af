CREATE TABLE account_work (
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    kind TEXT NOT NULL CHECK (kind IN ('leave_rooms', 'show_profile')),
    version BIGINT NOT NULL DEFAULT 1,
    cursor BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_ms BIGINT NOT NULL,
    PRIMARY KEY (user_nid, kind)
);

CREATE INDEX account_work_due ON account_work (due_ms);

COMMENT ON TABLE account_work IS 'What is still to be done in the rooms of an account, a few rooms at a time.';
COMMENT ON COLUMN account_work.user_nid IS 'Whose rooms.';
COMMENT ON COLUMN account_work.kind IS 'leave_rooms: the account was closed. show_profile: its name or avatar changed.';
COMMENT ON COLUMN account_work.version IS 'Grows when the work is asked for again, so that it is not taken for done.';
COMMENT ON COLUMN account_work.cursor IS 'The number of the last room that was done in this round; 0: none yet.';
COMMENT ON COLUMN account_work.failed IS 'How many rooms of this round failed.';
COMMENT ON COLUMN account_work.attempts IS 'How many rounds ended with a room that failed.';
COMMENT ON COLUMN account_work.due_ms IS 'When a process may take the work up; whoever does moves it into the future.';
