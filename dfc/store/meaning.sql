-- Tables of a run's meaning.duckdb, beside its features.duckdb: what `dfc meaning` found.

CREATE TABLE run (          -- facts, each value as JSON
    key   VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE meanings (     -- one row per feature that has contexts
    feature_id INTEGER NOT NULL,
    vector     FLOAT[] NOT NULL   -- of length 1: the mean of its strongest contexts' vectors, less that of all features
);
