CREATE TABLE cross_signing_keys (
    user_nid BIGINT NOT NULL REFERENCES accounts (user_nid),
    usage SMALLINT NOT NULL,
    public_key TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_nid, usage)
);

CREATE TABLE key_signatures (
    owner_nid BIGINT NOT NULL,
    target TEXT NOT NULL,
    signer_nid BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (owner_nid, target, signer_nid, key_id)
);

CREATE INDEX key_signatures_signer ON key_signatures (signer_nid, key_id);

COMMENT ON TABLE cross_signing_keys IS 'The public halves of the keys with which users sign their devices and other users.';
COMMENT ON COLUMN cross_signing_keys.user_nid IS 'Whose.';
COMMENT ON COLUMN cross_signing_keys.usage IS '1 master key, 2 self-signing key, 3 user-signing key.';
COMMENT ON COLUMN cross_signing_keys.public_key IS 'The key, in unpadded base64, which is also its id.';
COMMENT ON COLUMN cross_signing_keys.json IS 'The key as it was uploaded, with the signatures of its owner that were found to be right.';
COMMENT ON TABLE key_signatures IS 'Signatures that were uploaded for keys which are there already. Each was checked.';
COMMENT ON COLUMN key_signatures.owner_nid IS 'Whose key was signed.';
COMMENT ON COLUMN key_signatures.target IS 'Which of their keys: the id of a device, or the public master key.';
COMMENT ON COLUMN key_signatures.signer_nid IS 'Who has signed it. Signatures of others are shown to the signer alone.';
COMMENT ON COLUMN key_signatures.key_id IS 'With which key: ed25519: and the id of a device or a public key.';
COMMENT ON COLUMN key_signatures.signature IS 'The signature.';
COMMENT ON INDEX key_signatures_signer IS 'Finds what a key has signed, when it is replaced.';
