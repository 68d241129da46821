"""Which tokens a decoder vector promotes and suppresses in a model.

The vector goes through the model's own final norm and unembedding, as if it were the
whole residual stream: its direction decides, its length does not.
"""

from __future__ import annotations

import pyarrow as pa
import torch
from torch import Tensor

from dfc import progress
from dfc.config import Side
from dfc.models import LoadedModel

_AT_ONCE = 128


@torch.inference_mode()
def logit_lens(model: LoadedModel, side: Side, ids: Tensor, vectors: Tensor, tokens: int) -> pa.Table:
    """The most promoted and most suppressed tokens of each vector.

    Args:
        model: the model that the vectors belong to.
        side: of that model.
        ids: global feature ids, (features,).
        vectors: decoder vectors, (features, width), of any scale.
        tokens: how many to keep in each direction.

    Returns:
        Rows of the table `logits`; values are logits, centred over the vocabulary.
    """
    unembedding = model.model.get_output_embeddings()
    names = [model.tokenizer.decode([token]) for token in range(unembedding.weight.shape[0])]
    pieces = []
    with progress.bar(f"features: logits {side.upper()}", len(ids), "features") as bar:
        for start in range(0, len(ids), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            direction = vectors[part].to(model.device, unembedding.weight.dtype)
            logits = model.unembed(direction).float()
            logits -= logits.mean(dim=1, keepdim=True)
            for name, sign in (("promoted", 1), ("suppressed", -1)):
                values, places = logits.topk(tokens, dim=1, largest=sign > 0)
                pieces.append(_table(side, name, ids[part], values.cpu(), places.cpu(), names))
            bar.update(len(direction))
    return pa.concat_tables(pieces)


def _table(side: Side, direction: str, ids: Tensor, values: Tensor, places: Tensor, names: list[str]) -> pa.Table:
    features, tokens = values.shape
    return pa.table(
        {
            "feature_id": ids.repeat_interleave(tokens).numpy(),
            "side": [side] * (features * tokens),
            "direction": [direction] * (features * tokens),
            "rank": torch.arange(tokens).repeat(features).numpy(),
            "token": [names[token] for token in places.flatten().tolist()],
            "value": values.flatten().numpy(),
        }
    )
