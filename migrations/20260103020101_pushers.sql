CREATE TABLE pushers (
    pusher_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    device_nid BIGINT REFERENCES devices (device_nid) ON DELETE CASCADE,
    kind SMALLINT NOT NULL,
    app_id TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    app_display_name TEXT NOT NULL,
    device_display_name TEXT NOT NULL,
    profile_tag TEXT,
    lang TEXT NOT NULL,
    data TEXT NOT NULL,
    set_ms BIGINT NOT NULL,
    stalled_at BIGINT,
    stalled_ms BIGINT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms BIGINT,
    mailed_at BIGINT,
    CONSTRAINT pushers_user_app_key UNIQUE (user_nid, app_id, pushkey)
);

CREATE INDEX pushers_key ON pushers (pushkey, app_id);
CREATE INDEX pushers_device ON pushers (device_nid) WHERE device_nid IS NOT NULL;
CREATE INDEX pushers_next_attempt ON pushers (next_attempt_ms) WHERE next_attempt_ms IS NOT NULL;

CREATE TABLE push_cursor (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    position BIGINT NOT NULL,
    upto BIGINT NOT NULL
);

INSERT INTO push_cursor (position, upto)
SELECT position, position
FROM stream_counter;

COMMENT ON TABLE pushers IS 'Whom to tell of what notifies a user: push gateways, and mail addresses.';
COMMENT ON COLUMN pushers.pusher_id IS 'The number of the pusher.';
COMMENT ON COLUMN pushers.user_nid IS 'Whose notifications they are.';
COMMENT ON COLUMN pushers.device_nid IS 'The device that set an HTTP pusher, which goes with it.';
COMMENT ON COLUMN pushers.kind IS '1 HTTP, 2 e-mail.';
COMMENT ON COLUMN pushers.app_id IS 'The application.';
COMMENT ON COLUMN pushers.pushkey IS 'Where the gateway sends it; for e-mail, the address.';
COMMENT ON COLUMN pushers.app_display_name IS 'What people call the application.';
COMMENT ON COLUMN pushers.device_display_name IS 'What people call the device.';
COMMENT ON COLUMN pushers.profile_tag IS 'A name that the client gave its rules.';
COMMENT ON COLUMN pushers.lang IS 'The language of notifications.';
COMMENT ON COLUMN pushers.data IS 'A JSON object for the gateway; with url, where it is.';
COMMENT ON COLUMN pushers.set_ms IS 'When it was last set, in milliseconds since the epoch.';
COMMENT ON COLUMN pushers.stalled_at IS 'While its gateway fails: the position of the stream after which nothing was told.';
COMMENT ON COLUMN pushers.stalled_ms IS 'Since when its gateway fails, in milliseconds since the epoch.';
COMMENT ON COLUMN pushers.attempts IS 'How often in a row its gateway failed.';
COMMENT ON COLUMN pushers.next_attempt_ms IS 'When its gateway is tried again, or the lease of who tries it ends; for e-mail, when it is looked at next.';
COMMENT ON COLUMN pushers.mailed_at IS 'For e-mail, the position of the stream up to which a mail has told.';
COMMENT ON INDEX pushers_key IS 'Finds the pushers of other users on the same device.';
COMMENT ON INDEX pushers_device IS 'Finds what goes with a device.';
COMMENT ON INDEX pushers_next_attempt IS 'Finds the gateways to try again, and the mails to write.';
COMMENT ON TABLE push_cursor IS 'How far push gateways have been told; those that fail have a place of their own.';
COMMENT ON COLUMN push_cursor.one IS 'There is one row.';
COMMENT ON COLUMN push_cursor.position IS 'The position of the stream up to which they have been told.';
COMMENT ON COLUMN push_cursor.upto IS 'The position up to which they are being told.';
