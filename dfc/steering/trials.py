"""One request to steer, everything needed to repeat it, and the history of those that were tried."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from dfc.config import SIDES, Side, UserError
from dfc.corpus import Turn
from dfc.runs import Run
from dfc.steering import sweeps
from dfc.steering.edits import Edit
from dfc.steering.generation import Answer, Sampling

Kind = Literal["baseline", "steered"]


@dataclass(frozen=True)
class Trial:
    """A prompt, what is done to which model, and how tokens are drawn.

    `chat`: the prompt is a user's turn, where a model has a template; `earlier`: the turns of that chat before it.
    """

    prompt: str
    edits: tuple[Edit, ...]
    sampling: Sampling = field(default_factory=Sampling)
    chat: bool = False
    earlier: tuple[Turn, ...] = ()

    @property
    def sides(self) -> list[Side]:
        """The models that answer: those that are edited."""
        return [side for side in SIDES if any(edit.side == side for edit in self.edits)]

    def to_json(self) -> str:
        """All of it, as `from_json` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Trial:
        """A trial as `to_json` wrote it."""
        content = json.loads(text)
        edits = tuple(Edit(**edit) for edit in content["edits"])
        earlier = tuple(Turn(**turn) for turn in content.get("earlier", ()))  # a history may be older than chats
        return Trial(content["prompt"], edits, Sampling(**content["sampling"]), content["chat"], earlier)


def record(run: Run, trial: Trial, answers: Mapping[Side, Mapping[Kind, Answer]]) -> str:
    """Add a trial to the run's history; the id by which it can be repeated.

    Args:
        run: whose features were used.
        trial: what was asked.
        answers: of each model, what came to its end.
    """
    found = {side: {kind: answer.text for kind, answer in mine.items()} for side, mine in answers.items()}
    identity = uuid.uuid4().hex[:12]
    sweeps.store(run).add_tried(identity, trial.prompt, trial.to_json(), json.dumps(found, ensure_ascii=False))
    return identity


def recall(run: Run, identity: str) -> Trial:
    """A trial of the history by its id, or by the beginning of it.

    Raises:
        UserError: if there is none, or more than one.
    """
    history = sweeps.store(run).tried(limit=100_000)
    chosen = history[history["tried_id"].str.startswith(identity)] if len(history) and identity else history.head(0)
    if len(chosen) != 1:
        raise UserError(
            f"{identity or 'no id'}: {len(chosen)} of the {len(history)} trials in {sweeps.store(run).path} are meant; "
            f"list them with `python -m dfc steer {run.name} --history`."
        )
    return Trial.from_json(chosen["request"].iloc[0])
