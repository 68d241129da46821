"""How well each model expected a text that was read: nats lost token by token, and what it expected in their place.

Reading stops at the block that is read; this runs both models whole, and so is done only when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dfc.config import SIDES, Side
from dfc.features.live import LEAD, Floats, Live, Reading, Report, held, nothing
from dfc.features.token_names import token_names
from dfc.machine import devices
from dfc.models import LoadedModel

LIKELIEST = 5
_ROWS = 256  # of logits, whose sums are taken at once


@dataclass(frozen=True, eq=False)
class Expected:
    """What both models expected of a text.

    Attributes:
        lost: nats that each model lost on each of its tokens, (tokens,); NaN at the first, before which nothing stands.
        likeliest: for each token of each model the tokens that it held likeliest there, the likeliest first, and last
            the token itself, each with its log-probability in nats; none at the first.
        between: nats that each model lost since the pair before, up to each pair, (pairs,); NaN where models were not
            given the same characters since then, as where a template begins a turn, and in a lead-in.
        characters: since the pair before, (pairs,).
    """

    lost: dict[Side, Floats]
    likeliest: dict[Side, list[list[tuple[str, float]]]]
    between: dict[Side, Floats]
    characters: npt.NDArray[np.int64]

    @property
    def gap(self) -> Floats:
        """By how many nats B is more surprised than A by what each pair ends, (pairs,)."""
        return self.between["b"] - self.between["a"]

    def a_character(self, side: Side) -> float:
        """Nats a character that a model lost where both were given the same; NaN if that is nowhere."""
        known = np.isfinite(self.gap)
        characters = int(self.characters[known].sum())
        return float(self.between[side][known].sum()) / characters if characters else float("nan")


def expected(live: Live, reading: Reading, report: Report = nothing) -> Expected:
    """Run both models whole over a text that was read."""
    lost: dict[Side, Floats] = {}
    likeliest: dict[Side, list[list[tuple[str, float]]]] = {}
    for side in SIDES:
        model = live.models[side]
        with held(model, report):
            report(f"{model.title} says what it expected …")
            lost[side], likeliest[side] = _of_model(model, reading.ids[side])
    return paired(reading, lost, likeliest)


def paired(
    reading: Reading, lost: dict[Side, Floats], likeliest: dict[Side, list[list[tuple[str, float]]]]
) -> Expected:
    """The same, with what was lost between pairs."""
    said = {side: np.append(0, np.cumsum([len(text) for text in reading.tokens[side]])) for side in SIDES}
    sums = {side: np.append(0.0, np.nancumsum(lost[side], dtype=np.float64)) for side in SIDES}
    texts = {side: "".join(reading.tokens[side]) for side in SIDES}
    between = {side: np.full(reading.pairs, np.nan, np.float32) for side in SIDES}
    characters = np.zeros(reading.pairs, np.int64)
    for pair in range(1, reading.pairs):
        ends = {side: reading.index[side][pair - 1 : pair + 1] + 1 for side in SIDES}
        a, b = (texts[side][said[side][ends[side][0]] : said[side][ends[side][1]]] for side in SIDES)
        if reading.why[pair] != LEAD and a.strip() == b.strip() and all(first < last for first, last in ends.values()):
            characters[pair] = len(a)
            for side, (first, last) in ends.items():
                between[side][pair] = sums[side][last] - sums[side][first]
    return Expected(lost, likeliest, between, characters)


@devices.apart
@torch.inference_mode()
def _of_model(model: LoadedModel, ids: list[int]) -> tuple[Floats, list[list[tuple[str, float]]]]:
    """Nats lost on each token, and what was likeliest in its place."""
    lost = np.full(len(ids), np.nan, np.float32)
    likeliest: list[list[tuple[str, float]]] = [[] for _ in ids]
    if len(ids) < 2:
        return lost, likeliest
    given = torch.tensor([ids], device=model.device)
    logits = model.model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False).logits[0, :-1]
    for start in range(0, len(logits), _ROWS):
        logs = logits[start : start + _ROWS].float().log_softmax(dim=1)
        said = given[0, 1 + start : 1 + start + len(logs)]
        lost[1 + start : 1 + start + len(logs)] = -logs.gather(1, said[:, None])[:, 0].cpu().numpy()
        places = torch.cat([logs.topk(min(LIKELIEST, logs.shape[1]), dim=1).indices, said[:, None]], dim=1)
        values = logs.gather(1, places).tolist()
        names = iter(token_names(model.tokenizer, logs.shape[1], places.flatten().tolist()))
        for row, nats in enumerate(values):
            likeliest[1 + start + row] = [(next(names), value) for value in nats]
    return lost, likeliest
