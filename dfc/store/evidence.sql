-- Tables of a run's evidence.duckdb: whose each feature is. It stands beside features.duckdb, and is made anew without it.
-- The table `evidence`, a row a feature, is made of the columns in evidence_columns.py.

CREATE TABLE run (          -- facts about the evidence, each value as JSON
    key   VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE reference (    -- what a measure of `evidence` comes to, to set a feature's own number against
    measure    VARCHAR NOT NULL,          -- a column of `evidence`
    population VARCHAR NOT NULL,          -- features of 'a' | 'b' | 'shared' that are not dead
    quantiles  FLOAT[] NOT NULL           -- at 0, 0.01, …, 1
);

CREATE TABLE neighbours (   -- features with decoder vectors of like direction
    feature_id INTEGER NOT NULL,
    other_id   INTEGER NOT NULL,
    kind       VARCHAR NOT NULL,          -- within a model: 'a' | 'b'; carried by the stitch: 'a_to_b' | 'b_to_a'
    similarity FLOAT   NOT NULL           -- cosine
);

CREATE TABLE findings (     -- features that fire in the same texts, where one model does better than in like texts
    finding         INTEGER NOT NULL,     -- its rank, from 0: the largest gap for sure (less two errors) comes first
    side            VARCHAR NOT NULL,     -- the model that does better: 'a' | 'b'
    feature_id      INTEGER NOT NULL,     -- the best of its features; which others belong to it, `evidence` says
    members         INTEGER NOT NULL,     -- features, the best included
    documents       INTEGER NOT NULL,     -- in which the best fires, where surprise was measured
    effective       FLOAT NOT NULL,       -- as how many they count, since most of its firing may lie in some
    gap             FLOAT NOT NULL,       -- of the best feature, in favour of `side`: nats a character beyond matched places
    error           FLOAT NOT NULL,
    held_out_gap    FLOAT,                -- of its firings on documents kept out of training; NULL with fewer than two
    held_out_error  FLOAT,
    plain_gap       FLOAT NOT NULL,       -- compared with nothing: below 0, the other model expects better what follows
    plain_error     FLOAT NOT NULL,
    false_discovery FLOAT NOT NULL        -- the least rate at which it passes
);

CREATE TABLE pair_gaps (    -- which model expects which words of a document better, where surprise was measured
    document INTEGER NOT NULL,
    ends     INTEGER[] NOT NULL,          -- where its kept pairs end, in characters of its content
    gaps     FLOAT[] NOT NULL             -- nats that B loses more than A from the kept pair before to each, in
);                                        -- hundredths; NULL at a turn's first

CREATE TABLE texts (        -- how much better one model expects a kind of text as a whole
    trait     VARCHAR NOT NULL,           -- 'source' | 'role' | 'script'
    name      VARCHAR NOT NULL,
    documents BIGINT  NOT NULL,
    pairs     BIGINT  NOT NULL,
    gap       DOUBLE  NOT NULL,           -- nats a character in favour of A
    error     DOUBLE                      -- its standard error; NULL if it cannot be known
);
