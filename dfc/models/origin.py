"""What a model was made of, as hashes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from dfc import corpus
from dfc.config import ModelConfig
from dfc.models import adapters, loading


@dataclass(frozen=True)
class Fingerprint:
    """What a model was made of, as hashes, so that it can be told whether a row can be made again.

    Attributes:
        weights: of its weight files; a hub commit stands for them. Of an adapter, its own and its base's.
        tokenizer, template: of the tokenizer and its chat template; a base model's template is that of nothing.
        bos: whether a plain text begins with a token of its own.
    """

    weights: str
    tokenizer: str
    template: str
    bos: bool


def fingerprint(config: ModelConfig) -> Fingerprint:
    """Hashes of a model's files; reads them whole.

    Raises:
        UserError: if it cannot be read.
    """
    tokenizer = loading.load_tokenizer(config)
    first = tokenizer("a").input_ids[:1]
    return Fingerprint(
        weights=weights(config),
        tokenizer=_digest(_definition(tokenizer)),
        template=_digest(corpus.template_of(tokenizer)),
        bos=first == [tokenizer.bos_token_id],
    )


def weights(config: ModelConfig) -> str:
    """The hash of a model's weights alone, without its tokenizer, which takes long to load.

    Raises:
        UserError: if it cannot be read.
    """
    if (adapter := adapters.of(config)) is not None:
        own = _files_digest([adapter.folder / adapters.WEIGHTS]) if adapter.revision is None else adapter.revision
        return f"{own} on {weights(adapter.base)}"
    folder = Path(loading.folder_or_id(config))
    if not folder.is_dir():
        return f"commit {loading.describe(config).revision}"
    return _files_digest(sorted(path for path in folder.iterdir() if path.suffix == ".safetensors"))


def _definition(tokenizer: PreTrainedTokenizerBase) -> str:
    """What tells one tokenizer from another: all of a fast one, the kind and vocabulary of one in Python."""
    if tokenizer.is_fast:
        return str(tokenizer.backend_tokenizer.to_str())
    return f"{type(tokenizer).__name__} {json.dumps(tokenizer.get_vocab(), sort_keys=True)}"


def _files_digest(files: list[Path]) -> str:
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", errors="replace"), digest_size=16).hexdigest()
