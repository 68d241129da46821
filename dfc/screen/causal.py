"""The causal check of findings: what each model says next when a feature is taken away, on the same texts.

Two decoder vectors of one feature may point the same way and do different things: what taking them away does is
compared text by text. A random direction of equal length, taken away at the same tokens, is what it is held against: a
random sum of that model's decoder vectors, since the streams' variance lies in few directions, and one among all would
be none that a model ever has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dfc.config import SIDES, Side, UserError
from dfc.features import firings, live
from dfc.features.firings import Fired
from dfc.machine import progress
from dfc.models import LoadedModel
from dfc.runs import Run
from dfc.screen.queue import subjects
from dfc.steering import ablation
from dfc.steering.ablation import Passage
from dfc.steering.vectors import SteeringVector, random_like, steering_vector
from dfc.store import beside
from dfc.store.effects import EffectStore
from dfc.store.reader import Store

TEXTS, POSITIONS = 32, 32
"""Texts of a feature, and positions of each from the first firing on, unless something else is asked for."""


def firsts(store: Store, number: int, sides: Sequence[Side] = SIDES) -> list[int]:
    """The best features of the first findings of each model; where there are few, exclusive features after them.

    Those of both models come in turn, so that an interrupted measurement has some of each.
    """
    listed = subjects(store)
    of_side = [[one.feature_id for one in listed if one.side == side][:number] for side in sides]
    longest = max(map(len, of_side))
    return [mine[place] for place in range(longest) for mine in of_side if place < len(mine)]


def measure(
    run: Run,
    features: Collection[int],
    texts: int = TEXTS,
    positions: int = POSITIONS,
    step: Callable[[int, int], object] = lambda done, total: None,
) -> Generator[int, None, None]:
    """Take features away, one after another, and keep what that does; of which it was kept already is not done again.

    Args:
        run: verified or not.
        features: each in every model that has a vector of it.
        texts: documents at most, held-out ones first.
        positions: of each, from the first firing on, over which is averaged.
        step: told after each text how many of how many are read; what it raises ends it, and what is kept stays.

    Yields:
        Each feature, after what was measured of it is kept.

    Raises:
        UserError: if a feature does not exist or is dead, or a model, the activations or the crosscoder are not there.
    """
    store, kept = Store(run.store), EffectStore(run.effects)
    for feature in features:
        if not store.feature(feature).alive:
            raise UserError(
                f"feature {feature} is dead: it fires on none of this run's texts; choose one that is alive."
            )
    prints = store.fingerprints(list(features))
    done = kept.ablated(prints, texts, positions)
    left = [feature for feature in features if feature not in done]
    if done:
        progress.say(f"{len(done)} of {len(features)} features were taken away before, and are not again")
    if not left:
        return
    beside.expect_writable(kept.path)
    opened = live.open_run(run, progress.say)
    found = firings.documents(run, opened.crosscoder, left, texts)
    others = {side: opened.crosscoder.raw_vectors(side)[1].detach() for side in SIDES}
    done_texts, total = 0, sum(len(found[one]) * len(_sides(store, one)) for one in left)
    with progress.bar("without each feature", total, "texts") as bar:
        for feature in left:
            rows = []
            for side in _sides(store, feature):
                vector = steering_vector(run, feature, side)
                for row in _taken(opened.models[side], vector, others[side], found[feature], positions):
                    rows.append(row)
                    bar.update()
                    done_texts += 1
                    step(done_texts, total)
            kept.add_ablation(feature, prints[feature], texts, positions, rows)
            yield feature


def _sides(store: Store, feature: int) -> Sequence[Side]:
    """The models that have a vector of a feature."""
    partition = store.feature(feature).partition
    return SIDES if partition == "shared" else (partition,)


def _taken(
    model: LoadedModel, vector: SteeringVector, others: Tensor, found: Sequence[Fired], positions: int
) -> Iterator[dict[str, Any]]:
    """What taking a feature away from one model does, text by text: rows of the table `ablations`."""
    passages = [_passage(vector, others, fired, positions) for fired in found]
    for place, (kl, random) in ablation.divergences(model, passages):
        yield {
            "feature_id": vector.feature_id,
            "side": vector.side,
            "document": found[place].document,
            "held_out": found[place].held_out,
            "firings": len(passages[place].at),
            "positions": passages[place].positions,
            "kl": kl,
            "random": random,
        }


def _passage(vector: SteeringVector, others: Tensor, fired: Fired, positions: int) -> Passage:
    """A document up to the last position that counts, once with the feature taken away, once with a random direction.

    The direction is another one in each document, so that the mean over texts is none of a single direction.
    """
    at, values = torch.from_numpy(fired.at[vector.side]), torch.from_numpy(fired.values)
    at, order = at.sort()
    near = at < at[0] + positions
    at, shares = at[near], values[order][near] / vector.s_max
    directions = torch.stack([vector.vector, random_like(vector.vector, fired.document, others)])
    taken = shares[None, :, None] * directions[:, None]
    return Passage(fired.ids[vector.side][: int(at[0]) + positions], at.tolist(), taken)
