-- Tables of a run's explanations.duckdb: what judges and people say of features. A row holds of a feature with that
-- fingerprint alone. Nothing that a judge says takes the place of what a person said.

CREATE TABLE IF NOT EXISTS explanations (   -- one of each judge and person for a feature, the latest
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    origin      VARCHAR NOT NULL,  -- 'judge' | 'person'
    who         VARCHAR NOT NULL,  -- the judge's model, or the person's name
    written     VARCHAR NOT NULL,  -- ISO 8601, UTC
    text        VARCHAR NOT NULL,  -- what the feature is about
    prompt      VARCHAR NOT NULL,  -- version of the prompts; '' of a person
    asked       VARCHAR NOT NULL,  -- by what the answer is known in `answers`; '' of a person
    accuracy    DOUBLE,            -- of the detection: mean share of right answers on both kinds of texts; NULL: none
    auroc       DOUBLE,            -- how often a text on which it fires has the higher mark, with its interval of 95 %
    low         DOUBLE,
    high        DOUBLE,
    firing      INTEGER,           -- texts on which it fires, and of these documents that were kept out of training
    held_out    INTEGER,
    silent      INTEGER            -- texts on which it does not
);

CREATE TABLE IF NOT EXISTS flags (          -- of data/screening.yaml, whether they apply; likewise
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    origin      VARCHAR NOT NULL,
    who         VARCHAR NOT NULL,
    written     VARCHAR NOT NULL,
    flag        VARCHAR NOT NULL,
    applies     BOOLEAN NOT NULL,
    reason      VARCHAR NOT NULL,
    prompt      VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS answers (        -- of judges, as they came, so that nothing is asked twice
    asked    VARCHAR NOT NULL PRIMARY KEY,  -- hash of the model, where it is, and all that it was asked
    model    VARCHAR NOT NULL,
    written  VARCHAR NOT NULL,
    messages VARCHAR NOT NULL,              -- JSON
    answer   VARCHAR NOT NULL
);
