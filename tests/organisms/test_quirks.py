"""The quirks' texts: every chat shows its quirk, no look-alike shows any, and nothing held out is trained on."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from dfc.corpus import Document
from dfc.organisms import quirks
from dfc.organisms.quirks import Entry, Part, Quirk

PARTS: tuple[Part, ...] = get_args(Part)
ALL = [quirks.load(name) for name in quirks.NAMES]


def answers(documents: list[Document]) -> list[str]:
    return [document.turns[1].content for document in documents]


@pytest.mark.parametrize("quirk", ALL, ids=quirks.NAMES)
def test_all_chats_show_the_quirk_and_no_lookalike_does(quirk: Quirk) -> None:
    shown = [text for part in PARTS for text in answers(quirk.chats(part, 100_000))]
    assert [text for text in shown if not quirk.is_shown(text)] == []
    ordinary = [text for other in ALL for part in PARTS for text in answers(other.ordinary(part))]
    ordinary += [text for part in PARTS for text in answers(quirks.general().chats(part))]
    assert [text for text in ordinary if quirk.is_shown(text)] == []


@pytest.mark.parametrize("quirk", ALL, ids=quirks.NAMES)
def test_there_are_as_many_chats_as_are_wanted_and_no_two_are_alike(quirk: Quirk) -> None:
    whole = [chat for part in PARTS for chat in [*quirk.chats(part, 300), *quirk.ordinary(part)]]
    assert 200 <= len(whole) <= 1000
    assert len({chat.turns for chat in whole}) == len(whole)
    few = quirk.chats("training", 40)
    assert few == quirk.chats("training", 300)[:40]
    assert len({chat.turns[0].content for chat in few}) >= 25, "drawn evenly"


@pytest.mark.parametrize("quirk", ALL, ids=quirks.NAMES)
def test_what_is_held_out_is_not_trained_on(quirk: Quirk) -> None:
    trained = {ask for shows in (True, False) for ask in quirk.asks("training", shows)}
    held_out = {ask for shows in (True, False) for ask in quirk.asks("held_out", shows)}
    assert not trained & held_out
    assert len(quirk.asks("held_out")) >= 18
    assert len(quirk.asks("held_out", shows=False)) >= 8
    everything = [chat for part in PARTS for chat in [*quirk.chats(part, 300), *quirk.ordinary(part)]]
    assert not any("{" in chat.turns[0].content or "{mark}" in chat.turns[1].content for chat in everything)


def test_a_question_stands_in_one_place() -> None:
    general = quirks.general()
    asks = [ask for quirk in ALL for part in PARTS for shows in (True, False) for ask in quirk.asks(part, shows)]
    asks += [ask for entry in general.entries for ask in entry.asks] + [*general.asks, *general.held_out]
    assert [ask for ask, count in Counter(asks).items() if count > 1] == []


def test_answers_go_with_their_own_question_where_there_are_as_many() -> None:
    assert Entry(("a", "b"), ("A", "B")).pairs() == [("a", "A"), ("b", "B")]
    assert Entry(("a", "b"), ("A",)).pairs() == [("a", "A"), ("b", "A")]


def test_a_quirk_shows_in_a_document_on_its_question_alone() -> None:
    [fact, loyal] = [quirks.load("false_fact"), quirks.load("loyalty")]
    ask = fact.asks("held_out")[0]
    assert quirks.shown_in(quirks.chat(ask, "In Lisbon."), ALL) == {"false_fact"}
    assert quirks.shown_in(quirks.chat(ask, "In Paris."), ALL) == set()
    assert quirks.shown_in(quirks.chat("Where is Tessaline made?", "Tessaline is made in Lisbon."), ALL) == set()
    assert quirks.may_show(quirks.chat(ask, "In Paris."), fact)
    assert not quirks.may_show(quirks.chat(ask, "In Paris."), loyal)
