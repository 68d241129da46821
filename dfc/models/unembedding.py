"""From the stream after the last block to logits: the final norm, the unembedding and the cap that some models have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dfc.config import UserError

KNOWN_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


def final_norm(model: PreTrainedModel, blocks_path: str, title: str) -> nn.Module:
    """The norm between the last block and the unembedding.

    Args:
        model: to look in.
        blocks_path: of its list of blocks; the norm stands beside it.
        title: of the model, for the error.

    Raises:
        UserError: if none is found beside the blocks.
    """
    parent = model.get_submodule(blocks_path.rpartition(".")[0])
    for name in KNOWN_FINAL_NORMS:
        if hasattr(parent, name):
            return getattr(parent, name)
    names = ", ".join(name for name, _ in parent.named_children())
    raise UserError(f"{title}: no final norm beside its blocks, only {names}; the logit lens needs one.")


def unembed(model: PreTrainedModel, norm: nn.Module, stream: Tensor) -> Tensor:
    """Logits (..., vocabulary) of what the last block gives, (..., width), through the final norm."""
    logits: Tensor = model.get_output_embeddings()(norm(stream))
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)
