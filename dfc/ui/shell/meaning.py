"""What the figures of a feature and of a run mean: the help beside them on every page."""

from __future__ import annotations

FEATURE = {
    "marks": "★ for a favourite, and its tags.",
    "label": "Words that set its strongest contexts apart from the corpus.",
    "called": "Its label; in brackets, where it has none, the tokens on which its strongest contexts peak.",
    "verdict": "What the evidence says of its being exclusive.",
    "confidence": "How sure the evidence is that only one model has it, 0 to 1.",
    "surprise_gap": "By how many nats a character what follows its firings surprises the other model more than its "
    "own, above the middle document: high means that its own model knows more there.",
    "own_r2": "How well a linear function of its own model's activations predicts it on held-out documents (R²).",
    "probe_ratio": "How well a linear function of the other model's activations predicts it on held-out "
    "documents (R²), as a share of what its own model's reach: low means that the other model has nothing like it.",
    "mirror_correlation": "The largest correlation with any feature that only the other model has: high means that the "
    "concept stands on both sides.",
    "feature_id": "Its number in the dictionary. Click a row to open it.",
    "peak_tokens": "The commonest tokens on which its strongest contexts peak.",
    "histogram": "How strongly it fires where it fires: weak on the left, strong on the right.",
    "main_source": "The source on whose tokens it fires most often.",
    "specificity": "How much it keeps to its main source: that source's share of its firing rates. "
    "1 is that source alone, 1 / number of sources is evenly everywhere.",
    "density": "Share of all token pairs on which it fires, in percent.",
    "max": "Its strongest activation on the corpus.",
    "mean": "Its average activation where it fires.",
    "norm_a": "Length of its decoder vector in model A; 0 where it has none.",
    "norm_b": "Length of its decoder vector in model B; 0 where it has none.",
    "partition": "Which model may use it: a, b, or both (shared).",
    "relative_norm": "‖d_A‖ / (‖d_A‖ + ‖d_B‖): 1 only in A, 0 only in B.",
}
"""Of a feature, by the column of the store."""

RUN = {
    "fve": "Fraction of variance explained: how much of the model's activations the dictionary rebuilds, "
    "on documents kept out of training. 1 is all of it.",
    "l0": "Features active at once on an average pair of tokens.",
    "alive": "Share of the partition's features that fired at least once on the kept pairs.",
    "share": "Which part of all active features belongs to this partition.",
    "added": "By how many percentage points less of {model} is explained on held-out documents when the partition's "
    "features are left out.",
    "density": "Share of the token pairs on which the partition's middle feature fires.",
    "pairs": "Tokens of the two models that end at the same character of the same text.",
    "dropped": "Pairs left out everywhere: the first tokens of a text and tokens of outlying norm, "
    "where models keep bookkeeping rather than meaning.",
}
"""Of a whole run."""
