CREATE FUNCTION chappe_media_ids(json TEXT) RETURNS TEXT[]
LANGUAGE SQL
IMMUTABLE
PARALLEL SAFE
STRICT
AS $$
    SELECT ARRAY(
        SELECT DISTINCT found[1]
        FROM REGEXP_MATCHES(json, 'mxc://[^/"\\]+/([A-Za-z0-9_-]+)', 'g') AS found
    )
$$;

COMMENT ON FUNCTION chappe_media_ids(TEXT) IS 'The ids of all mxc: URIs in a text.';

-- Not concurrently: whoever waits for the turn to migrate would be waited for.
CREATE INDEX events_media ON events USING GIN (chappe_media_ids(json)) WHERE STRPOS(json, 'mxc://') > 0;
CREATE INDEX profiles_avatar ON profiles (avatar_url) WHERE avatar_url IS NOT NULL;

CREATE TABLE media_purges (
    media_id TEXT COLLATE "C" PRIMARY KEY,
    sender_nid BIGINT NOT NULL
);

COMMENT ON TABLE media_purges IS 'Media that deleted messages named: they go too, if nothing else names them.';
COMMENT ON COLUMN media_purges.media_id IS 'The media.';
COMMENT ON COLUMN media_purges.sender_nid IS 'Who sent the message: only their own media go.';
