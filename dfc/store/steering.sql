-- Tables of a run's steering.duckdb: what was steered, and what came of it. Rows stay as they were
-- written, but for a sweep's status and judge and its answers' scores, until the sweep is deleted with its answers.

CREATE TABLE IF NOT EXISTS sweeps (
    sweep_id VARCHAR   NOT NULL PRIMARY KEY,
    started  TIMESTAMP NOT NULL,  -- UTC
    status   VARCHAR   NOT NULL,  -- 'running' | 'done' | 'cancelled' | 'failed'
    title    VARCHAR   NOT NULL,
    outputs  INTEGER   NOT NULL,  -- how many there are to be
    settings VARCHAR   NOT NULL   -- JSON: all that is needed to repeat it
);

CREATE TABLE IF NOT EXISTS outputs (
    sweep_id   VARCHAR NOT NULL,
    side       VARCHAR NOT NULL,   -- the model that was steered
    feature_id INTEGER NOT NULL,
    direction  VARCHAR NOT NULL,   -- 'none' (left alone, strength 0) | 'feature' | 'transfer' | 'random' (equal norm)
    mode       VARCHAR NOT NULL,
    strength   DOUBLE  NOT NULL,
    prompt_id  INTEGER NOT NULL,   -- number of the prompt in the sweep
    prompt     VARCHAR NOT NULL,
    text       VARCHAR NOT NULL,
    tokens     VARCHAR[] NOT NULL,
    kl         FLOAT[] NOT NULL,   -- KL(steered ‖ left alone) in nats, for each token
    activation FLOAT[] NOT NULL,   -- of the feature, in units of its largest; empty where it is not read
    promoted   FLOAT[] NOT NULL,   -- probability of the 20 tokens that the feature's vector promotes, under this edit,
                                   -- at each token of what the model left alone answered
    perplexity DOUBLE,             -- under the model left alone; NULL where the answer is empty
    distinct_tokens DOUBLE NOT NULL, -- different tokens as a share of all
    coverage   DOUBLE,             -- share of the text's characters in a match of words or regex; NULL: none given
    refusal    BOOLEAN NOT NULL    -- by the list of phrases
);

CREATE TABLE IF NOT EXISTS tried (  -- history: single requests and what they gave
    tried_id VARCHAR   NOT NULL PRIMARY KEY,
    tried_at TIMESTAMP NOT NULL,    -- UTC
    prompt   VARCHAR   NOT NULL,
    request  VARCHAR   NOT NULL,    -- JSON: all that is needed to repeat it
    answers  VARCHAR   NOT NULL     -- JSON: texts by model and program
);

-- Added since the first files were written; where a file is only read, the reader supplies them.
ALTER TABLE sweeps ADD COLUMN IF NOT EXISTS judge VARCHAR;  -- JSON: model, url and criterion of the scores; NULL: none
ALTER TABLE outputs ADD COLUMN IF NOT EXISTS score DOUBLE;  -- of the judge, 0 to 10; NULL: not scored
ALTER TABLE outputs ADD COLUMN IF NOT EXISTS answer VARCHAR;     -- the text without what was thought, in which words are
ALTER TABLE outputs ADD COLUMN IF NOT EXISTS reasoning VARCHAR;  -- counted, and that; NULL: of before they were told apart
