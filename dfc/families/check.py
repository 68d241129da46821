"""What is done with a model of a type, each thing checked against the model run plainly."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.families import build
from dfc.models import LoadedModel
from dfc.requests import Edit, Prompt, Sampling
from dfc.steering import generation
from dfc.steering.edits import Action, Program
from dfc.steering.vectors import SteeringVector

LAYER = 1
_SECONDS = 120  # for one type
_NEW_TOKENS = 8
_PROMPT = Prompt("The old bridge")
_LENGTHS = (12, 7, 3)  # of the rows of a padded batch


@dataclass(frozen=True)
class Row:
    """What came of a type.

    Attributes:
        model_type: as transformers calls it.
        not_built: why no tiny model of it could be made; then nothing else is known.
        refused: the sentence by which `load` refuses it; then nothing else is known.
        wrong: what did not come out as it should, and where; nothing if all did.
        blocks: path of the list of blocks; layers: their number; classes: of its modules.
        stream: how a block holds its stream.
        lens: how it is made, or why there is none.
        has_lens: whether there is one.
        edits: whether it can be steered.
    """

    model_type: str
    not_built: str = ""
    refused: str = ""
    wrong: str = ""
    blocks: str = ""
    layers: int = 0
    classes: tuple[str, ...] = ()
    stream: str = ""
    lens: str = ""
    has_lens: bool = False
    edits: bool = False

    @property
    def passes(self) -> bool:
        """Whether it can be read and generated with, and all that can be done with it is as it should be."""
        return not (self.not_built or self.refused or self.wrong)

    @property
    def is_whole(self) -> bool:
        """Whether it can be steered, and has a lens, too."""
        return self.passes and self.edits and self.has_lens


def check(model_type: str) -> Row:
    """Build a type tiny, load it, and check reading, padding, editing, generating and the lens."""
    with tempfile.TemporaryDirectory() as folder, _limited():
        try:
            build.make(model_type, Path(folder))
        except Exception as error:  # whatever its own code raises
            return Row(model_type, not_built=_first_line(error))
        return check_folder(model_type, Path(folder))


def check_folder(model_type: str, folder: Path) -> Row:
    """The same of a model that lies in a folder."""
    try:
        model = models.load(ModelConfig(source=str(folder), layer=LAYER, name=model_type))
    except UserError as error:
        return Row(model_type, refused=str(error).replace(str(folder), model_type))
    except Exception as error:
        return Row(model_type, wrong=f"load: {_first_line(error)}")
    for name, step in _STEPS.items():
        try:
            step(model)
        except Exception as error:
            return Row(model_type, wrong=f"{name}: {_first_line(error)}")
    return Row(
        model_type,
        blocks=model.blocks_path,
        layers=len(model.blocks),
        classes=tuple(sorted({type(block).__name__ for block in model.blocks})),
        stream=model.form.words,
        lens=model.anatomy.lens_words,
        has_lens=model.anatomy.lens is not None,
        edits=model.anatomy.edits,
    )


def _reading(model: LoadedModel) -> None:
    """Several layers at once, in a padded batch, as each text alone in a plain forward pass."""
    ids, mask = _batch(model)
    layers = [LAYER, len(model.blocks) - 1]
    together = model.streams(layers, ids, mask)
    for row, length in enumerate(_LENGTHS):
        alone, _ = _plain(model, ids[row : row + 1, :length])
        for layer, stream in zip(layers, together, strict=True):
            assert stream.shape == (*ids.shape, model.width), f"shape {list(stream.shape)}"
            torch.testing.assert_close(stream[row, :length], alone[layer][0], atol=1e-4, rtol=1e-3)


def _tracing(model: LoadedModel) -> None:
    """A trace hands over the same stream as reading."""
    ids, _ = _batch(model)
    form, site = model.form, model.live_site
    with torch.no_grad(), model.live.trace({"input_ids": ids[:1], "use_cache": False}):
        live = form.read(site.output).clone().save()  # type: ignore[attr-defined]
    torch.testing.assert_close(live, _plain(model, ids[:1])[0][LAYER], atol=1e-4, rtol=1e-3)


def _editing(model: LoadedModel) -> None:
    """An edit moves the stream by what is added, where it is added, and what follows, and nothing before it."""
    if not model.anatomy.edits:
        return
    ids, _ = _batch(model)
    plain, logits = _plain(model, ids[:1])
    size = plain[LAYER].norm(dim=-1).median()
    for share in (0.1, 1.0):
        vector = _vector(model) * share * size
        moved, changed = _plain(model, ids[:1], added=vector, start=5)
        torch.testing.assert_close(
            moved[LAYER][0, 5:] - plain[LAYER][0, 5:],
            vector.expand(ids.shape[1] - 5, -1),
            atol=2e-3 * float(share * size),
            rtol=0,
        )
        torch.testing.assert_close(moved[-1][0, :5], plain[-1][0, :5], atol=1e-4, rtol=1e-3)
        assert (changed[0, 5:] - logits[0, 5:]).abs().amax() > 1e-4, "an edit changes no logits"


def _generating(model: LoadedModel) -> None:
    """Steered and unsteered texts as transformers' own generation gives them, edited by a hook."""
    size = float(_plain(model, _batch(model)[0][:1])[0][LAYER].norm(dim=-1).median())
    ids = generation.encode_prompt(model, _PROMPT, _NEW_TOKENS)
    for strength in (0.0, size) if model.anatomy.edits else (0.0,):
        edit = Edit("a", 0, strength=strength)
        program = Program((Action(edit, SteeringVector("a", 0, _vector(model))),)) if strength else generation.BASELINE
        [answer] = generation.generate(model, _PROMPT, Sampling(_NEW_TOKENS), [program])

        def write(module: Any, inputs: Any, output: Any, strength: float = strength) -> None:
            length = model.form.read(output).shape[1]
            model.form.add(output, 0, strength * _vector(model).expand(length, -1))

        handle = model.site.register_forward_hook(write) if strength else None
        ends = models.ends(model)
        with torch.no_grad():
            whole = model.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                use_cache=True,
                eos_token_id=ends or None,
            )
        if handle is not None:
            handle.remove()
        expected = [token for token in whole[0, ids.shape[1] :].tolist() if token not in ends]
        assert answer.tokens == expected, f"strength {strength:.2g} writes {answer.tokens}, not {expected}"


def _lens(model: LoadedModel) -> None:
    """The last block's stream through the lens gives the model's own logits."""
    if model.anatomy.lens is None:
        return
    ids, _ = _batch(model)
    found, logits = _plain(model, ids[:1])
    torch.testing.assert_close(model.unembed(found[-1][0]), logits[0], atol=1e-3, rtol=1e-3)


_STEPS = {
    "reading": _reading,
    "tracing": _tracing,
    "editing": _editing,
    "generating": _generating,
    "lens": _lens,
}


def _batch(model: LoadedModel) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts of several lengths, padded on the right."""
    longest = max(_LENGTHS)
    rows = len(model.model.get_input_embeddings().weight)
    ids = torch.randint(5, rows, (len(_LENGTHS), longest), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(longest) < torch.tensor(_LENGTHS)[:, None]).long()
    return ids * mask, mask


def _vector(model: LoadedModel) -> Tensor:
    vector = torch.randn(model.width, generator=torch.Generator().manual_seed(0))
    return vector / vector.norm()


@torch.no_grad()
def _plain(model: LoadedModel, ids: Tensor, added: Tensor | None = None, start: int = 0) -> tuple[list[Tensor], Tensor]:
    """Every block's stream and the logits, by plain hooks; `added` to the stream of one block from a position on."""
    found: list[Tensor] = []

    def look(module: Any, inputs: Any, output: Any) -> None:
        if added is not None and len(found) == LAYER:
            written = torch.zeros(ids.shape[1], model.width)
            written[start:] = added
            model.form.add(output, 0, written)
        found.append(model.form.read(output).clone())

    handles = [block.register_forward_hook(look) for block in model.blocks]
    try:
        logits = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    return found, logits


def alone() -> None:
    """Let a process of its own use one core, say nothing of transformers, and ask nothing of the hub."""
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    os.environ["HF_HUB_OFFLINE"] = "1"


@contextmanager
def _limited() -> Iterator[None]:
    """End what takes too long; where the system has alarms, and in a process's first thread."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"takes more than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:240]
