-- Tables of a run's own_words.duckdb, beside its features.duckdb: what `dfc screen --rollouts` had both models write.

CREATE TABLE run (          -- facts, each value as JSON
    key   VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE continuations (    -- one row per continuation that is ranked
    number     INTEGER NOT NULL,    -- of the beginning, the same for both models
    side       VARCHAR NOT NULL,    -- who wrote it: 'a', 'b'
    source     VARCHAR NOT NULL,    -- of the beginning
    chat       BOOLEAN NOT NULL,    -- whether it answers a user; else it goes on from a text
    beginning  VARCHAR NOT NULL,
    text       VARCHAR NOT NULL,
    characters INTEGER NOT NULL,    -- that both models were given alike, over which nats are counted
    nats_a     DOUBLE NOT NULL,     -- that model A loses a character
    nats_b     DOUBLE NOT NULL,
    pieces     VARCHAR[] NOT NULL,  -- the text from one pair of tokens to the next
    gaps       FLOAT[] NOT NULL,    -- by how many nats A expects each piece better; null where it is not known
    first      INTEGER NOT NULL,    -- the pieces that tell most: the first
    last       INTEGER NOT NULL     -- and the last
);

CREATE TABLE heard (            -- one row per continuation and feature that fires in it
    number     INTEGER NOT NULL,
    side       VARCHAR NOT NULL,
    feature_id INTEGER NOT NULL,
    max        FLOAT NOT NULL,      -- its strongest activation there
    piece      INTEGER NOT NULL     -- and where that is
);
