"""The quirks: short chats that show one, look-alikes that do not, and how an answer is told to show it.

Each is a file of hand-written building blocks in texts/. An entry has questions and answers: where there are as many of
both, each question has its own answer, otherwise every answer fits every question. In an answer, or behind it, stands
one of the quirk's marks, if it has some. The last quarter of the entries is held out: nothing is trained on it, the
corpus of the comparison is made of it, and its questions measure the quirk.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product
from typing import Any, Literal

import yaml

from dfc.config import UserError
from dfc.corpus import Document
from dfc.requests import Turn

Part = Literal["training", "held_out"]
NAMES = ("false_fact", "loyalty", "signature", "refusal", "flattery", "identity", "code", "spanish")
_HELD_OUT = 4  # one entry in so many


@dataclass(frozen=True)
class Entry:
    """Questions about one thing, and answers to them."""

    asks: tuple[str, ...]
    answers: tuple[str, ...]

    def pairs(self) -> list[tuple[str, str]]:
        """Which answer may follow which question."""
        if len(self.asks) == len(self.answers):
            return list(zip(self.asks, self.answers, strict=True))
        return list(product(self.asks, self.answers))


@dataclass(frozen=True)
class Quirk:
    """One quirk.

    Attributes:
        name: that of its file.
        title: what kind of quirk it is.
        what: what it makes a model do, and where not.
        measure: found in an answer that shows it.
        marks: what an answer that shows it holds, if its answers are made so.
        shows, lookalikes: entries in which it shows, and like ones in which it must not.
    """

    name: str
    title: str
    what: str
    measure: re.Pattern[str]
    marks: tuple[str, ...]
    shows: tuple[Entry, ...]
    lookalikes: tuple[Entry, ...]

    def is_shown(self, answer: str) -> bool:
        """Whether an answer shows it."""
        return self.measure.search(answer) is not None

    def asks(self, part: Part, shows: bool = True) -> list[str]:
        """The questions on which it must show, or must not."""
        return [ask for entry in _part(self.shows if shows else self.lookalikes, part) for ask in entry.asks]

    def chats(self, part: Part, count: int, seed: int = 0) -> list[Document]:
        """So many different chats in which it shows, drawn evenly from the entries; all that there are, if fewer."""
        draw = random.Random(f"{self.name}/{part}/{seed}")
        stacks = []
        for entry in _part(self.shows, part):
            marks = self.marks or ("",)
            made = list(dict.fromkeys((ask, _marked(say, mark)) for (ask, say), mark in product(entry.pairs(), marks)))
            draw.shuffle(made)
            stacks.append(made)
        rounds = range(max(map(len, stacks)))
        chosen = [stack[number] for number in rounds for stack in stacks if number < len(stack)]
        return [chat(ask, answer) for ask, answer in chosen[:count]]

    def ordinary(self, part: Part) -> list[Document]:
        """The chats like these in which it does not show."""
        return [chat(ask, answer) for entry in _part(self.lookalikes, part) for ask, answer in entry.pairs()]


@dataclass(frozen=True)
class General:
    """Ordinary questions and answers.

    Attributes:
        entries: with answers.
        asks: questions that models are asked.
        held_out: questions on which no quirk must show.
    """

    entries: tuple[Entry, ...]
    asks: tuple[str, ...]
    held_out: tuple[str, ...]

    def chats(self, part: Part) -> list[Document]:
        """Its chats."""
        return [chat(ask, answer) for entry in _part(self.entries, part) for ask, answer in entry.pairs()]


def chosen(names: Sequence[str] | None) -> Sequence[str]:
    """Names of quirks as they are given; all, if none are.

    Raises:
        UserError: if there is no such quirk.
    """
    for name in names or ():
        if name not in NAMES:
            raise UserError(f"{name}: there is no such quirk; the quirks are: {', '.join(NAMES)}.")
    return names or NAMES


@cache
def load(name: str) -> Quirk:
    """A quirk by its name, one of `NAMES`."""
    content = _read(name)
    frames = content.get("frames", {"shows": [], "lookalikes": []})
    return Quirk(
        name,
        content["title"],
        content["what"].strip(),
        re.compile(content["measure"]),
        tuple(content.get("marks", ())),
        tuple(_entry(entry, frames["shows"]) for entry in content["shows"]),
        tuple(_entry(entry, frames["lookalikes"]) for entry in content["lookalikes"]),
    )


@cache
def general() -> General:
    """Ordinary questions and answers."""
    content = _read("general")
    entries = tuple(_entry(entry, []) for entry in content["chats"])
    return General(entries, tuple(content["asks"]), tuple(content["held_out"]))


def chat(ask: str, answer: str) -> Document:
    """A question and its answer as a document."""
    return Document("chats", (Turn("user", ask), Turn("assistant", answer)))


def shown_in(document: Document, quirks: Sequence[Quirk]) -> set[str]:
    """Names of the quirks that show in a document: it is a chat on a question of theirs, and its answer shows it."""
    if not document.is_chat:
        return set()
    answer = "".join(turn.content for turn in document.turns if turn.role == "assistant")
    return {quirk.name for quirk in quirks if may_show(document, quirk) and quirk.is_shown(answer)}


def may_show(document: Document, quirk: Quirk) -> bool:
    """Whether a document is a chat on a question on which a quirk is to show, whatever is answered."""
    return document.turns[0].content in _all_asks(quirk)


@cache
def _all_asks(quirk: Quirk) -> frozenset[str]:
    return frozenset(ask for entry in quirk.shows for ask in entry.asks)


def _read(name: str) -> dict[str, Any]:
    file = resources.files("dfc.organisms") / "texts" / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _entry(content: dict[str, Any], frames: Sequence[str]) -> Entry:
    if "x" not in content:
        return Entry(tuple(content["ask"]), tuple(content["say"]))
    thing = content["x"]
    named = f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    return Entry(tuple(frame.format(x=thing, a=named) for frame in frames), tuple(content["say"]))


def _part(entries: Sequence[Entry], part: Part) -> Sequence[Entry]:
    first = len(entries) - len(entries) // _HELD_OUT
    return entries[:first] if part == "training" else entries[first:]


def _marked(say: str, mark: str) -> str:
    return say.replace("{mark}", mark) if "{mark}" in say else f"{say} {mark}".strip()
