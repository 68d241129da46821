"""The page of the models' own words: what is told of each text, where it leads, and what other pages say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dfc.store import attached
from dfc.store.writer import own_words_writer
from tests.ui.folders import find, make_run
from tests.ui.pages import FEATURE, OWN_WORDS, SCREEN, calm, parameter, text, visit

EVIL = "<img src=x onerror=alert(1)>"


def wrote(number: int, side: str, beyond: float) -> dict[str, Any]:
    """A text on which the other model loses so much more a character, in three pieces."""
    sign = 1 if side == "a" else -1
    lost = {side: 1.0, "b" if side == "a" else "a": 1.0 + beyond}
    return {
        "number": number, "side": side, "source": "web", "chat": number % 2 == 1, "beginning": f"begun {number} {EVIL}",
        "text": f"one two three {number}", "characters": 30, "nats_a": lost["a"], "nats_b": lost["b"],
        "pieces": ["one ", EVIL, f" three {number}"], "gaps": [None, 2.0 * sign, -0.5 * sign], "first": 1, "last": 1,
    }  # fmt: skip


def speak(path: Path) -> None:
    """Twelve texts of A and one of B; the finding of feature 150 fires in two of A's, that of 60 in none."""
    texts = [wrote(number, "a", (5 - number) / 10) for number in range(12)] + [wrote(3, "b", 0.25)]
    heard = [(0, "a", 150, 2.0), (4, "a", 150, 1.0), (0, "a", 2, 1.0), (3, "b", 151, 1.0)]
    with own_words_writer(attached.own_words_path(path)) as writer:
        writer.facts(
            {
                "identity": attached.identity(path),
                "digest": "made-up",
                "asked": {"beginnings": 14, "tokens": 20, "seed": 0, "prompts": ""},
                "beginnings": 12,
                "left_out_beginnings": {"begins as another one": 2},
                "left_out": {"a": {}, "b": {"empty": 11}},
                "remarks": [],
            }
        )
        writer.append("continuations", pa.Table.from_pylist(texts))
        keys = ("number", "side", "feature_id", "max", "piece")
        writer.append("heard", pa.Table.from_pylist([dict(zip(keys, (*row, 1), strict=True)) for row in heard]))


@pytest.fixture
def run(data: Path) -> Path:
    made = make_run(data)
    find(made.store)
    return made.store


def test_without_texts_it_says_what_makes_them(run: Path) -> None:
    test = calm(visit(OWN_WORDS, run="demo"))
    assert "python -m dfc screen demo --rollouts" in test.info[0].value
    calm(visit(FEATURE, run="demo", feature="150"))


def test_texts_are_ranked_with_what_both_lose_and_lead_to_the_findings_in_them(run: Path) -> None:
    speak(run)
    test = calm(visit(OWN_WORDS, run="demo"))
    words = text(test)
    assert "12 beginnings of 14 asked for, drawn from the corpus; at most 20 tokens each, seed 0." in words
    assert "Left out of the continuations of B: 11 empty." in words
    assert "the other loses <b>0.50</b> more: A 1.00, B 1.50 nats a character, 30 characters" in words
    assert "the other loses <b>0.25</b> more: A 1.25, B 1.00" in words
    assert words.index("begun 0") < words.index("begun 1 ")
    assert "goes on from “begun 0" in words
    assert "answers “begun 1" in words
    assert "most telling, by 2.0 nats" in words
    assert "<img" not in words
    assert "begun 11" not in words  # on the second page
    links = [link.proto for link in test.get("page_link") if "feature=150" in link.proto.query_string]
    assert len(links) == 3  # of two texts, and of what was seen
    assert "2 of 12 continuations that SmolLM2-135M-Instruct wrote, where 0 of 1 of Gemma-3-270m" in words
    second = calm(visit(OWN_WORDS, run="demo", page="2"))
    assert "begun 11" in text(second)
    assert "None on this page." in text(second)
    alone = calm(visit(OWN_WORDS, run="demo", whose="b"))
    assert parameter(alone, "whose") == "b"
    assert "begun 0" not in text(alone)


def test_other_pages_say_that_a_finding_was_seen(run: Path) -> None:
    speak(run)
    for page in (FEATURE, SCREEN):
        test = calm(visit(page, run="demo", feature="150"))
        assert "Seen in its own words: 2 of 12 continuations that SmolLM2-135M-Instruct wrote" in text(test)
        [link] = [link.proto for link in test.get("page_link") if "whose=" in link.proto.query_string]
        assert "whose=a" in link.query_string
    assert "Seen in its own words: 0 of 1" in text(calm(visit(SCREEN, run="demo", feature="60")))
