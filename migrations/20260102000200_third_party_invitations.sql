CREATE TABLE third_party_invitations (
    token TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    room_nid BIGINT NOT NULL REFERENCES rooms (room_nid),
    inviter_nid BIGINT NOT NULL REFERENCES users (user_nid),
    display_name TEXT NOT NULL,
    ephemeral_seed BYTEA NOT NULL,
    ephemeral_public_key TEXT NOT NULL,
    inviter_name TEXT NOT NULL,
    room_name TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'bound', 'delivered', 'void')),
    user_nid BIGINT REFERENCES users (user_nid),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_ms BIGINT NOT NULL DEFAULT 0,
    mail_due_ms BIGINT
);

CREATE INDEX third_party_invitations_address ON third_party_invitations (address)
WHERE state = 'pending';

CREATE INDEX third_party_invitations_due ON third_party_invitations (next_try_ms)
WHERE state = 'bound';

CREATE INDEX third_party_invitations_mail ON third_party_invitations (mail_due_ms)
WHERE mail_due_ms IS NOT NULL;

CREATE INDEX third_party_invitations_inviter ON third_party_invitations (inviter_nid)
WHERE state IN ('pending', 'bound');

CREATE INDEX third_party_invitations_key ON third_party_invitations (ephemeral_public_key);

CREATE INDEX third_party_invitations_expires ON third_party_invitations (expires_ms);

COMMENT ON TABLE third_party_invitations IS 'Invitations to rooms by e-mail. A row is written together with its m.room.third_party_invite event.';
COMMENT ON COLUMN third_party_invitations.token IS 'The state key of the event.';
COMMENT ON COLUMN third_party_invitations.address IS 'Who is invited: an address in canonical form.';
COMMENT ON COLUMN third_party_invitations.room_nid IS 'The room.';
COMMENT ON COLUMN third_party_invitations.inviter_nid IS 'Who invites, and sends the invite that this becomes.';
COMMENT ON COLUMN third_party_invitations.display_name IS 'The address as rooms see it, cut.';
COMMENT ON COLUMN third_party_invitations.ephemeral_seed IS 'The private half of the key of this invitation alone. It still signs when the server has got another key.';
COMMENT ON COLUMN third_party_invitations.ephemeral_public_key IS 'Its public half in unpadded base64, as the event has it.';
COMMENT ON COLUMN third_party_invitations.inviter_name IS 'What the mail calls the inviter.';
COMMENT ON COLUMN third_party_invitations.room_name IS 'What the mail calls the room.';
COMMENT ON COLUMN third_party_invitations.created_ms IS 'When the invitation was made.';
COMMENT ON COLUMN third_party_invitations.expires_ms IS 'Until when it lets somebody register.';
COMMENT ON COLUMN third_party_invitations.state IS 'pending: nobody has the address yet; bound: somebody has, and the invite is still to be sent; delivered: it was sent; void: withdrawn, or refused for good.';
COMMENT ON COLUMN third_party_invitations.user_nid IS 'Whose address it turned out to be.';
COMMENT ON COLUMN third_party_invitations.attempts IS 'How often sending the invite failed.';
COMMENT ON COLUMN third_party_invitations.next_try_ms IS 'When to try next. Whoever tries moves it first, so that no two do.';
COMMENT ON COLUMN third_party_invitations.mail_due_ms IS 'When to hand the mail over; null: it was, or none is wanted.';
