"""What the figures of a whole run mean; those of a feature stand in dfc.store.columns."""

from __future__ import annotations

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
