"""What was tried, kept with the run: every request to steer with its answers, to be found again by its id."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Literal

from dfc.config import Side, UserError
from dfc.requests import Trial
from dfc.runs import Run
from dfc.steering.answers import Answer
from dfc.store.steering import SteeringStore

Kind = Literal["baseline", "steered", "random"]


def store(run: Run) -> SteeringStore:
    """Where a run's sweeps and its history of steering are kept."""
    return SteeringStore(run.steering)


def record(run: Run, trial: Trial, answers: Mapping[Side, Mapping[Kind, Answer]]) -> str:
    """Add a trial to the run's history; the id by which it can be repeated.

    Args:
        run: whose features were used.
        trial: what was asked.
        answers: of each model, what came to its end.
    """
    texts = {side: {kind: answer.text for kind, answer in mine.items()} for side, mine in answers.items()}
    identity = uuid.uuid4().hex[:12]
    store(run).add_tried(identity, trial.prompt.text, trial.to_json(), json.dumps(texts, ensure_ascii=False))
    return identity


def recall(run: Run, identity: str) -> Trial:
    """A trial of the history by its id, or by the beginning of it.

    Raises:
        UserError: if there is none, or more than one.
    """
    history = store(run).tried(limit=100_000)
    chosen = history[history["tried_id"].str.startswith(identity)] if len(history) and identity else history.head(0)
    if len(chosen) != 1:
        raise UserError(
            f"{identity or 'no id'}: {len(chosen)} of the {len(history)} trials in {store(run).path} are meant; "
            f"list them with `python -m dfc steer {run.name} --history`."
        )
    return Trial.from_json(chosen["request"].iloc[0])
