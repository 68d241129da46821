"""What features can be sorted by, in words, and what they are sorted by at first."""

from __future__ import annotations

from dfc.store.reader import Order
from dfc.ui.shell import data
from dfc.ui.shell.frame import View

ORDERS: dict[Order, str] = {
    "confidence": "confidence",
    "specificity": "specificity",
    "density": "density",
    "max": "strongest activation",
    "mean": "mean activation",
    "norm_a": "decoder norm in A",
    "norm_b": "decoder norm in B",
    "relative_norm": "relative norm",
    "surprise_gap": "knows better what follows",
    "own_r2": "R² from its own model",
    "probe_ratio": "R², other model over own",
    "mirror_correlation": "likeness in the other model",
    "verdict": "verdict",
    "label": "label",
    "main_source": "main source",
    "feature_id": "number",
}


def default_order(view: View) -> Order:
    """By evidence where there is any."""
    return "specificity" if data.verdicts(view.store).empty else "confidence"
