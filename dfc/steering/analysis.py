"""What steering did to a text, token by token: one more forward pass over the finished text, with and without it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.machine import devices
from dfc.models import LoadedModel
from dfc.steering.edits import Program, apply
from dfc.steering.generation import BASELINE
from dfc.steering.vectors import Gauge

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Analysis:
    """Every token of an answer, seen by the model left alone and by the model under a program.

    Attributes:
        tokens: text of each token.
        baseline, steered: probability of each token at temperature 1, (tokens,).
        kl: KL(steered ‖ baseline) in nats of the distributions it was drawn from, (tokens,).
        activations: of each gauge's feature on each token, before anything is added, (gauges, tokens).
        stream_norm: median norm of the stream at the site, over prompt and answer.
        added_norm: largest norm of what the program adds at a position.
        off: by how much the edit misses at each position of prompt and answer, as a share of what is added; 0 where a
            model has a single stream.
    """

    tokens: list[str]
    baseline: Numbers
    steered: Numbers
    kl: Numbers
    activations: Numbers
    stream_norm: float
    added_norm: float
    off: Numbers = field(default_factory=lambda: np.zeros(0))

    @property
    def perplexity(self) -> float:
        """Of the answer under the model left alone; NaN without tokens."""
        return perplexity(self.baseline)

    @property
    def steered_perplexity(self) -> float:
        """Of the answer under the program; NaN without tokens."""
        return perplexity(self.steered)


def perplexity(probabilities: Numbers) -> float:
    """exp of the mean negative log-probability; NaN without tokens."""
    if not len(probabilities):
        return float("nan")
    return float(np.exp(-np.log(np.maximum(probabilities, 1e-300)).mean()))


@devices.apart
def analyse(
    model: LoadedModel,
    prompt: Tensor,
    answer: Sequence[int],
    program: Program,
    gauges: Sequence[Gauge] = (),
) -> Analysis:
    """Run the model once over prompt and answer, left alone and under a program side by side.

    Since the site's stream depends on the blocks before it alone, a feature reads the same in both.

    Args:
        model: others wait until it is free.
        prompt: token ids as `encode_prompt` gives them, (1, length).
        answer: token ids that follow.
        program: what was done to the stream.
        gauges: features whose activations are read.
    """
    if not answer:
        return _nothing(gauges)
    start, targets = prompt.shape[1], torch.tensor(answer)
    ids = torch.cat([prompt[0], targets])[None].to(model.device)
    rows = (BASELINE, program) if program.actions else (BASELINE,)
    stream, logits, off = _run(model, ids.expand(len(rows), -1), rows, start, len(answer) + 1)
    logs = logits[:, -len(answer) - 1 : -1].float().log_softmax(dim=2)
    return _analysis(
        model, Written(prompt[0].tolist(), answer, program, gauges, off=off[-1]), stream[0], logs[0], logs[-1]
    )


@dataclass(frozen=True)
class Written:
    """An answer with what its generation left.

    Attributes:
        prompt: token ids.
        answer: token ids that followed.
        program: what was done to the stream.
        gauges: features whose activations are read.
        logits: what each token was drawn from, at temperature 1, (tokens, vocabulary).
        off: as in `Analysis`.
    """

    prompt: Sequence[int]
    answer: Sequence[int]
    program: Program
    gauges: Sequence[Gauge]
    logits: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    off: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@devices.apart
def analyse_written(model: LoadedModel, texts: Sequence[Written]) -> list[Analysis]:
    """What `analyse` says of each text, by one pass of the model left alone over all: the steered one is not run again.

    Args:
        model: others wait until it is free.
        texts: of like length; padded on the right, where no token sees what follows it.
    """
    if not any(text.answer for text in texts):
        return [_nothing(text.gauges) for text in texts]
    first, longest = min(len(text.prompt) for text in texts) - 1, max(map(len, texts))
    ids = torch.full((len(texts), longest), model.padding)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([*text.prompt, *text.answer])
    rows = (BASELINE,) * len(texts)
    streams, logits, _ = _run(model, ids.to(model.device), rows, 0, longest - first)
    skipped, found = longest - logits.shape[1], list[Analysis]()
    for text, stream, ends in zip(texts, streams, logits, strict=True):
        if not text.answer:
            found.append(_nothing(text.gauges))
            continue
        start = len(text.prompt) - 1 - skipped
        unsteered = ends[start : start + len(text.answer)].float().log_softmax(dim=1)
        steered = text.logits.float().log_softmax(dim=1) if text.program.actions else unsteered
        found.append(_analysis(model, text, stream[: len(text)], unsteered, steered))
    return found


def _analysis(model: LoadedModel, text: Written, stream: Tensor, unsteered: Tensor, steered: Tensor) -> Analysis:
    """Of log-probabilities, (tokens, vocabulary), and the site's stream before it is edited, (length, width)."""
    start, count = len(text.prompt), len(text.answer)
    targets = torch.tensor(text.answer, device=unsteered.device)[:, None]
    kl = (steered.exp() * (steered - unsteered)).sum(dim=1).clamp(min=0)
    added = torch.linalg.vector_norm(text.program.added(stream, 0, start), dim=1)
    activations = [gauge(stream[start:]).double().cpu().numpy() for gauge in text.gauges]
    return Analysis(
        [model.tokenizer.decode([token]) for token in text.answer],
        unsteered.gather(1, targets)[:, 0].double().exp().cpu().numpy(),
        steered.gather(1, targets)[:, 0].double().exp().cpu().numpy(),
        kl.double().cpu().numpy(),
        np.array(activations).reshape(len(text.gauges), count),
        float(torch.linalg.vector_norm(stream.float(), dim=1).median()),
        float(added.max()),
        text.off.double().cpu().numpy(),
    )


def _nothing(gauges: Sequence[Gauge]) -> Analysis:
    empty = np.zeros(0)
    return Analysis([], empty, empty, empty, np.zeros((len(gauges), 0)), float("nan"), 0.0)


@devices.apart
def chances(
    model: LoadedModel, prompt: Tensor, answer: Sequence[int], programs: Sequence[Program], watched: Sequence[int]
) -> Numbers:
    """Probability of any of some tokens in place of each token of one answer, under each program.

    The text is the same for all, so that programs are compared without the chance of what is drawn.

    Args:
        model: others wait until it is free.
        prompt: token ids, (1, length).
        answer: token ids that follow.
        programs: all run in one batch, or by halves where memory is too small for it.
        watched: token ids, such as those that a feature promotes.

    Raises:
        MemoryShortError: if memory is too small for one.

    Returns:
        (programs, tokens); (programs, 0) where nothing is watched.
    """
    if not answer or not watched:
        return np.zeros((len(programs), 0))
    ids = torch.cat([prompt[0], torch.tensor(answer)])[None].to(model.device)

    def some(part: Sequence[Program]) -> Numbers:
        _, logits, _ = _run(model, ids.expand(len(part), -1), tuple(part), prompt.shape[1], len(answer) + 1)
        ends = logits[:, -len(answer) - 1 : -1].float()
        probabilities: Numbers = ends.softmax(dim=2)[:, :, list(watched)].sum(dim=2).double().cpu().numpy()
        return probabilities

    parts = devices.in_halves(some, programs, model.device, lambda _: f"{ids.shape[1]} tokens; ask for fewer")
    return np.concatenate([found for _, found in parts])


@devices.apart
@torch.no_grad()
def promoted(model: LoadedModel, vector: Tensor, count: int = 20) -> list[int]:
    """Token ids that a direction, (width,), promotes most through the logit lens; none where a model has no lens."""
    if model.anatomy.lens is None:
        return []
    ids: list[int] = model.unembed(vector.to(model.device, model.model.dtype)).topk(count).indices.tolist()
    return ids


def _run(
    model: LoadedModel, ids: Tensor, programs: tuple[Program, ...], prompt: int, logits: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The site's streams before they are edited, (rows, length, width), and each row's last logits, at least `logits`.

    Last, how far the edits miss, as `apply` has it.
    """
    if any(program.actions for program in programs):
        model.check_edits()
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if "logits_to_keep" in inspect.signature(model.model.forward).parameters:
        inputs["logits_to_keep"] = logits
    live, site, form = model.live, model.live_site, model.form
    with model.lock, torch.no_grad(), live.trace(inputs):
        stream = form.read(site.output).clone().save()  # type: ignore[attr-defined]
        off = apply(programs, site.output, form, 0, prompt).save()  # type: ignore[attr-defined]
        saved = live.output.logits.save()
    return stream, saved, off
