CREATE TABLE to_device (
    device_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (device_nid, position)
);

COMMENT ON TABLE to_device IS 'Messages to devices that their devices have not confirmed. No foreign key: deleting a device deletes them, and checking each of thousands of rows would cost more than the rows.';
COMMENT ON COLUMN to_device.device_nid IS 'To which device.';
COMMENT ON COLUMN to_device.position IS 'The position of its entry in the stream. A sync token at or past it confirms the message.';
COMMENT ON COLUMN to_device.json IS 'The event as the device gets it: content, sender and type.';
COMMENT ON INDEX to_device_pkey IS 'Lists the messages of a device in order.';
