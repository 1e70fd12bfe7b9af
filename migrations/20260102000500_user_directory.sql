CREATE TABLE user_directory (
    user_nid BIGINT PRIMARY KEY REFERENCES accounts (user_nid),
    name TEXT COLLATE "C" NOT NULL,
    is_listed BOOLEAN NOT NULL,
    hidden_by_choice BOOLEAN NOT NULL,
    hidden_by_expiry BOOLEAN NOT NULL DEFAULT FALSE,
    fold_version SMALLINT NOT NULL
);

CREATE TABLE user_directory_words (
    user_nid BIGINT NOT NULL REFERENCES user_directory (user_nid) ON DELETE CASCADE,
    word TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_nid, word)
);

CREATE INDEX user_directory_words_search ON user_directory_words (word, name, user_nid);

COMMENT ON TABLE user_directory IS 'Who can be found by name, and why somebody cannot. It follows from accounts, profiles and account data, but for the expiry.';
COMMENT ON COLUMN user_directory.user_nid IS 'The account.';
COMMENT ON COLUMN user_directory.name IS 'The words of the display name and the user id, folded (lower case, without accents), each with a space before it; cut at 256 characters.';
COMMENT ON COLUMN user_directory.is_listed IS 'Whether the account is open and not hidden: only then it has words.';
COMMENT ON COLUMN user_directory.hidden_by_choice IS 'Whether its owner is on the red list, or is an external who never asked to be found.';
COMMENT ON COLUMN user_directory.hidden_by_expiry IS 'Whether it is hidden because it expired, whatever its owner chooses.';
COMMENT ON COLUMN user_directory.fold_version IS 'Which version of the folding made the words; older ones are made again.';
COMMENT ON TABLE user_directory_words IS 'The words by which the listed users are found, of their names and user ids.';
COMMENT ON COLUMN user_directory_words.user_nid IS 'The user.';
COMMENT ON COLUMN user_directory_words.word IS 'A folded word, cut at 64 characters.';
COMMENT ON COLUMN user_directory_words.name IS 'The name of user_directory: the order of users with the same word, and what the other words of a search are compared with.';
COMMENT ON INDEX user_directory_words_search IS 'Walks the users with a word that begins with a text, in the order of the results.';
