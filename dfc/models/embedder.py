"""Texts as vectors of what they mean, by a small sentence-embedding model that runs on this machine.

A text's vector is the mean of an encoder's last states over its tokens, as sentence-transformers has it (Reimers and
Gurevych, arXiv 1908.10084). Of stretches of a document it is the mean over their tokens after the whole document was
read, so that every document is read once, however many stretches are asked for (late chunking, arXiv 2409.04701).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dfc.config import NotLoadedError
from dfc.machine import devices, disk

Floats = npt.NDArray[np.float32]
LONGEST = 512  # tokens that are read at once, at most
_AT_ONCE = 8  # texts
transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Read:
    """A document as the encoder read it.

    Attributes:
        spans: characters of each token, increasing, (tokens, 2).
        states: last states, (tokens, width) float32.
    """

    spans: npt.NDArray[np.int64]
    states: Floats

    def mean(self, start: int, stop: int) -> Floats:
        """Over the tokens that lie in these characters, wholly or in part, (width,); over all tokens if none does."""
        first = int(np.searchsorted(self.spans[:, 1], start, side="right"))
        last = int(np.searchsorted(self.spans[:, 0], stop, side="left"))
        chosen = self.states[first:last] if first < last else self.states
        mean: Floats = chosen.mean(axis=0)
        return mean


@dataclass(frozen=True)
class Embedder:
    """A loaded encoder.

    Attributes:
        folder: where it was loaded from.
        query, document: what is put before a text that is looked for, and before one that is looked into.
        limit: tokens that it reads at once.
        digest: of its weights: vectors of another encoder are not to be compared with its own.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    query: str
    document: str
    limit: int
    digest: str

    @property
    def width(self) -> int:
        """Of its vectors."""
        return int(self.model.config.hidden_size)

    def queries(self, texts: Sequence[str]) -> Floats:
        """Vectors of texts that are looked for, (texts, width), each of length 1; what is too long for it is cut."""
        found = [read.states.mean(axis=0) for read in self._read(texts, self.query)]
        return unit(np.stack(found)) if found else np.zeros((0, self.width), np.float32)

    def documents(self, texts: Sequence[str]) -> Iterator[Read]:
        """Documents, read one after another; one that is longer than the limit is read in pieces."""
        room = self.limit - len(self.tokenizer(self.document)["input_ids"]) - 2
        for text in texts:
            cut = self.tokenizer(
                text, truncation=True, max_length=room, return_overflowing_tokens=True, return_offsets_mapping=True
            )
            ends = [max(stop for _, stop in spans) for spans in cut["offset_mapping"]]
            ends[-1] = len(text)
            pieces = [text[start:stop] for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
            read = list(self._read(pieces, self.document))
            starts = np.cumsum([0, *map(len, pieces[:-1])])
            yield Read(
                np.concatenate([one.spans + start for one, start in zip(read, starts, strict=True)]),
                np.concatenate([one.states for one in read]),
            )

    @torch.no_grad()
    def _read(self, texts: Sequence[str], prompt: str) -> Iterator[Read]:
        """Each text's own tokens; a text without any has those of the prompt, or the marks around it."""
        for first in range(0, len(texts), _AT_ONCE):
            tokens = self.tokenizer(
                [prompt + text for text in texts[first : first + _AT_ONCE]],
                padding=True,
                truncation=True,
                max_length=self.limit,
                return_offsets_mapping=True,
                return_tensors="pt",
            )
            device = self.model.device
            states: Tensor = self.model(
                input_ids=tokens["input_ids"].to(device), attention_mask=tokens["attention_mask"].to(device)
            ).last_hidden_state
            for row, spans, there in zip(
                states.float().cpu().numpy(),
                tokens["offset_mapping"].numpy(),
                tokens["attention_mask"].bool().numpy(),
                strict=True,
            ):
                own = there & (spans[:, 1] > len(prompt)) & (spans[:, 1] > spans[:, 0])
                mine = own if own.any() else there
                yield Read(np.maximum(spans[mine].astype(np.int64) - len(prompt), 0), row[mine])


def load(folder: Path, device: str = "auto") -> Embedder:
    """An encoder with its tokenizer and the prompts that it names for queries and documents.

    Args:
        folder: with config.json, model.safetensors and a fast tokenizer, as of sentence-transformers.
        device: where it computes.

    Raises:
        UserError: if there is none, it does not load, or it pools otherwise than by the mean.
    """
    problem = f"{folder}: is no encoder of sentences that loads here"
    remedy = "give a folder of one with config.json, model.safetensors and tokenizer.json"
    pooling = folder / "1_Pooling" / "config.json"
    prompts: dict[str, str] = {}
    with disk.reading(folder / "config.json", remedy):
        (folder / "config.json").read_bytes()
    if pooling.exists():
        with disk.reading(pooling, remedy):
            if not disk.read_json(pooling).get("pooling_mode_mean_tokens"):
                raise NotLoadedError(f"{folder}: its vectors are not means over tokens; give another encoder.")
    if (named := folder / "config_sentence_transformers.json").exists():
        with disk.reading(named, remedy):
            prompts = dict(disk.read_json(named).get("prompts") or {})
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = _model(folder)
        tokenizer("a", return_offsets_mapping=True)
        with (folder / "model.safetensors").open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except Exception as error:
        raise NotLoadedError(f"{problem} ({(str(error).splitlines() or [''])[0]:.200}); {remedy}.") from error
    limit = min(LONGEST, int(getattr(model.config, "max_position_embeddings", LONGEST)), tokenizer.model_max_length)
    document = prompts.get("document") or prompts.get("passage") or ""
    model = model.eval().to(devices.pick(device))
    return Embedder(folder, tokenizer, model, prompts.get("query") or "", document, limit, digest)


def _model(folder: Path) -> PreTrainedModel:
    """The model without what stands behind its last states, which is not asked."""
    loud = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, known = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    finally:
        transformers_logging.set_verbosity(loud)
    if lacking := [name for name in known["missing_keys"] if not name.startswith("pooler.")]:
        raise ValueError(f"its weights lack {sorted(lacking)[0]}")
    return model


def unit(vectors: Floats) -> Floats:
    """Rows of length 1, (rows, width); those of length 0 stay so."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
