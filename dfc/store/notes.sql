-- Tables of data/notes.duckdb: what readers say about features, outside of any run. A feature is named by its run and
-- its number; the fingerprint of its decoder tells whether the run still holds the feature that was meant.

CREATE TABLE IF NOT EXISTS book AS SELECT 1 AS version;

CREATE TABLE IF NOT EXISTS notes (   -- never changed once written to the end, only added and erased
    run         VARCHAR NOT NULL,
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    written     VARCHAR NOT NULL,    -- ISO 8601, UTC
    text        VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS lists (
    name  VARCHAR PRIMARY KEY,
    added VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS marks (   -- favourites, tags, and places on lists
    run         VARCHAR NOT NULL,
    feature_id  INTEGER NOT NULL,
    kind        VARCHAR NOT NULL,    -- 'favourite' | 'tag' | 'list'
    name        VARCHAR NOT NULL,    -- of the tag or the list; '' for a favourite
    fingerprint VARCHAR NOT NULL,
    added       VARCHAR NOT NULL,    -- when it was set: the order of a list, where `place` has none
    note        VARCHAR NOT NULL,    -- why a feature is on this list
    PRIMARY KEY (run, feature_id, kind, name)
);

CREATE TABLE IF NOT EXISTS decisions (   -- on findings: never changed, only added, and taken back by whoever made them
    run         VARCHAR NOT NULL,
    feature_id  INTEGER NOT NULL,        -- of a finding its best feature
    fingerprint VARCHAR NOT NULL,
    decided     VARCHAR NOT NULL,        -- ISO 8601, UTC; of one person and feature the latest holds
    who         VARCHAR NOT NULL,
    choice      VARCHAR NOT NULL,        -- 'finding' | 'not-exclusive' | 'unreadable' | 'duplicate' | 'later'
    reason      VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS labels (   -- what people call features, as their runs have it, too: never changed, only added
    run         VARCHAR NOT NULL,
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    written     VARCHAR NOT NULL,     -- ISO 8601, UTC; of one person and feature the latest holds
    who         VARCHAR NOT NULL,
    text        VARCHAR NOT NULL      -- '': the label was taken back
);

CREATE TABLE IF NOT EXISTS flags (    -- of data/screening.yaml, whether people say that they apply; likewise
    run         VARCHAR NOT NULL,
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    written     VARCHAR NOT NULL,
    who         VARCHAR NOT NULL,
    flag        VARCHAR NOT NULL,
    applies     BOOLEAN NOT NULL
);

-- What a list looks like as a report, and in which order; notebooks from before are given these when they are opened.
ALTER TABLE lists ADD COLUMN IF NOT EXISTS title   VARCHAR DEFAULT '';   -- of the report; the name where there is none
ALTER TABLE lists ADD COLUMN IF NOT EXISTS author  VARCHAR DEFAULT '';
ALTER TABLE lists ADD COLUMN IF NOT EXISTS summary VARCHAR DEFAULT '';
ALTER TABLE marks ADD COLUMN IF NOT EXISTS place INTEGER DEFAULT 2147483647;   -- on its list; of like ones by `added`
ALTER TABLE marks ADD COLUMN IF NOT EXISTS contexts INTEGER[] DEFAULT [];      -- those the report shows, if any
ALTER TABLE marks ADD COLUMN IF NOT EXISTS said VARCHAR DEFAULT '';   -- when it was last said again, if ever: of two like
                                                                      -- marks of two notebooks the later holds
