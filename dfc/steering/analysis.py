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
    texts = [model.tokenizer.decode([token]) for token in answer]
    if not answer:
        empty = np.zeros(0)
        return Analysis([], empty, empty, empty, np.zeros((len(gauges), 0)), float("nan"), 0.0)
    start, targets = prompt.shape[1], torch.tensor(answer)
    ids = torch.cat([prompt[0], targets])[None].to(model.device)
    rows = (BASELINE, program) if program.actions else (BASELINE,)
    stream, logits, off = _run(model, ids.expand(len(rows), -1), rows, start, len(answer) + 1)
    logs = logits[:, -len(answer) - 1 : -1].float().log_softmax(dim=2)
    unsteered, steered = logs[0], logs[-1]
    kl = (steered.exp() * (steered - unsteered)).sum(dim=1).clamp(min=0)
    chosen = logs.gather(2, targets.to(logs.device).expand(len(rows), -1)[..., None])[..., 0].double().exp()
    added = torch.linalg.vector_norm(program.added(stream, 0, start), dim=1)
    return Analysis(
        texts,
        chosen[0].cpu().numpy(),
        chosen[-1].cpu().numpy(),
        kl.double().cpu().numpy(),
        np.array([gauge(stream[start:]).double().cpu().numpy() for gauge in gauges]).reshape(len(gauges), len(answer)),
        float(torch.linalg.vector_norm(stream.float(), dim=1).median()),
        float(added.max()),
        off[-1].double().cpu().numpy(),
    )


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
        programs: all run in one batch.
        watched: token ids, such as those that a feature promotes.

    Returns:
        (programs, tokens); (programs, 0) where nothing is watched.
    """
    if not answer or not watched:
        return np.zeros((len(programs), 0))
    ids = torch.cat([prompt[0], torch.tensor(answer)])[None].to(model.device)
    _, logits, _ = _run(model, ids.expand(len(programs), -1), tuple(programs), prompt.shape[1], len(answer) + 1)
    ends = logits[:, -len(answer) - 1 : -1].float()
    probabilities: Numbers = ends.softmax(dim=2)[:, :, list(watched)].sum(dim=2).double().cpu().numpy()
    return probabilities


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
    """The site's stream before it is edited, (length, width), and the last logits of each row, at least `logits`.

    Last, how far the edits miss, as `apply` has it.
    """
    if any(program.actions for program in programs):
        model.check_edits()
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if "logits_to_keep" in inspect.signature(model.model.forward).parameters:
        inputs["logits_to_keep"] = logits
    live, site, form = model.live, model.live_site, model.form
    with model.lock, torch.no_grad(), live.trace(inputs):
        stream = form.read(site.output)[0].clone().save()  # type: ignore[attr-defined]
        off = apply(programs, site.output, form, 0, prompt).save()  # type: ignore[attr-defined]
        saved = live.output.logits.save()
    return stream, saved, off
