"""A judge that is a transformers model on this machine, loaded when it is first asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from dfc import models
from dfc.asking.budget import Budget
from dfc.asking.messages import Message, Reply, StoppedError, UnansweredError, who
from dfc.config import JudgeConfig, ModelConfig, UserError
from dfc.corpus import Document, Turn, parts
from dfc.machine import devices
from dfc.models import LoadedModel, rollouts
from dfc.requests import RolloutSampling

_LONGEST = 32_768  # tokens; a model whose context is shorter is asked no longer ones


@dataclass
class Local:
    """What `Asker` says; one request at a time. `stop` lets no further one begin."""

    judge: JudgeConfig
    budget: Budget = field(default_factory=Budget)
    stop: threading.Event = field(default_factory=threading.Event)
    _model: LoadedModel | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, messages: Sequence[Message], most: int | None = None) -> Reply:
        """What it says, as `Asker.ask`; without a temperature the likeliest."""
        judge = self.judge
        with self._turn:
            if self.stop.is_set():
                raise StoppedError(f"{who(judge)} is not asked any more; judge again later.")
            model = self._model = self._model or _loaded(judge)
            sampling = RolloutSampling(tokens=most or judge.answer_tokens, temperature=judge.temperature or 0.0)
            prompt = Document("judge", tuple(Turn(one.role, one.content) for one in messages))
            try:
                [answer] = rollouts.planned(model, [prompt], sampling)
            except UserError as error:
                raise UnansweredError(f"{who(judge)} cannot be given this request: {error}") from None
            aside = len(answer.ids) + sampling.tokens
            self.budget.take(aside)
            used = None
            try:
                [tokens] = rollouts.write_batch(model, [answer], sampling)
                used = min(aside, len(answer.ids) + len(tokens) + 1)  # and the one that ended it
            finally:
                self.budget.give_back(aside, used)
            return Reply(parts(rollouts.text_of(model, answer, tokens)).answer, len(tokens) == sampling.tokens)


def _loaded(judge: JudgeConfig) -> LoadedModel:
    """The model, in half precision where it runs on a GPU.

    Raises:
        UserError: if it does not load.
    """
    half = devices.pick("auto").type == "cuda"
    return models.load(
        ModelConfig(source=judge.model, layer=0, dtype="bfloat16" if half else "float32", max_tokens=_LONGEST)
    )
