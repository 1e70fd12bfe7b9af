ALTER TABLE interactive_auth_sessions ADD COLUMN offered TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE interactive_auth_sessions ADD COLUMN user_nid BIGINT REFERENCES users (user_nid);
ALTER TABLE interactive_auth_sessions ADD COLUMN purpose TEXT;

COMMENT ON COLUMN interactive_auth_sessions.offered IS 'The stages that may be passed on a page in a browser.';
COMMENT ON COLUMN interactive_auth_sessions.user_nid IS 'Whose account it is about; null: that is not known yet.';
COMMENT ON COLUMN interactive_auth_sessions.purpose IS 'What a proof of an address must have been asked for: registration or password.';
