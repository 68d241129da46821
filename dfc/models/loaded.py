"""A loaded model with one site, the block whose output is read and edited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dfc.config import ModelConfig, UserError
from dfc.models import few_rows, positions, sites
from dfc.models.anatomy import Anatomy
from dfc.models.streams import Form


@dataclass(frozen=True)
class Description:
    """What a model's settings say, without its weights.

    Attributes:
        revision: commit on the hub.
        layer: index of the block whose output is read.
        layers: number of blocks.
        width: of the residual stream.
        max_tokens: longest sequence that is run: what is configured, or less where its context is shorter.
    """

    revision: str | None
    layer: int
    layers: int
    width: int
    max_tokens: int


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal LM with its tokenizer and one site, the output of block `layer`.

    Several sites on one model share all but their own settings (`loading.at`). nnsight traces of one model must not
    run at the same time, nor a forward pass while its streams are read: whoever runs it holds `lock`.
    """

    config: ModelConfig
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    description: Description
    anatomy: Anatomy
    lock: threading.Lock = field(default_factory=threading.Lock)
    _wrapped: dict[str, Any] = field(default_factory=dict)  # by nnsight; a wrapper for each list of blocks

    @property
    def title(self) -> str:
        return self.config.title

    @property
    def layer(self) -> int:
        """Index of the block whose output is read."""
        return self.description.layer

    @property
    def blocks_path(self) -> str:
        """Where the list of blocks is."""
        return self.anatomy.blocks_path

    @property
    def form(self) -> Form:
        """How a block's output holds its stream."""
        return self.anatomy.form

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.get_submodule(self.blocks_path)

    @property
    def site(self) -> nn.Module:
        """The block whose output is the stream that is read and edited."""
        return self.blocks[self.layer]

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self.description.width

    @property
    def max_tokens(self) -> int:
        """Longest sequence that may be run."""
        return self.description.max_tokens

    @property
    def company(self) -> Callable[..., tuple[int, ...]]:
        """Of a text's length, what texts must have alike to share a batch; see `positions.company`."""
        return partial(positions.company, positions.changes(self.model.config))

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def padding(self) -> int:
        """A token with a vector for what is masked: the tokenizer's for that, or the first where that one has none."""
        named = self.tokenizer.pad_token_id
        return named if named is not None and named < len(self.model.get_input_embeddings().weight) else 0

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer brings a chat template."""
        return self.tokenizer.chat_template is not None

    def unembed(self, stream: Tensor) -> Tensor:
        """Logits (..., vocabulary) of what the last block gives, (..., width).

        Raises:
            UserError: if there is no lens; see `Anatomy.lens`.
        """
        if self.anatomy.lens is None:
            raise UserError(f"{self.title}: there is no logit lens: {self.anatomy.lens_words}.")
        with self.lock:
            logits = self.anatomy.lens(stream.reshape(-1, stream.shape[-1]))
        return logits.reshape(*stream.shape[:-1], -1)

    def check_edits(self) -> None:
        """See that the stream can be edited.

        Raises:
            UserError: if it cannot.
        """
        if not self.anatomy.edits:
            raise UserError(
                f"{self.title}: cannot be steered: it carries {self.form.words}, and an edit of that one cannot be "
                f"written into them; its texts can be read, and written without edits."
            )

    @property
    def live(self) -> Any:
        """The model wrapped by nnsight, for interventions at its blocks and at its own output; wrapped once."""
        if self.blocks_path not in self._wrapped:
            from nnsight import TransformersModel

            from dfc.models.block_sites import BlockSites

            few_rows.quicken(self.model.get_output_embeddings())  # before it is wrapped
            self._wrapped[self.blocks_path] = TransformersModel(
                self.model,
                tokenizer=self.tokenizer,
                task="text-generation",
                interleaver=BlockSites([self.model, *self.blocks]),
            )
        return self._wrapped[self.blocks_path]

    @property
    def live_site(self) -> Any:
        """The site as nnsight sees it."""
        envoy = self.live
        for name in self.blocks_path.split("."):
            envoy = getattr(envoy, name)
        return envoy[self.layer]

    def streams(self, layers: Sequence[int], ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Streams (batch, length, width) of some blocks, as `layers` lists them, of tokens and mask, (batch, length).

        The forward pass ends at the last of these: later blocks and the unembedding are not run.
        """
        return sites.read_streams(self.model, self.blocks, layers, self.form, ids, mask)[0]
