-- Tables of a run's evidence.duckdb: whose each feature is. It stands beside features.duckdb, and is made anew without it.
-- The table `evidence`, a row a feature, is made of the columns in columns.py.

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
