CREATE TABLE users (
    user_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE
);

COMMENT ON TABLE users IS 'Every user that this server has heard of, here or elsewhere, with the number that stands for the id in other tables.';
COMMENT ON COLUMN users.user_nid IS 'The number.';
COMMENT ON COLUMN users.user_id IS 'The Matrix user id, @localpart:server.';
