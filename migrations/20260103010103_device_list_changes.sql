CREATE TABLE device_list_changes (
    user_nid BIGINT NOT NULL,
    viewer_nid BIGINT NOT NULL DEFAULT 0,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, viewer_nid)
);

CREATE INDEX device_list_changes_position ON device_list_changes (position);

COMMENT ON TABLE device_list_changes IS 'When the device list of each user last changed: one row, however many people and rooms it concerns.';
COMMENT ON COLUMN device_list_changes.user_nid IS 'Whose device list.';
COMMENT ON COLUMN device_list_changes.viewer_nid IS 'The one user who is told, as after signing the keys of somebody else; 0: everybody who shares a room.';
COMMENT ON COLUMN device_list_changes.position IS 'The position of the newest such entry in the stream.';
COMMENT ON INDEX device_list_changes_position IS 'Finds whose device lists changed after a position.';
