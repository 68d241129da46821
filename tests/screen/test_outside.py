"""Both models left alone on a set of prompts: what is kept, measured again, and how the difference is told."""

from __future__ import annotations

import pytest

from dfc import models
from dfc.config import UserError
from dfc.report import outside as told
from dfc.requests import RolloutSampling
from dfc.runs import Run
from dfc.screen import outside
from dfc.screen.outside import Measured
from dfc.store.effects import ALONE, EffectStore
from dfc.store.reader import Store
from tests.tiny import passes

PROMPTS = ("Will it rain?", "The old bridge", "今天会下雨")
SAMPLING = RolloutSampling(2, 8)


def test_a_difference_is_of_answers_that_are_kept(tiny_copy: Run) -> None:
    assert outside.measure(tiny_copy, "mine", PROMPTS, SAMPLING, Measured("length")) == 3
    [found] = told.kept(Store(tiny_copy.store))
    assert (found.prompts, found.asked, found.answered, found.draws) == ("mine", 3, 3, 2)
    kept = EffectStore(tiny_copy.effects)
    [drawn] = {row["drawn"] for row in kept.outsides().to_dict("records")}
    texts = kept.written(ALONE, "", None, drawn)
    assert len(texts) == 3 * 2 * 2
    assert texts.groupby(["side", "prompt"])["text"].nunique().max() == 2
    lengths = texts.assign(value=texts["text"].str.len()).groupby(["side", "prompt"])["value"].mean()
    assert found.a.value == pytest.approx(lengths["a"].mean())
    assert found.difference.value == pytest.approx(lengths["a"].mean() - lengths["b"].mean())
    assert found.difference.low <= found.difference.value <= found.difference.high


def test_another_measure_asks_nobody_again(tiny_copy: Run) -> None:
    outside.measure(tiny_copy, "mine", PROMPTS, SAMPLING, Measured("length"))
    ran = [passes(models.shared(tiny_copy.config().models.side(side))) for side in ("a", "b")]
    outside.measure(tiny_copy, "mine", PROMPTS, SAMPLING, Measured("mentions", (), "."))
    assert ran == [[], []]
    latest, first = told.kept(Store(tiny_copy.store))
    assert (latest.measure, first.measure) == ("mentions", "length")
    assert latest.words == "."
    outside.measure(tiny_copy, "mine", (*PROMPTS, "A boat"), SAMPLING, Measured("length"))
    assert all(sum(rows for rows, _ in calls) > 0 for calls in ran)
    assert told.kept(Store(tiny_copy.store))[0].answered == 4


def test_measures_are_of_the_answer_alone() -> None:
    thought = "<think>I cannot</think>Yes, of course"
    assert Measured("refusal")(thought) == 0
    assert Measured("refusal")("I cannot say that") == 1
    assert Measured("mentions", ("course",))(thought) == 1
    assert Measured("mentions", ("cannot",))(thought) == 0
    assert Measured("coverage", ("yes",))("Yes no") == pytest.approx(0.5)
    assert Measured("length")(thought) == len("Yes, of course")


@pytest.mark.parametrize(
    ("given", "said"),
    [(("charm",), "is none of"), (("mentions",), "needs words"), (("refusal", ("no",)), "looks for no words")],
)
def test_what_cannot_be_measured_is_refused(given: tuple[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Measured(*given)


def test_prompts_without_room_are_counted(tiny_copy: Run) -> None:
    assert outside.measure(tiny_copy, "mine", (*PROMPTS, "rain " * 300), SAMPLING, Measured("length")) == 3
    found = told.kept(Store(tiny_copy.store))[0]
    assert (found.asked, found.answered) == (4, 3)
    assert "on 3 of 4 prompts of mine" in told.sentence(found, {"a": "One", "b": "Two"})
    with pytest.raises(UserError, match="room"):
        outside.measure(tiny_copy, "long", ("rain " * 300,), SAMPLING, Measured("length"))
