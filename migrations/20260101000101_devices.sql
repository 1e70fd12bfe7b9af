CREATE TABLE devices (
    device_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ms BIGINT NOT NULL,
    last_seen_ms BIGINT,
    last_seen_ip TEXT,
    last_seen_user_agent TEXT,
    CONSTRAINT devices_user_device UNIQUE (user_nid, device_id)
);

COMMENT ON TABLE devices IS 'The devices of the accounts: one for each login.';
COMMENT ON COLUMN devices.device_nid IS 'The number that stands for the device in other tables; never given out again.';
COMMENT ON COLUMN devices.user_nid IS 'Whose device it is.';
COMMENT ON COLUMN devices.device_id IS 'The Matrix device id.';
COMMENT ON COLUMN devices.display_name IS 'What its owner calls it.';
COMMENT ON COLUMN devices.created_ms IS 'When it first logged in.';
COMMENT ON COLUMN devices.last_seen_ms IS 'When it last sent a request, some minutes late.';
COMMENT ON COLUMN devices.last_seen_ip IS 'From which IP address it sent that request.';
COMMENT ON COLUMN devices.last_seen_user_agent IS 'The User-Agent of that request.';
