"""Does the behaviour differ without steering? Both models, left alone, answer the same prompts several times."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dfc import corpus, models
from dfc.config import SIDES, UserError
from dfc.machine import progress
from dfc.models import rollouts
from dfc.report.outside import MEASURES
from dfc.requests import RolloutSampling, pattern
from dfc.runs import Run
from dfc.steering import measures
from dfc.store import beside
from dfc.store.effects import ALONE, EffectStore


@dataclass(frozen=True)
class Measured:
    """What is measured on an answer: one of MEASURES, and the words or the regular expression that it looks for.

    Raises:
        UserError: if there is no such measure, or it looks for words and there are none.
    """

    measure: str
    words: tuple[str, ...] = ()
    regex: str = ""

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UserError(f"outside: {self.measure!r:.40} is none of {', '.join(MEASURES)}; choose one of them.")
        looks = self.measure in ("mentions", "coverage")
        if looks != (pattern(self.words, self.regex) is not None):
            needs = "needs words or a regular expression" if looks else "looks for no words; leave them out"
            raise UserError(f"outside: the measure {self.measure} {needs}.")

    @property
    def kept(self) -> str:
        """What its figures are kept with."""
        return json.dumps({"measure": self.measure, "words": self.words, "regex": self.regex}, ensure_ascii=False)

    def __call__(self, text: str) -> float:
        """Of one answer, without what was thought before it."""
        answer = corpus.parts(text).answer
        if self.measure == "refusal":
            return float(measures.refuses(answer))
        if self.measure == "length":
            return float(len(answer))
        looked_for = pattern(self.words, self.regex)
        if self.measure == "coverage":
            return measures.coverage(answer, looked_for) or 0.0
        return float(looked_for is not None and looked_for.search(answer) is not None)


def measure(run: Run, name: str, prompts: Sequence[str], sampling: RolloutSampling, measured: Measured) -> int:
    """Let both models answer, keep what they say, and measure it; what was answered before is not asked again.

    Args:
        run: whose models.
        name: of the set of prompts.
        prompts: each is a user's turn for a model with a chat template, and gone on from by another.
        sampling: how, and how often each is answered.
        measured: what is measured.

    Returns:
        How many prompts both models have answered; others leave no room for an answer in one of them.

    Raises:
        UserError: if a model does not load, or no prompt was answered by both.
    """
    kept, settings = EffectStore(run.effects), run.config()
    beside.expect_writable(kept.path)
    drawn = json.dumps({**_drawn(sampling), "place": "rollouts"})
    total = len(prompts) * sampling.samples * len(SIDES)
    with progress.bar("left alone", total, "answers") as bar:
        for side in SIDES:
            there = kept.written(ALONE, "", None, drawn)
            mine = there[there["side"] == side]
            known = set(zip(mine["prompt"], mine["seed"], strict=True))
            wanted = {(prompt, draw) for prompt in prompts for draw in range(sampling.samples)}
            bar.update(len(wanted & known))
            if wanted <= known:
                continue
            model = models.shared(settings.models.side(side))
            documents = [corpus.plain(corpus.encodable(prompt)) for prompt in prompts]
            planned = rollouts.planned(model, documents, sampling, settings.models.side(side).date)
            place = {
                answer.number: (prompts[answer.number // sampling.samples], answer.number % sampling.samples)
                for answer in planned
            }
            left = [answer for answer in planned if place[answer.number] not in known]
            for batch in rollouts.batched(model, left, sampling):
                with model.lock:
                    texts = rollouts.answer_batch(model, batch, sampling)
                about = {"feature_id": ALONE, "fingerprint": "", "r2": None, "side": side, "drawn": drawn}
                kept.add_written(
                    [
                        {**about, "prompt": prompt, "strength": 0.0, "seed": draw, "text": text}
                        for (prompt, draw), text in zip((place[one.number] for one in batch), texts, strict=True)
                    ]
                )
                bar.update(len(batch))
    said = kept.written(ALONE, "", None, drawn)
    means = _means(said[said["prompt"].isin(set(prompts))], measured)
    if means.empty:
        raise UserError(f"{name}: none of its {len(prompts)} prompts leaves both models room for an answer.")
    kept.add_outside(name, measured.kept, drawn, len(prompts), means.to_numpy().tolist())
    return len(means)


def _drawn(sampling: RolloutSampling) -> dict[str, float]:
    """What decides a text beside its prompt."""
    return {
        "samples": sampling.samples,
        "tokens": sampling.tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }


def _means(texts: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """Mean of each model's answers to each prompt that both answered, (prompts, a and b)."""
    values = texts.assign(value=[measured(text) for text in texts["text"]])
    by_prompt = values.pivot_table(index="prompt", columns="side", values="value", aggfunc="mean")
    return by_prompt.reindex(columns=list(SIDES)).dropna()
