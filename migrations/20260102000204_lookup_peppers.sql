CREATE TABLE lookup_peppers (
    pepper_nid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pepper TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    is_ready BOOLEAN NOT NULL
);

COMMENT ON TABLE lookup_peppers IS 'What addresses are hashed with in look-ups. New addresses are hashed with all of them.';
COMMENT ON COLUMN lookup_peppers.pepper_nid IS 'Its number.';
COMMENT ON COLUMN lookup_peppers.pepper IS 'The pepper, as clients learn it.';
COMMENT ON COLUMN lookup_peppers.created_ms IS 'When it was made.';
COMMENT ON COLUMN lookup_peppers.is_ready IS 'Whether all addresses were hashed with it. Clients are given the newest one that is ready.';

CREATE TABLE address_hashes (
    pepper_nid BIGINT NOT NULL REFERENCES lookup_peppers (pepper_nid) ON DELETE CASCADE,
    hash BYTEA NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (pepper_nid, hash)
);

COMMENT ON TABLE address_hashes IS 'The hashes that clients look up. One of an address that is bound no more is harmless, and goes with its pepper.';
COMMENT ON COLUMN address_hashes.pepper_nid IS 'The pepper.';
COMMENT ON COLUMN address_hashes.hash IS 'SHA-256 of "address email pepper".';
COMMENT ON COLUMN address_hashes.address IS 'The address in canonical form.';
