-- Tables of a run's effects.duckdb: what edits of a feature do to the models, measured for a finding's sake.
-- A row counts as long as the feature's fingerprint is that of the store.

CREATE TABLE IF NOT EXISTS ablated (
    feature_id  INTEGER   NOT NULL PRIMARY KEY,
    fingerprint VARCHAR   NOT NULL,
    measured    TIMESTAMP NOT NULL,  -- UTC
    texts       INTEGER   NOT NULL,  -- how many were asked for
    positions   INTEGER   NOT NULL   -- of each, at most
);

CREATE TABLE IF NOT EXISTS ablations (  -- a row for each text and model that has a vector of the feature
    feature_id INTEGER NOT NULL,
    side       VARCHAR NOT NULL,
    document   INTEGER NOT NULL,
    held_out   BOOLEAN NOT NULL,  -- whether it was kept out of training
    firings    INTEGER NOT NULL,  -- that were taken away, of those on the tokens that were read
    positions  INTEGER NOT NULL,  -- over which is averaged: from the first firing on
    kl         DOUBLE  NOT NULL,  -- KL(without the feature ‖ left alone) of the next token, nats a token
    random     DOUBLE  NOT NULL   -- the same with a random sum of decoder vectors, as long as the feature's
);

CREATE TABLE IF NOT EXISTS written (  -- texts under a feature's vector, in its own model and carried over, and left alone
    feature_id  INTEGER NOT NULL,  -- -1: left alone
    fingerprint VARCHAR NOT NULL,  -- empty of those
    side        VARCHAR NOT NULL,  -- the model that wrote
    drawn       VARCHAR NOT NULL,  -- JSON: how tokens were drawn; with "direction": "random" under random directions
                                   -- in the place of the feature's vectors, as long as these
    prompt      VARCHAR NOT NULL,
    strength    DOUBLE  NOT NULL,  -- 0: left alone
    seed        INTEGER NOT NULL,
    r2          DOUBLE,            -- of the stitch that carried the feature over; NULL: left alone
    text        VARCHAR NOT NULL,
    PRIMARY KEY (feature_id, side, drawn, prompt, strength, seed)
);

CREATE TABLE IF NOT EXISTS alike (  -- how alike what both models wrote is
    feature_id  INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    drawn       VARCHAR NOT NULL,
    prompt      VARCHAR NOT NULL,
    strength    DOUBLE  NOT NULL,
    seed        INTEGER NOT NULL,
    r2          DOUBLE,
    way         VARCHAR NOT NULL,  -- JSON: the judge, or the encoder of sentences
    value       DOUBLE  NOT NULL,  -- 1 to 5 by a judge, a cosine by an encoder
    PRIMARY KEY (feature_id, drawn, prompt, strength, seed, way)
);

CREATE TABLE IF NOT EXISTS outside (  -- whether the models left alone behave differently; their texts are in `written`
    prompts  VARCHAR   NOT NULL,  -- the set, as it was named
    measure  VARCHAR   NOT NULL,  -- JSON: what was measured, with words or an expression
    drawn    VARCHAR   NOT NULL,
    measured TIMESTAMP NOT NULL,  -- UTC
    asked    INTEGER   NOT NULL,  -- prompts of the set that were asked; those without a value of both models are left out
    means    DOUBLE[][] NOT NULL, -- of each other prompt: mean of A's answers, and of B's
    PRIMARY KEY (prompts, measure, drawn)
);
