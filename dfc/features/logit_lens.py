"""Which tokens a decoder vector promotes and suppresses in a model.

The vector goes through what the model itself runs after its last block, as if it were the
whole residual stream: its direction decides, its length does not. It is brought to a root
mean square of 1 first, so that the norm's ε counts for nothing. The norm is folded in as it is:

- RMSNorm multiplies with its weights g (Gemma: 1 + g): logits W (g ∘ v).
- LayerNorm takes the mean off first, divides by the deviation and multiplies: W (g ∘ (v − mean v) / σ).

What the model says to no vector at all, W β + b with LayerNorm's bias β and the unembedding's
b, is the same for all features and is taken off; so is the mean over the vocabulary, which
softmax does not see.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dfc.config import Side
from dfc.features.token_names import token_names
from dfc.machine import progress
from dfc.models import LoadedModel
from dfc.models.anatomy import OWN

BINS = 48
"""Of equal width, from a feature's least logit to its largest one."""
_AT_ONCE = 128


@torch.inference_mode()
def logit_lens(model: LoadedModel, side: Side, ids: Tensor, vectors: Tensor, tokens: int) -> tuple[pa.Table, pa.Table]:
    """The most promoted and most suppressed tokens of each vector, and how all tokens are spread.

    Args:
        model: the model that the vectors belong to.
        side: of that model.
        ids: global feature ids, (features,).
        vectors: decoder vectors, (features, width), of any scale.
        tokens: how many to keep in each direction.

    Returns:
        Rows of the tables `logits` and `logit_counts`; values are logits, less those of no vector, centred over the
        vocabulary. None where the model has no lens. Under `note`, the metadata of the first says why, or how the lens
        is made if it is not the model's own.
    """
    words = model.anatomy.lens_words
    note = {"note": "" if words == OWN else words}
    if model.anatomy.lens is None:
        empty = torch.empty(0, 0)
        nobody = _table(side, "promoted", ids[:0], empty, empty.long(), pa.array([], pa.string()))
        return nobody.replace_schema_metadata(note), _counts(side, ids[:0], torch.empty(0, BINS))
    dtype = model.model.dtype
    nothing = model.unembed(torch.zeros(1, vectors.shape[1], device=model.device, dtype=dtype)).float()
    names = pa.array(token_names(model.tokenizer, nothing.shape[1]), pa.string())
    pieces, spreads = [], []
    with progress.bar(f"features: logits {side.upper()}", len(ids), "features") as bar:
        for start in range(0, len(ids), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            direction = math.sqrt(vectors.shape[1]) * normalize(vectors[part])
            logits = model.unembed(direction.to(model.device, dtype)).float() - nothing
            logits = logits.nan_to_num(0.0, 0.0, 0.0)  # half precision may leave some words without a number
            logits -= logits.mean(dim=1, keepdim=True)
            for name, sign in (("promoted", 1), ("suppressed", -1)):
                values, places = logits.topk(min(tokens, logits.shape[1]), dim=1, largest=sign > 0)
                pieces.append(_table(side, name, ids[part], values.cpu(), places.cpu(), names))
            spreads.append(_counts(side, ids[part], logits))
            bar.update(len(direction))
    return pa.concat_tables(pieces).replace_schema_metadata(note), pa.concat_tables(spreads)


def _counts(side: Side, ids: Tensor, logits: Tensor) -> pa.Table:
    """How many tokens lie between which logits, (features, vocabulary)."""
    counts = [row.histc(BINS).int().tolist() for row in logits]
    least, most = (end.cpu().numpy() for end in logits.aminmax(dim=1))
    return pa.table(
        {
            "feature_id": ids.numpy(),
            "side": pa.repeat(side, len(ids)),
            "least": least,
            "most": most,
            "counts": pa.array(counts, pa.list_(pa.int32())),
        }
    )


def _table(side: Side, direction: str, ids: Tensor, values: Tensor, places: Tensor, names: pa.Array) -> pa.Table:
    features, tokens = values.shape
    return pa.table(
        {
            "feature_id": ids.repeat_interleave(tokens).numpy(),
            "side": pa.repeat(side, features * tokens),
            "direction": pa.repeat(direction, features * tokens),
            "rank": np.tile(np.arange(tokens), features),
            "token": names.take(pa.array(places.flatten().numpy())),
            "value": values.flatten().numpy(),
        }
    )
