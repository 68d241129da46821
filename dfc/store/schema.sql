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
    scale   DOUBLE[] NOT NULL,  -- of each column: stream × scale = what the crosscoder sees
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
    variance      FLOAT   NOT NULL,  -- of the non-zero activations
    max           FLOAT   NOT NULL,
    quantiles     FLOAT[] NOT NULL,  -- of the non-zero activations, at run.quantile_levels
    histogram     BIGINT[] NOT NULL, -- counts between run.histogram_edges
    norm_a        FLOAT   NOT NULL,  -- decoder norm in each model, in standard deviations of that model's scaled
    norm_b        FLOAT   NOT NULL,  -- stream, √run.variance_a and √run.variance_b; 0 where it has no parameters
    raw_norm_a    FLOAT   NOT NULL,  -- decoder norm in each model's own stream: of decoder / scale, column by column
    raw_norm_b    FLOAT   NOT NULL,
    encoder_norm_a FLOAT  NOT NULL,  -- encoder norm in each model, times the standard deviation of its scaled stream;
    encoder_norm_b FLOAT  NOT NULL,  -- 0 where it has no parameters
    encoder_decoder_a FLOAT,         -- cosine of encoder and decoder vector in each model, in its scaled stream;
    encoder_decoder_b FLOAT,         -- NULL where it has none
    relative_norm FLOAT   NOT NULL,  -- norm_a / (norm_a + norm_b)
    peak_tokens   VARCHAR[] NOT NULL, -- commonest texts at the peak of the top contexts
    main_source   VARCHAR NOT NULL,  -- source with the highest firing rate
    specificity   FLOAT   NOT NULL,  -- that rate's share of the sum over sources, ten evenly spread firings added
    label         VARCHAR NOT NULL,  -- what it seems to be about; '' where nothing is distinctive
    label_origin  VARCHAR NOT NULL,  -- 'words': made of distinctive words of its top contexts; '' without a label
    label_auroc   FLOAT              -- how well these words alone tell other strong contexts from random places; or NULL
);

CREATE TABLE contexts (     -- one row per context; `Store.contexts` puts tokens and activations together again
    feature_id  INTEGER NOT NULL,
    band        TINYINT NOT NULL,   -- 0: strongest; 1 to 4: quarters of the rest, from the highest
    rank        SMALLINT NOT NULL,
    document    INTEGER NOT NULL,
    source      VARCHAR NOT NULL,
    role        VARCHAR NOT NULL,   -- who says the peak: 'text' (no chat) | 'system' | 'user' | 'assistant'
    start       INTEGER NOT NULL,   -- characters of the document's content that it covers
    stop        INTEGER NOT NULL,
    peak        FLOAT   NOT NULL,   -- activation at the peak
    peak_a      SMALLINT NOT NULL,  -- index of the peak in each tokenisation
    peak_b      SMALLINT NOT NULL,
    text_a      VARCHAR NOT NULL,   -- the stretch as each model's rendering has it
    text_b      VARCHAR,            -- NULL where it is that of A
    lengths_a   USMALLINT[] NOT NULL, -- characters of each token, together the whole text
    lengths_b   USMALLINT[] NOT NULL,
    unknown_a   USMALLINT[] NOT NULL, -- tokens without a partner, or left out everywhere; the others are pairs
    unknown_b   USMALLINT[] NOT NULL,
    fired       USMALLINT[] NOT NULL, -- which of the pairs the feature fires on, and how strongly
    activations FLOAT[] NOT NULL
);

CREATE TABLE searched (     -- the contexts' texts in lower case, several of a feature's in a row: what a search scans
    feature_id INTEGER NOT NULL,
    text       VARCHAR NOT NULL USING COMPRESSION 'uncompressed'
);

CREATE TABLE words (        -- of these texts, in the order of the words; of a script without spaces, characters
    word        VARCHAR NOT NULL,
    feature_ids INTEGER[] NOT NULL,   -- whose contexts have it, from the lowest
    contexts    USMALLINT[] NOT NULL  -- how many of each feature's texts have it
);

CREATE TABLE documents (    -- whole documents that contexts are cut from, in the order of their numbers
    document INTEGER NOT NULL,
    source   VARCHAR NOT NULL,
    held_out BOOLEAN NOT NULL,        -- kept out of training
    roles    VARCHAR[] NOT NULL,      -- of each turn, as in `contexts`
    contents VARCHAR[] NOT NULL       -- what is said; one after another these are the document's content
);

CREATE TABLE logits (       -- logit lens through the decoder vector
    feature_id INTEGER NOT NULL,
    side       VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,      -- 'promoted' | 'suppressed'
    rank       SMALLINT NOT NULL,
    token      VARCHAR NOT NULL,
    value      FLOAT   NOT NULL
);

CREATE TABLE logit_counts ( -- the same of all tokens: how many lie in bins of equal width from the least to the largest
    feature_id INTEGER NOT NULL,
    side       VARCHAR NOT NULL,
    least      FLOAT   NOT NULL,      -- logit
    most       FLOAT   NOT NULL,
    counts     INTEGER[] NOT NULL
);

CREATE TABLE sources (      -- where a feature fires
    feature_id INTEGER NOT NULL,
    source     VARCHAR NOT NULL,
    count      BIGINT  NOT NULL,
    rate       DOUBLE  NOT NULL       -- of the source's kept pairs
);

CREATE TABLE roles (        -- who says what a feature fires on
    feature_id INTEGER NOT NULL,
    role       VARCHAR NOT NULL,      -- as in `contexts`
    count      BIGINT  NOT NULL,
    rate       DOUBLE  NOT NULL       -- of the role's kept pairs, run.role_pairs
);

CREATE TABLE phrases (      -- what the top contexts have in common, against the corpus
    feature_id INTEGER NOT NULL,
    kind       VARCHAR NOT NULL,      -- 'token': a word, or a token of a script without spaces, at the peak;
                                      -- 'phrase': words in a row around it
    rank       SMALLINT NOT NULL,     -- from the most distinctive
    text       VARCHAR NOT NULL,
    count      INTEGER NOT NULL,      -- top contexts that have it
    lift       FLOAT   NOT NULL       -- how many times as often as at a random place of the corpus
);

CREATE TABLE coactivations ( -- features that fire on the same pairs, the strongest partners of each
    feature_id INTEGER NOT NULL,
    other_id   INTEGER NOT NULL,
    together   BIGINT  NOT NULL,      -- of run.coactivation_pairs evenly drawn pairs, those on which both fire
    jaccard    FLOAT   NOT NULL,      -- of the pairs on which either fires, the share on which both do
    phi        FLOAT   NOT NULL       -- correlation of firing and not firing
);
