"""What models are asked: prompts, edits, how tokens are drawn, trials and sweeps, as plain values without torch.

The app's pages and addresses, the command line, the store and the library share these. What they become on a model is
in `dfc/steering/`; what came of them is kept as JSON in `steering.duckdb`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from dfc.config import SIDES, Side, UserError

Mode = Literal["add", "clamp", "ablate", "conditional"]
Where = Literal["all", "prompt", "generated"]
MODES: tuple[Mode, ...] = get_args(Mode)
WHERES: tuple[Where, ...] = get_args(Where)


@dataclass(frozen=True)
class Turn:
    """What one speaker says; `role` is system, user or assistant, or `text` for a plain text."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """What a model goes on from.

    Attributes:
        text: as it was typed.
        chat: whether it is a user's turn, where a model has a template; a model without one gets it as it is.
        earlier: turns of that chat before it; with them, a model without a template gets `User: …`.
    """

    text: str
    chat: bool = False
    earlier: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: greedily at temperature 0.

    Continuations of one seed share their random numbers: the same seed gives the same text, alone or beside
    others, and where two programs lead to the same probabilities, they lead to the same words.

    Raises:
        UserError: if nothing can be drawn so.
    """

    max_new_tokens: int = 60
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.temperature < float("inf") or not 0 < self.top_p <= 1:
            raise UserError(
                f"sampling: {self.max_new_tokens} new tokens at temperature {self.temperature:g}, top-p {self.top_p:g} "
                f"cannot be drawn; give at least 1 token, a temperature of 0 or more, and a top-p above 0, at most 1."
            )


@dataclass(frozen=True)
class RolloutSampling:
    """How rollouts are drawn; nothing else that a model's own settings ask for is applied, such as its top-k.

    Attributes:
        samples: answers to each prompt.
        tokens: longest answer.
        temperature: greedily at 0.
        top_p: share of the probability from which a token is drawn.
        seed: of the draws; each answer has a seed of its own, made of this and its number.
        batch: answers given together, as many as memory allows if it is None; nothing depends on it.
    """

    samples: int = 1
    tokens: int = 128
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int = 0
    batch: int | None = None


@dataclass(frozen=True)
class Edit:
    """One change of one feature in one model. With v = s_max · d / scale and the feature's activation z = a · s_max:

    add: + strength · v · clamp: + (strength − a) · v · ablate: − a · v · conditional: + strength · v where a >
    threshold (and the feature fires at all).

    Attributes:
        side: the model that is changed.
        feature: its number in the run.
        mode: what is done.
        strength: in units of the feature's largest activation; not used by ablate.
        where: at all positions, those of the prompt's tokens, or those of the generated ones.
        threshold: of conditional, in units of the feature's largest activation.

    Raises:
        UserError: if a number is not finite, or a word is none of those allowed.
    """

    side: Side
    feature: int
    mode: Mode = "add"
    strength: float = 1.0
    where: Where = "all"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("side", self.side, SIDES),
            ("mode", self.mode, MODES),
            ("where", self.where, WHERES),
        ):
            if value not in allowed:
                raise UserError(f"{name}: {value!r:.40} is none of {', '.join(allowed)}; choose one of them.")
        for name, number in (("strength", self.strength), ("threshold", self.threshold)):
            if not math.isfinite(number):
                raise UserError(f"the {name} must be a finite number, not {number}.")

    @property
    def idle(self) -> bool:
        """Whether it adds nothing, whatever the text is."""
        return self.strength == 0 and self.mode in ("add", "conditional")


@dataclass(frozen=True)
class Trial:
    """Everything needed to repeat one request to steer: a prompt, what is done to which model, how tokens are drawn."""

    prompt: Prompt
    edits: tuple[Edit, ...]
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def sides(self) -> list[Side]:
        """The models that answer: those that are edited."""
        return [side for side in SIDES if any(edit.side == side for edit in self.edits)]

    def to_json(self) -> str:
        """All of it, as `from_json` reads it."""
        prompt = asdict(self.prompt)
        content = {
            "prompt": prompt["text"],
            "edits": [asdict(edit) for edit in self.edits],
            "sampling": asdict(self.sampling),
            "chat": prompt["chat"],
            "earlier": prompt["earlier"],
        }
        return json.dumps(content, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Trial:
        """A trial as `to_json` wrote it."""
        content = json.loads(text)
        prompt = Prompt(content["prompt"], content["chat"], _earlier(content))
        return Trial(prompt, _edits(content), Sampling(**content["sampling"]))


@dataclass(frozen=True)
class Sweep:
    """Features × strengths × prompts: everything that decides what comes out.

    Attributes:
        edits: features with their modes, each once; their strengths are replaced by `strengths`.
        strengths: what is tried; 0 is the model left alone, which is always there.
        prompts: texts that the models go on from.
        sampling: how tokens are drawn; prompt number i is drawn with the seed + i.
        chat, earlier: of each `Prompt`.
        words, regex: what is counted in answers.
        control: try random directions of equal norm, too.

    Raises:
        UserError: if there is nothing to try, or a strength or the regex cannot be used.
    """

    edits: tuple[Edit, ...]
    strengths: tuple[float, ...]
    prompts: tuple[str, ...]
    sampling: Sampling = field(default_factory=lambda: Sampling(40, 0.7, 0.9))
    chat: bool = False
    words: tuple[str, ...] = ()
    regex: str = ""
    control: bool = False
    title: str = ""
    earlier: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        for name in ("edits", "strengths", "prompts"):
            if not getattr(self, name):
                raise UserError(f"sweep: there are no {name}; give at least one.")
        object.__setattr__(self, "edits", tuple(dict.fromkeys(self.edits)))
        for strength in self.strengths:
            replace(self.edits[0], strength=strength)  # refuses what is not finite
        if not any(self.strengths):
            raise UserError("sweep: strength 0 alone changes nothing; give another.")
        pattern(self.words, self.regex)

    @property
    def asked(self) -> tuple[Prompt, ...]:
        """The prompts as models are given them."""
        return tuple(Prompt(text, self.chat, self.earlier) for text in self.prompts)

    @property
    def tried(self) -> tuple[float, ...]:
        """The strengths that change something, each once, in order."""
        return tuple(sorted({strength for strength in self.strengths if strength}))

    @property
    def outputs(self) -> int:
        """How many answers there will be."""
        return len(self.prompts) * len(self.edits) * (1 + len(self.tried) * (1 + self.control))

    def to_json(self) -> str:
        """All of it, as `from_json` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Sweep:
        """A sweep as `to_json` wrote it."""
        content = json.loads(text)
        content |= {name: tuple(content[name]) for name in ("strengths", "prompts", "words")}
        values = {"edits": _edits(content), "earlier": _earlier(content), "sampling": Sampling(**content["sampling"])}
        return Sweep(**{**content, **values})


def pattern(words: Sequence[str], regex: str = "") -> re.Pattern[str] | None:
    """What is looked for in answers: any of some words, in any case, or else a regular expression; None: nothing.

    A word stands alone, except at an end that is no letter of an alphabet (Chinese has no spaces).

    Raises:
        UserError: if the expression is none.
    """
    if regex:
        try:
            return re.compile(regex)
        except re.error as error:
            raise UserError(f"regex: {regex!r:.60} is no regular expression ({error}); correct it.") from None
    chosen = [word.strip() for word in words if word.strip()]
    if not chosen:
        return None
    return re.compile("|".join(_word(word) for word in sorted(chosen, key=len, reverse=True)), re.IGNORECASE)


def _word(word: str) -> str:
    start = r"\b" if re.match(r"[a-zA-Z0-9\u00c0-\u024f\u0370-\u04ff]", word) else ""
    end = r"\b" if re.match(r"[a-zA-Z0-9\u00c0-\u024f\u0370-\u04ff]", word[-1]) else ""
    return f"{start}{re.escape(word)}{end}"


def _edits(content: Mapping[str, Any]) -> tuple[Edit, ...]:
    return tuple(Edit(**edit) for edit in content["edits"])


def _earlier(content: Mapping[str, Any]) -> tuple[Turn, ...]:
    return tuple(Turn(**turn) for turn in content.get("earlier", ()))  # a history may be older than chats
