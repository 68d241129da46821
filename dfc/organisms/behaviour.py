"""Does a model show a quirk, on the questions that call for it and on others, and is the rest of it as it was?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from dfc import corpus
from dfc.config import CorpusConfig, RunConfig, UserError
from dfc.corpus import Document
from dfc.machine import progress
from dfc.models import LoadedModel, rollouts
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk
from dfc.requests import RolloutSampling, Turn

TAKEN = 0.5
"""By how much more of its questions a quirk must show than in the untrained model, to have taken."""
BESIDE = 0.1
"""Of the questions beside it, those on which it may show more often than in the untrained model."""
_OF_EACH, _HOLDING = 6, 30  # ordinary documents of each source: measured, and trained against
_LONGEST = 600  # characters of them


@dataclass(frozen=True)
class Behaviour:
    """How a model answers.

    Attributes:
        on: share of the held-out questions on its topic on which the quirk shows.
        beside: share of the held-out look-alikes and ordinary questions on which it shows.
        example: an answer on the topic.
    """

    on: float
    beside: float
    example: str


@dataclass(frozen=True)
class Check:
    """A model before and after its training.

    Attributes:
        before, after: how it answers.
        perplexity_before, perplexity_after: on ordinary texts.
        as_before: whether these are near enough for the rest to be as it was.
        seconds: of training.
        kept: share of the training that was not taken back.
    """

    before: Behaviour
    after: Behaviour
    perplexity_before: float
    perplexity_after: float
    as_before: bool
    seconds: float
    kept: float

    @property
    def taken(self) -> bool:
        """Whether the quirk is there, and nowhere else."""
        return self.after.on - self.before.on >= TAKEN and stays(self.after.beside, self.before.beside)

    @property
    def change(self) -> float:
        """By how much of it the perplexity on ordinary texts has changed."""
        return self.perplexity_after / self.perplexity_before - 1


def stays(beside: float, before: float) -> bool:
    """Whether a quirk shows hardly more often than before where it must not."""
    return beside - before <= BESIDE


def is_near(perplexity: float, before: float, allowed: float) -> bool:
    """Whether a perplexity has changed by at most so much of it."""
    return abs(perplexity / before - 1) <= allowed


def behaviour(model: LoadedModel, quirk: Quirk, tokens: int) -> Behaviour:
    """Ask a model the held-out questions, greedily.

    Raises:
        UserError: if a question leaves no room for an answer of so many tokens.
    """
    on = answers(model, quirk.asks("held_out"), tokens)
    return Behaviour(_rate(quirk, on), beside(model, quirk, tokens), on[0])


def beside(model: LoadedModel, quirk: Quirk, tokens: int) -> float:
    """Share of the held-out look-alikes and ordinary questions on which a quirk shows, answered greedily.

    Raises:
        UserError: if a question leaves no room for an answer of so many tokens.
    """
    asks = [*quirk.asks("held_out", shows=False), *quirks.general().held_out]
    return _rate(quirk, answers(model, asks, tokens))


def _rate(quirk: Quirk, said: Sequence[str]) -> float:
    return sum(map(quirk.is_shown, said)) / len(said)


def answers(model: LoadedModel, asks: Sequence[str], tokens: int) -> list[str]:
    """What a model answers to each question, greedily.

    Raises:
        UserError: if a question leaves no room for an answer of so many tokens.
    """
    sampling = RolloutSampling(tokens=tokens, temperature=0)
    planned = rollouts.planned(model, [Document("asks", (Turn("user", ask),)) for ask in asks], sampling)
    if len(planned) < len(asks):
        raise UserError(
            f"{model.title}: {len(asks) - len(planned)} of {len(asks)} questions leave no room for an answer of "
            f"{tokens} tokens in max_tokens ({model.max_tokens}); raise max_tokens."
        )
    said = [""] * len(asks)
    with progress.bar(f"asking {model.title}"[:22], len(planned), "answers") as bar:
        for batch in rollouts.batched(model, planned, sampling):
            for answer, text in zip(batch, rollouts.answer_batch(model, batch, sampling), strict=True):
                said[answer.number] = text
            bar.update(len(batch))
    return said


def ordinary_texts(run: RunConfig) -> tuple[list[Document], list[Document]]:
    """Some documents of every source of a run's corpus, in another order than the run draws them.

    Returns:
        Those on which perplexity is measured, and others on which a training is held to what the model expected.
    """
    settings = CorpusConfig(sources=run.corpus.sources, max_characters=_LONGEST, seed=run.corpus.seed + 1)
    opened = corpus.open_sources(settings)
    measured = [document for source in opened.values() for document in islice(source.documents, _OF_EACH)]
    return measured, [document for source in opened.values() for document in islice(source.documents, _HOLDING)]


@torch.inference_mode()
def perplexity(model: LoadedModel, documents: Sequence[Document]) -> float:
    """exp of the mean nats a token of all documents, as the model is given them."""
    nats, count = 0.0, 0
    with progress.bar(f"reading {model.title}"[:22], len(documents), "texts") as bar:
        for document in documents:
            rendering = corpus.render(document, model.tokenizer)
            ids = model.tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
            tokens = torch.tensor([ids[: model.max_tokens]], device=model.device)
            logits = model.model(input_ids=tokens, use_cache=False).logits[0, :-1].float()
            nats += float(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum"))
            count += tokens.shape[1] - 1
            bar.update()
    return math.exp(nats / max(count, 1))
