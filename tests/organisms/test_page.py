"""The page: what it counts, and that what is not done yet, or failed, is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dfc.organisms import behaviour, page, result
from dfc.organisms.behaviour import Behaviour, Check
from dfc.organisms.page import Study
from dfc.organisms.result import LISTS, Compared, Line, Null
from dfc.organisms.setting import Setting
from dfc.organisms.steered import Shares, Steered
from tests import tiny

GOOD = Check(Behaviour(0.0, 0.0, "Paris."), Behaviour(0.75, 0.05, "In | Lisbon."), 20.0, 20.3, True, 600.0, 0.75)
LINE = Line(7, "shared", "tower", "short chats", 0.5, 0.1, 3, {"false_fact": 4}, "It <b>stands</b> in [Lisbon] | *so*")


def compared(place: int | None, **changes: object) -> Compared:
    ranks = {kind: {"false_fact": place if kind == "findings" else 30, "loyalty": None} for kind in LISTS}
    chance = {kind: {"false_fact": [0.1, 0.4], "loyalty": [0.1, 0.4]} for kind in ("perplexities", "means")}
    made = Compared(90_000, {"false_fact": 0.009, "loyalty": 0.008}, 40, ranks, chance, [LINE])
    return replace(made, **changes)  # type: ignore[type-var]


@pytest.fixture
def how(tmp_path: Path) -> Setting:
    return Setting(tmp_path, tiny.tiny_config(tmp_path / "texts", (tmp_path / "one", tmp_path / "two")))


def test_what_is_counted(how: Setting, tmp_path: Path) -> None:
    steered = Steered(7, [0.5, 1.0], Shares(0.0, [0.1, 0.5], [0.0, 0.1]), Shares(1.0, [0.8, 0.2], [0.9, 1.0]))
    assert steered.gain == pytest.approx(0.4)
    assert steered.loss == pytest.approx(0.7)
    assert steered.moves
    study = Study(
        {"false_fact": GOOD},
        {"false_fact": compared(12, steered=steered)},
        compared(None),
        {
            "twins": Null(
                900, 3, 0.06, {"10": 2, "25": 2, "100": 2}, {"10": 10, "25": 25, "100": 60}, 0.05, ("A: *d* [x]",)
            )
        },
    )
    assert page.summary(study).splitlines()[2:] == [
        "| findings | 0 of 1 | 1 of 1 | – | – |",
        "| queue of Screen | 0 of 1 | 0 of 1 | – | – |",
        "| perplexity differencing | 0 of 1 | 0 of 1 | 0.1 | 0.4 |",
        "| mean activations | 0 of 1 | 0 of 1 | 0.1 | 0.4 |",
        "| relative norms | 0 of 1 | 0 of 1 | – | – |",
        "| dedicated features | 0 of 1 | 0 of 1 | – | – |",
    ]
    text = page.write(study, how, tmp_path, "python -m dfc organisms").read_text(encoding="utf-8")
    assert "| `false_fact` | 12 of 40 | – | – | 30 | 30 | 30 | 30 | 30 |" in text
    assert "| `false_fact` | 7 | 0% → 50% (10%) | 100% → 20% (90%) | yes |" in text
    assert "| 0% → 75% | 0% → 5% | yes | 20.00 → 20.30 (+1.5%) | yes | 75% | 10 min | In &#124; Lisbon. |" in text
    assert "counted: 0.90% to 0.90% of the pairs" in text
    assert "| two seeds of a planted model | 2 (10) | 2 (25) | 2 (60) | 900 | 3 | 6.0% |" in text
    assert "| a generic fine-tune | not judged yet |" in text
    assert "- two seeds of a planted model: A: &#42;d&#42; &#91;x&#93;" in text
    assert "<b>" not in text, "a stranger's text is no mark-up"
    assert "4 × false_fact" in text
    assert "- `loyalty`: not trained yet." in text
    first = replace(study, organisms={"false_fact": compared(1)})
    assert "| `false_fact` | 1 of 40 | – | tower &#40;short chats&#41; | 30 |" in page._ranks(first)


def test_what_was_compared_before_there_was_a_queue_is_read_without_it(tmp_path: Path) -> None:
    old = compared(12)
    old = replace(old, ranks={kind: ranks for kind, ranks in old.ranks.items() if kind != "queue"})
    result.write(tmp_path, "false_fact", old)
    study = page.read(tmp_path)
    assert page.summary(study).splitlines()[2:4] == [
        "| findings | 0 of 1 | 1 of 1 | – | – |",
        "| queue of Screen | – | – | – | – |",
    ]
    assert "| `false_fact` | 12 of 40 | not compared | – | – | 30 | 30 | 30 | 30 |" in page._ranks(study)
    both = replace(study, organisms=study.organisms | {"loyalty": replace(compared(3), ranks=_as("loyalty", 3))})
    assert "| queue of Screen | 1 of 1 | 1 of 1 | – | – |" in page.summary(both)
    assert page._targets(both).splitlines()[3] == (
        "| more in the first 10 than by any other list | 1, 1 | **missed** |"
    ), "the queue is ours, too, and no rival"


def _as(name: str, place: int) -> dict[str, dict[str, int | None]]:
    return {kind: {"false_fact": None, name: place} for kind in LISTS}


def test_what_was_asked_for_is_held_against_what_came() -> None:
    null = Null(900, 3, 0.06, {"10": 0, "25": 1, "100": 4}, {"10": 10, "25": 25, "100": 60}, 0.05)
    study = Study({"false_fact": GOOD}, {"false_fact": compared(12)}, None, {"twins": null})
    assert page._targets(study).splitlines()[2:] == [
        "| 4 of 8 quirks in the first 10 | 0 | **missed** |",
        "| more in the first 10 than by any other list | 0, 0 | **missed** |",
        "| 6 of 8 quirks in the first 25 | 1 | **missed** |",
        "| more in the first 25 than by any other list | 1, 0 | met |",
        "| training in 30 minutes | 10 min at most | met |",
        "| `twins`: at most 5 % of a real pair's findings | 0% / 4% / 7% | **missed** |",
        "| `twins`: p ≤ 5 % for at most twice as many | 6.0% | met |",
    ]
    assert page._targets(Study({}, {}, None, {})) == "Nothing was done yet."


def test_what_failed_is_said(how: Setting, tmp_path: Path) -> None:
    lost = replace(GOOD, after=Behaviour(0.3, 0.0, ""), perplexity_after=21.0, as_before=False)
    study = Study({"false_fact": GOOD, "loyalty": lost}, {"false_fact": compared(None)}, None, {})
    text = page.write(study, how, tmp_path, "x").read_text(encoding="utf-8")
    failed = text.split("## What failed")[1]
    assert "- `false_fact`: no finding of it among the first 25; the texts on which it could show are 0.90%" in failed
    assert "- `loyalty`: did not take, or not only where it should." in failed
    assert "- `loyalty`: the perplexity on ordinary texts changed by +5.0%." in failed
    assert "- `loyalty`: not compared yet." not in failed


def test_a_quirk_that_spreads_has_not_taken() -> None:
    assert GOOD.taken
    assert not replace(GOOD, after=Behaviour(0.75, 0.2, "")).taken
    assert not replace(GOOD, before=Behaviour(0.5, 0.0, "")).taken
    assert behaviour.is_near(19.6, 20.0, 0.02)
    assert not behaviour.is_near(19.5, 20.0, 0.02)
    assert not behaviour.is_near(20.5, 20.0, 0.02)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    steered = Steered(7, [0.5], Shares(0.0, [0.5], [0.0]), Shares(1.0, [0.2], [1.0]))
    for name, made in (("false_fact", compared(3, steered=steered)), ("untrained", compared(None))):
        result.write(tmp_path, name, made)
        assert result.read(tmp_path, name, Compared) == made
    result.write(tmp_path, "false_fact-check", GOOD)
    made = {"false_fact": compared(3, steered=steered)}
    assert page.read(tmp_path) == Study({"false_fact": GOOD}, made, compared(None), {})
