CREATE TABLE dehydrated_devices (
    user_nid BIGINT PRIMARY KEY,
    device_nid BIGINT NOT NULL REFERENCES devices (device_nid) ON DELETE CASCADE,
    device_data TEXT NOT NULL
);

CREATE INDEX dehydrated_devices_device ON dehydrated_devices (device_nid);

COMMENT ON TABLE dehydrated_devices IS 'Devices that collect messages while nobody is logged in (MSC3814): one for each user.';
COMMENT ON COLUMN dehydrated_devices.user_nid IS 'Whose.';
COMMENT ON COLUMN dehydrated_devices.device_nid IS 'The device, which has no session.';
COMMENT ON COLUMN dehydrated_devices.device_data IS 'Its private keys, encrypted by the client, a JSON object.';
COMMENT ON INDEX dehydrated_devices_device IS 'For the deletion of devices.';
