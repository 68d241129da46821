"""The section `models` of a run's YAML: where both models come from, which block is read, how they run."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from dfc.config.base import AnyTime, Name, Section, Side


class ModelConfig(Section):
    """One of the two models: where it comes from, the block that is read, and how it runs."""

    source: Name = Field(description="a hub id, a local folder, or a GGUF file")
    layer: int | float = Field(
        description="block whose output is read: its index, or a fraction of depth (0.5 of 30 blocks is block 15); "
        "a list of these gives a run for each, read in one pass"
    )
    name: AnyTime[Name] = Field(default="", description="what the model is called in the app; default: from its source")
    base: Name | None = Field(
        default=None,
        description="of an adapter: the model that it is merged into; default: the one its adapter_config.json names",
    )
    tokenizer: Name | None = Field(
        default=None, description="a hub id or a folder that holds the tokenizer, where the source has none"
    )
    revision: str | None = Field(default=None, description="commit, branch or tag on the hub")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="precision of the forward pass; half precision is slow on a CPU"
    )
    device: AnyTime[str] = Field(default="auto", description="cpu, cuda, cuda:0, or auto: cuda where there is one")
    device_map: AnyTime[str | None] = Field(
        default=None, description="spread a large model over devices, as in transformers"
    )
    attention: AnyTime[Literal["auto", "eager", "sdpa", "flash_attention_2"]] = Field(
        default="auto", description="implementation of attention; auto: what transformers takes for the model"
    )
    template: str | None = Field(
        default=None, description="file with a chat template (Jinja), instead of the one that comes with the tokenizer"
    )
    date: datetime | None = Field(
        default=None,
        description="day and time that a chat template is told that asks for it; null: when the run's texts are paired",
    )
    blocks: str | None = Field(default=None, description="module path of the list of blocks, e.g. model.layers")
    final_norm: str | None = Field(
        default=None,
        description="module path of the norm that the logit lens goes through, where a model's logits do not come from "
        "its last block alone; default: what the model itself runs after its blocks",
    )
    max_tokens: int = Field(
        default=1024, ge=8, description="longest sequence run through the model; texts are cut to it"
    )
    trust_remote_code: AnyTime[bool] = Field(
        default=False, description="run code that comes with the model: off unless you trust it"
    )

    @field_validator("source", "base", "tokenizer", mode="after")
    @classmethod
    def _home_is_found(cls, path: str | None) -> str | None:
        return os.path.expanduser(path) if path is not None else None

    @field_validator("layer", mode="before")  # before: a bool would be taken for an index
    @classmethod
    def _layer_is_an_index_or_a_fraction(cls, layer: object) -> object:
        if (type(layer) is int and layer >= 0) or (type(layer) is float and 0 < layer < 1):
            return layer
        raise ValueError("give the index of a block, from 0, or a fraction of depth between 0 and 1, such as 0.5")

    @property
    def title(self) -> str:
        """Name for people: `name`, or the last part of `source`."""
        return self.name or (Path(self.source).stem if self.is_gguf else Path(self.source).name)

    @property
    def is_gguf(self) -> bool:
        """Whether the source is a GGUF file; a folder may be called like one."""
        return self.source.lower().endswith(".gguf") and not os.path.isdir(self.source)

    @property
    def place(self) -> str:
        """Where the stream is read, for people."""
        return f"layer {self.layer}" if isinstance(self.layer, int) else f"layer {self.layer} of depth"


class ModelPair(Section):
    a: ModelConfig = Field(description="the first model")
    b: ModelConfig = Field(description="the second model")

    def side(self, side: Side) -> ModelConfig:
        return self.a if side == "a" else self.b
