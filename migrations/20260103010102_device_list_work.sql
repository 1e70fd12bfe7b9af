CREATE TABLE device_list_work (
    user_nid BIGINT PRIMARY KEY
);

COMMENT ON TABLE device_list_work IS 'Users whose device lists have changed and whose entry in the stream is yet to be written. A row is written with the change and goes with the entry: what a stopped process leaves, another takes up.';
COMMENT ON COLUMN device_list_work.user_nid IS 'Whose device list.';
COMMENT ON COLUMN stream.kind IS '1 event, 2 membership event, 3 receipt, 4 account data, 5 device list, 6 messages to devices, 7 one-time keys.';
COMMENT ON COLUMN stream.user_nid IS 'For a membership event, whose membership; for all but other events, whose.';
COMMENT ON COLUMN stream.detail IS 'For a membership event, the membership before; for a receipt, its type and thread; for account data, its type; for a device list, the one user who is told, if not everybody is; for messages to devices and one-time keys, the devices.';
