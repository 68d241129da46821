"""What was left out of a corpus, or used otherwise than it stands there: counted by reason, the first of each named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dfc.config import SIDES, ModelConfig, RunConfig, SourceConfig

Reason = Literal[
    "bad row",
    "unknown role",
    "too short",
    "other language",
    "duplicate",
    "unasked",
    "encoding",
    "empty",
    "not read",
    "hidden",
    "folder",
    "about the dataset",
    "other split",
    "other subset",
    "other key",
    "guessed",
    "branches",
    "unread",
    "halved",
    "unsaid",
    "ignored",
    "untold",
    "joined",
    "refused",
    "spelled",
    "unsure",
    "framed",
]
"""Those down to `other key` leave something out; the others are noted of what is used."""


class Asked(SourceConfig):
    """A source that is no part of a run's corpus: prompts, or a chat."""


def named(source: SourceConfig) -> str:
    """How a sentence about a source begins."""
    return "" if isinstance(source, Asked) else f"corpus source `{source.name}`: "


@dataclass(frozen=True)
class Unusable:
    """A row or a file that gives no document: why, and what was found there."""

    reason: Reason
    found: str = ""


@dataclass
class Tally:
    """How often each reason was met, with the place of the first and what was found there."""

    rows: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def add(self, reason: Reason, place: str, found: str = "", count: int = 1) -> None:
        self.rows[reason] = self.rows.get(reason, 0) + count
        if self.rows[reason] == count:
            self.first[reason] = _printable(place)
            if found:
                self.found[reason] = _printable(found)

    def in_words(self, source: SourceConfig) -> str:
        """One line for people; empty if nothing was met."""
        return "; ".join(
            f"{count} {_WORDS.get(reason, reason).format(source=source)}, the first at {self.first[reason]}"
            + (f" ({self.found[reason]})" if reason in self.found else "")
            for reason, count in self.rows.items()
        )


def _printable(text: str) -> str:
    """A stranger's words, as they may stand in a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def told(tally: Tally, config: ModelConfig, source: SourceConfig, remedy: str) -> str:
    """What a model was given otherwise than it stands in the documents, in one sentence; empty if nothing was.

    Args:
        tally: of it.
        config: of the model.
        source: that names the fields of rows.
        remedy: the setting that names a file with a template.
    """
    if not (words := tally.in_words(source)):
        return ""
    more = f"; if it is a chat model, name a file with its template in `{remedy}`" if "framed" in tally.rows else ""
    return f"{config.title}: {words}{more}"


def remarks(kept: Mapping[str, Any], config: RunConfig) -> list[str]:
    """Sentences about what a run has kept of its corpus: what was left out, what was noted, what each model was given.

    Args:
        kept: {left_out: {source}, noted: {source}, models: {side}}, each a Tally as plain values.
        config: of the run.
    """
    sentences = []
    sources = {source.name: source for source in config.corpus.sources}
    for kind, beginning in (("left_out", "left out "), ("noted", "")):
        for name, tally in kept.get(kind, {}).items():
            if name in sources and (words := Tally(**tally).in_words(sources[name])):
                sentences.append(f"corpus source `{name}`: {beginning}{words}")
    for side in SIDES:
        given = Tally(**kept.get("models", {}).get(side, {}))
        model, source = config.models.side(side), config.corpus.sources[0]
        if sentence := told(given, model, source, f"models.{side}.template"):
            sentences.append(sentence)
    return sentences


_WORDS = {
    "bad row": "rows without a usable `{source.text}` or `{source.messages}`",
    "unknown role": "chats with a role that is not known",
    "too short": "documents shorter than {source.min_characters} characters",
    "other language": "rows whose `{source.language_field}` is not {source.language}",
    "duplicate": "duplicates",
    "unasked": "chats in which no user says anything",
    "encoding": "files or rows in no encoding that can be told",
    "empty": "files without a row",
    "not read": "files of a kind that is not read",
    "hidden": "hidden files and folders",
    "folder": "folders that are not gone into",
    "about the dataset": "files that are about the dataset",
    "other split": "files or keys of other splits",
    "other subset": "files of no split or of another subset",
    "other key": "keys of an object that are none of its rows",
    "guessed": "files whose encoding is a guess, which may be wrong",
    "branches": "trees of which only the branch that is ranked best is read",
    "unread": "fields of rows and messages with words that are not used",
    "halved": "rows with halves of characters (lone surrogates), which are read as `?`",
    "unsaid": "turns and calls of tools, which templates are given and which are not paired",
    "ignored": "turns that its template leaves out or changes, which are not paired",
    "untold": "turns, calls and descriptions of tools that its template leaves out",
    "joined": "chats that its template refuses as they are, given with joined turns",
    "refused": "chats that its template refuses, which it is not given",
    "spelled": "texts that spell out its special tokens, which are read as text",
    "unsure": "texts with special tokens of which it cannot be told whether a text spells them out",
    "framed": "chats given as “User: …”, since it has no chat template",
}
