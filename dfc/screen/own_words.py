"""What each model says itself: both go on from the same beginnings, and each continuation is read by both.

Those come first that the other model would least have said, by how many nats a character more it loses on them than the
model that wrote them (perplexity differencing, arXiv 2605.00994); and every feature that fires in them is kept. A plain
text is gone on from as it stands, a chat is answered. Every batch that is through is kept, and a killed one goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dfc import corpus
from dfc.activations import documents as stored
from dfc.config import SIDES, Side, UserError
from dfc.corpus import Document, Tally
from dfc.features import expected, live
from dfc.features.expected import Expected
from dfc.features.fired import fired
from dfc.features.live import LEAD, Live, Reading
from dfc.machine import progress
from dfc.models import rollouts
from dfc.models.rollouts import Answer
from dfc.requests import RolloutSampling
from dfc.runs import Run
from dfc.screen.reading import noted_in_words
from dfc.screen.words_of_own import own_words_in_words
from dfc.steering import prompt_sets
from dfc.store import attached
from dfc.store.own_words import OwnWords
from dfc.store.reader import Store
from dfc.store.writer import own_words_writer

PASSAGE = 16
"""Pairs of tokens of the passage that tells most."""
LEAST = 20
"""Characters that both models were given alike, for a continuation to be ranked: nats of a word or two say little."""
_BEGINNING = 60  # characters of a plain text that are gone on from, about
_QUESTION = 1_000  # characters of a chat's beginning, at most
_TOGETHER = 8  # beginnings whose continuations are kept at once


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        beginnings: how many.
        tokens: longest continuation, in the tokens of the model that writes it.
        seed: of the draws of beginnings and of tokens.
        prompts: a set that ships, or whatever a corpus's source may be; empty: beginnings of the run's own documents.
    """

    beginnings: int = 64
    tokens: int = 64
    seed: int = 0
    prompts: str = ""


@dataclass(frozen=True)
class Beginnings:
    """What is gone on from.

    Attributes:
        documents: plain texts that are short, and chats up to a user's turn.
        left_out: how many of those drawn were not taken, by the reason.
        remarks: what a file of prompts holds that was left out, or read otherwise than it stands there.
    """

    documents: tuple[Document, ...]
    left_out: dict[str, int]
    remarks: tuple[str, ...] = ()


def write(run: Run, asked: Asked) -> None:
    """Let both models of a run go on, and write the run's own_words.duckdb; what is there already is not done again.

    Raises:
        UserError: if the run is not indexed, there is nothing to go on from, a model does not load or answers nothing,
            or another process works on the run.
    """
    Store(run.store)  # refuses before anything is read
    identity, path = attached.identity(run.store), attached.own_words_path(run.store)
    begun = beginnings(run, asked)
    digest = blake2b(repr([asdict(asked), begun.documents, identity]).encode(), digest_size=8).hexdigest()
    if OwnWords(run.store).facts().get("digest") == digest:
        progress.say(f"{path}: holds them already")
        return
    with run.lock():
        kept = path.with_name(f"{path.name}.{digest}.batches")
        for other in set(path.parent.glob(f"{path.name}.*.batches")) - {kept}:  # of what was asked for before
            other.unlink()
        opened, noted = live.open_run(run, progress.say), {side: Tally() for side in SIDES}
        try:
            rows = _written(opened, begun.documents, asked, kept, noted)
        except KeyboardInterrupt:
            progress.say("\nown words: interrupted; start the same command again to go on")
            raise
        facts = {
            "identity": identity,
            "digest": digest,
            "asked": asdict(asked),
            "beginnings": len(begun.documents),
            "left_out_beginnings": begun.left_out,
            "left_out": {side: _left_out(rows, side) for side in SIDES},
            "remarks": [*begun.remarks, *noted_in_words(noted, opened.config)],
        }
        _save(path, rows, facts)
        kept.unlink()
    for sentence in own_words_in_words(OwnWords(run.store).facts()):
        progress.say(sentence)


def beginnings(run: Run, asked: Asked) -> Beginnings:
    """What is gone on from, drawn evenly, each once.

    Raises:
        UserError: if there is nothing.
    """
    if asked.prompts:
        path = prompt_sets.path_of(asked.prompts)
        documents, remarks = rollouts.prompts_and_remarks(path, asked.beginnings)
        for remark in remarks:
            progress.say(remark)
        return Beginnings(tuple(documents), {}, tuple(remarks))
    table, found, left_out = stored.read(run), dict[Document, None](), Counter[str]()
    for number in np.random.default_rng(asked.seed).permutation(len(table)).tolist():
        if len(found) == asked.beginnings:
            break
        begun = _begun(stored.document(table, number))
        if isinstance(begun, str):
            left_out[begun] += 1
        elif begun in found:
            left_out["begins as another one"] += 1
        else:
            found[begun] = None
    if not found:
        raise UserError(f"{run.path}: no document of its corpus has a beginning to go on from; name --prompts.")
    return Beginnings(tuple(found), dict(left_out))


def _begun(document: Document) -> Document | str:
    """The beginning of a document, or why it has none."""
    if document.is_chat:
        messages = document.messages
        first = next((place for place, message in enumerate(messages) if message["role"] == "user"), None)
        begun = None if first is None else corpus.of_messages(document.source, messages[: first + 1], document.tools)
        if begun is None or begun.turns[-1].role != "user":
            return "without a user's turn"
        return begun if _content(begun) <= _QUESTION else f"longer than {_QUESTION:,} characters"
    text = document.turns[0].content
    if len(text) <= _BEGINNING:
        return f"no longer than {_BEGINNING} characters"
    cut = text[:_BEGINNING]
    if not text[_BEGINNING].isspace() and any(map(str.isspace, cut)):  # no word is cut where words stand apart
        cut = cut[: max(place for place, mark in enumerate(cut) if mark.isspace())]
    return corpus.plain(cut.strip(), document.source)


def _content(document: Document) -> int:
    """Characters of what is said in a document."""
    return sum(len(turn.content) for turn in document.turns)


def _written(
    opened: Live, begun: Sequence[Document], asked: Asked, kept: Path, noted: dict[Side, Tally]
) -> dict[int, dict[str, Any]]:
    """What was written and read of all beginnings, by number: A's of a beginning, then B's."""
    sampling = RolloutSampling(tokens=asked.tokens, seed=asked.seed)
    rows: dict[int, dict[str, Any]] = {number: row for number, row in rollouts.read_batches(kept).items() if row}
    planned: dict[Side, dict[int, Answer]] = {}
    for side in SIDES:
        model = opened.models[side]
        moment = model.config.date
        answers = rollouts.planned(model, list(begun), sampling, moment, noted[side], asked_in_turns=False)
        planned[side] = {answer.number: answer for answer in answers}
    with progress.bar("own words", len(begun), "beginnings", done=len(rows) // len(SIDES)) as bar:
        for first in range(0, len(begun), _TOGETHER):
            numbers = [n for n in range(first, min(first + _TOGETHER, len(begun))) if len(SIDES) * n not in rows]
            if not numbers:
                continue
            made = _batch(opened, begun, numbers, planned, sampling)
            rollouts.keep_batch(kept, list(made.items()))
            rows |= made
            bar.update(len(numbers))
    return rows


def _batch(
    opened: Live,
    begun: Sequence[Document],
    numbers: Sequence[int],
    planned: dict[Side, dict[int, Answer]],
    sampling: RolloutSampling,
) -> dict[int, dict[str, Any]]:
    """What both models write after some beginnings, read by both."""
    made: dict[int, dict[str, Any]] = {}
    whole: dict[int, Document] = {}
    for place, side in enumerate(SIDES):
        model = opened.models[side]
        made |= {len(SIDES) * number + place: {"left_out": "without room for it"} for number in numbers}
        answers = [planned[side][number] for number in numbers if number in planned[side]]
        for batch in rollouts.batched(model, answers, sampling):
            for answer, text in zip(batch, rollouts.answer_batch(model, batch, sampling), strict=True):
                document = _whole(begun[answer.number], rollouts.row(model, answer, text))
                if document is None:
                    made[len(SIDES) * answer.number + place] = {"left_out": "empty"}
                else:
                    whole[len(SIDES) * answer.number + place] = document
    documents = [(f"continuation {number}", document) for number, document in whole.items()]
    leads = [_content(begun[number // len(SIDES)]) for number in whole]
    again = {side: Tally() for side in SIDES}  # was said of the beginnings
    readings = live.read_together(opened, documents, again, leads=leads) if documents else []
    for (number, document), reading, lead in zip(whole.items(), readings, leads, strict=True):
        content = "".join(turn.content for turn in document.turns)
        said, side = content[lead:], SIDES[number % len(SIDES)]
        made[number] = {
            "source": document.source,
            "chat": document.is_chat,
            "beginning": content[:lead],
            "text": said,
        } | _told_apart(reading, expected.expected(opened, reading), side, said)
    return made


def _whole(begun: Document, row: dict[str, Any] | None) -> Document | None:
    """A beginning with what a model said; None where it said nothing."""
    if row is None:
        return None
    if not begun.is_chat:
        return corpus.plain(row["text"], begun.source) if row["text"] != begun.turns[0].content else None
    return corpus.of_messages(begun.source, row["messages"], row.get("tools"))


def _told_apart(reading: Reading, known: Expected, side: Side, said: str) -> dict[str, Any]:
    """How much better each model expected a continuation, piece by piece, where it tells most, and what fires in it."""
    gaps, pairs = known.gap, np.flatnonzero(reading.why != LEAD)
    characters = int(known.characters[np.isfinite(gaps)].sum())
    if characters < LEAST:
        return {"left_out": f"shorter than {LEAST} characters that both models are given alike"}
    ends, pieces = reading.index["a"], list[str]()
    for pair in pairs.tolist():
        tokens = reading.tokens["a"][ends[pair - 1] + 1 if pair else 0 : ends[pair] + 1]
        piece = "".join(tokens) if np.isfinite(gaps[pair]) else _end(tokens, said)
        pieces.append(piece)
        said = said.partition(piece)[2] if piece in said else said
    own = np.nan_to_num(gaps[pairs]) * (1 if side == "a" else -1)
    first, last = telling(own)
    place_of = {pair: place for place, pair in enumerate(pairs.tolist())}
    table = fired(reading)
    return {
        "characters": characters,
        "nats_a": known.a_character("a"),
        "nats_b": known.a_character("b"),
        "pieces": pieces,
        "gaps": [round(gap, 3) if np.isfinite(gap) else None for gap in gaps[pairs].tolist()],
        "first": first,
        "last": last,
        "heard": [
            [feature, strongest, place_of[pair]]
            for feature, strongest, pair in zip(
                table["feature_id"].tolist(), table["max"].tolist(), table["row"].tolist(), strict=True
            )
        ],
    }


def _end(tokens: Sequence[str], said: str) -> str:
    """Of some tokens, of which the first may be a template's, the longest end with which a text begins."""
    ends = [end for first in range(len(tokens)) if (end := "".join(tokens[first:]))]
    whole = (end for end in ends if said.startswith(end))
    trimmed = (end for end in ends if said.lstrip().startswith(end.lstrip()))  # as templates and tokenizers do
    return next(whole, None) or next(trimmed, tokens[-1])


def telling(gaps: Any, most: int = PASSAGE) -> tuple[int, int]:
    """The first and the last of at most so many in a row whose sum is largest; without ends below 0."""
    sums = np.append(0.0, np.cumsum(gaps, dtype=np.float64))
    size = min(most, len(gaps))
    first = int(np.argmax(sums[size:] - sums[: len(sums) - size]))
    last = first + size - 1
    while first < last and gaps[first] <= 0:
        first += 1
    while first < last and gaps[last] <= 0:
        last -= 1
    return first, last


def _left_out(rows: dict[int, dict[str, Any]], side: Side) -> dict[str, int]:
    place = SIDES.index(side)
    return dict(
        Counter(row["left_out"] for n, row in sorted(rows.items()) if n % len(SIDES) == place and "left_out" in row)
    )


def _save(path: Path, rows: dict[int, dict[str, Any]], facts: dict[str, Any]) -> None:
    """Write own_words.duckdb."""
    listed: list[dict[str, Any]] = []
    heard: list[dict[str, Any]] = []
    for number, row in sorted(rows.items()):
        if "left_out" in row:
            continue
        whose = {"number": number // len(SIDES), "side": SIDES[number % len(SIDES)]}
        listed.append(whose | {key: value for key, value in row.items() if key != "heard"})
        heard += [whose | {"feature_id": one, "max": most, "piece": piece} for one, most, piece in row["heard"]]
    with own_words_writer(path) as writer:
        writer.facts(facts)
        if listed:
            writer.append("continuations", pa.Table.from_pylist(listed))
        if heard:
            writer.append("heard", pa.Table.from_pylist(heard))
