CREATE TABLE profiles (
    user_nid BIGINT PRIMARY KEY REFERENCES accounts (user_nid),
    display_name TEXT,
    avatar_url TEXT,
    fields JSONB NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE profiles IS 'What the accounts of this server show of themselves.';
COMMENT ON COLUMN profiles.user_nid IS 'Whose profile it is.';
COMMENT ON COLUMN profiles.display_name IS 'The name that people see.';
COMMENT ON COLUMN profiles.avatar_url IS 'The picture, as an mxc: URI.';
COMMENT ON COLUMN profiles.fields IS 'Every other field, such as m.tz, by its name.';
