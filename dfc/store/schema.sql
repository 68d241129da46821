-- Tables of a run's features.duckdb. Rows are written in feature order, so that
-- one feature's page touches a few row groups and nothing is ever scanned whole.

CREATE TABLE run (          -- facts about the run, each value as JSON
    key   VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE models (       -- one row per side
    side    VARCHAR NOT NULL,   -- 'a' | 'b'
    name    VARCHAR NOT NULL,
    source  VARCHAR NOT NULL,
    layer   INTEGER NOT NULL,   -- the block whose output was read
    layers  INTEGER NOT NULL,
    width   INTEGER NOT NULL,
    scale   DOUBLE  NOT NULL,   -- stream × scale = what the crosscoder sees
    fve     DOUBLE  NOT NULL    -- fraction of variance explained, held-out documents
);

CREATE TABLE features (
    feature_id    INTEGER NOT NULL,
    partition     VARCHAR NOT NULL,  -- 'a' | 'b' | 'shared'
    fingerprint   VARCHAR NOT NULL,  -- of its decoder vectors: notes tell by it whether the feature changed
    alive         BOOLEAN NOT NULL,  -- fired on at least one kept pair
    count         BIGINT  NOT NULL,  -- pairs on which it fired
    density       DOUBLE  NOT NULL,  -- count / kept pairs
    mean          FLOAT   NOT NULL,  -- of the non-zero activations
    max           FLOAT   NOT NULL,
    quantiles     FLOAT[] NOT NULL,  -- of the non-zero activations, at run.quantile_levels
    histogram     BIGINT[] NOT NULL, -- counts between run.histogram_edges
    norm_a        FLOAT   NOT NULL,  -- decoder norm in each model, 0 where it has no parameters
    norm_b        FLOAT   NOT NULL,
    relative_norm FLOAT   NOT NULL,  -- norm_a / (norm_a + norm_b)
    peak_tokens   VARCHAR[] NOT NULL, -- commonest texts at the peak of the top contexts
    main_source   VARCHAR NOT NULL,  -- source with the highest firing rate
    specificity   FLOAT   NOT NULL   -- that rate's share of the sum over sources, ten evenly spread firings added
);

CREATE TABLE contexts (     -- one row per context
    feature_id    INTEGER NOT NULL,
    band          TINYINT NOT NULL,   -- 0: strongest; 1 to 4: quarters of the rest, from the highest
    rank          SMALLINT NOT NULL,
    document      INTEGER NOT NULL,
    source        VARCHAR NOT NULL,
    peak          FLOAT   NOT NULL,   -- activation at the peak
    tokens_a      VARCHAR[] NOT NULL, -- the same text in both tokenisations
    tokens_b      VARCHAR[] NOT NULL,
    activations_a FLOAT[] NOT NULL,   -- on each token; NULL where it is not paired
    activations_b FLOAT[] NOT NULL,
    peak_a        SMALLINT NOT NULL,  -- index of the peak in each tokenisation
    peak_b        SMALLINT NOT NULL
);

CREATE TABLE logits (       -- logit lens through the decoder vector
    feature_id INTEGER NOT NULL,
    side       VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,      -- 'promoted' | 'suppressed'
    rank       SMALLINT NOT NULL,
    token      VARCHAR NOT NULL,
    value      FLOAT   NOT NULL
);

CREATE TABLE sources (      -- where a feature fires
    feature_id INTEGER NOT NULL,
    source     VARCHAR NOT NULL,
    count      BIGINT  NOT NULL,
    rate       DOUBLE  NOT NULL       -- of the source's kept pairs
);

CREATE TABLE evidence (     -- is it true that only one model has it? empty until `verify`, then one row a feature
    feature_id         INTEGER NOT NULL,
    held_out_count     BIGINT  NOT NULL,  -- held-out pairs on which it fired: what the probes are judged by
    probe_r2_a         FLOAT,             -- held-out R² of a linear prediction of its activation from each model
    probe_r2_b         FLOAT,
    auroc_a            FLOAT,             -- of its firing
    auroc_b            FLOAT,
    probe_ratio        FLOAT,             -- R²: the other model's over its own; shared: the smaller over the larger
    mirror_id          INTEGER,           -- most correlated feature of the other exclusive partition
    mirror_correlation FLOAT,
    shared_id          INTEGER,           -- of an exclusive feature: most correlated shared feature
    shared_correlation FLOAT,
    decoder_cosine     FLOAT,             -- of a shared feature: its two decoder vectors, through the stitch
    nu_epsilon         FLOAT,             -- of an exclusive feature: latent scaling, residual and reconstruction
    nu_r               FLOAT,
    verdict            VARCHAR NOT NULL,  -- 'exclusive' | 'mirrored' | 'shared-like' | 'unclear' | 'dead'
    confidence         FLOAT   NOT NULL   -- that only one model has it, 0 to 1
);

CREATE TABLE neighbours (   -- features with decoder vectors of like direction
    feature_id INTEGER NOT NULL,
    other_id   INTEGER NOT NULL,
    kind       VARCHAR NOT NULL,          -- within a model: 'a' | 'b'; carried by the stitch: 'a_to_b' | 'b_to_a'
    similarity FLOAT   NOT NULL           -- cosine
);
