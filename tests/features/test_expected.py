from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dfc.config import SIDES
from dfc.features import expected, live
from dfc.features.live import Live, Reading
from dfc.features.token_names import token_names
from dfc.runs import Run

TEXT = "the old bridge and the river carried a boat under the old bridge while people watched"


@pytest.fixture(scope="module")
def opened(tiny_run: Run) -> Live:
    return live.open_run(tiny_run)


@pytest.fixture(scope="module")
def reading(opened: Live) -> Reading:
    return live.read(opened, live.prompt([("text", TEXT)]))


def test_what_is_lost_is_what_the_models_say(opened: Live, reading: Reading) -> None:
    found = expected.expected(opened, reading)
    for side in SIDES:
        model, ids = opened.models[side], reading.ids[side]
        with torch.no_grad():
            logs = model.model(torch.tensor([ids])).logits[0].double().log_softmax(dim=1)
        lost = [-float(logs[place - 1, ids[place]]) for place in range(1, len(ids))]
        assert math.isnan(found.lost[side][0])
        np.testing.assert_allclose(found.lost[side][1:], lost, rtol=1e-4, atol=1e-4)
        best, logp = found.likeliest[side][5][0]
        assert best == token_names(model.tokenizer, logs.shape[1])[int(logs[4].argmax())]
        assert found.likeliest[side][5][-1][1] == pytest.approx(-lost[4], abs=1e-4)
        assert logp == pytest.approx(float(logs[4].max()), abs=1e-4)
        assert found.likeliest[side][0] == []


def test_both_models_are_compared_over_the_same_characters(opened: Live, reading: Reading) -> None:
    found = expected.expected(opened, reading)
    known = np.isfinite(found.gap)
    assert not known[0]
    assert known[1:].all()
    for side in SIDES:
        first, last = reading.index[side][[0, -1]]
        assert found.between[side][1:].sum() == pytest.approx(found.lost[side][first + 1 : last + 1].sum(), rel=1e-4)
        said = "".join(reading.tokens[side][first + 1 : last + 1])
        assert found.characters.sum() == len(said)
        assert found.a_character(side) == pytest.approx(found.between[side][1:].sum() / len(said), rel=1e-4)


def test_what_a_template_puts_between_pairs_is_not_compared() -> None:
    reading = Reading(
        source="",
        tokens={"a": ["one", "<end>", " two", " three"], "b": ["one", " two", " th", "ree"]},
        index={"a": np.array([0, 2, 3]), "b": np.array([0, 1, 3])},
        kept=np.ones(3, bool),
        cut=(),
        rows=np.array([], np.int64),
        features=np.array([], np.int64),
        values=np.array([], np.float32),
        ids={"a": [], "b": []},
        why=np.zeros(3, np.uint8),
    )
    lost = {
        "a": np.array([np.nan, 1.0, 2.0, 4.0], np.float32),
        "b": np.array([np.nan, 8.0, 16.0, 32.0], np.float32),
    }
    found = expected.paired(reading, lost, {"a": [], "b": []})
    np.testing.assert_array_equal(found.gap, [np.nan, np.nan, 44.0])
    assert found.characters.tolist() == [0, 0, 6]
    assert found.a_character("b") == 8.0


def test_a_lead_in_lets_the_first_words_count(opened: Live, reading: Reading) -> None:
    lead = "people watched a boat and the river"
    led = live.read(opened, live.prompt([("text", f"{lead} {TEXT}")]), lead=len(lead))
    assert reading.why[0] == live.FIRST
    texts = np.array(led.tokens["a"], object)[led.index["a"]]
    counts = led.why == 0
    assert texts[counts][0].strip() == "the"
    assert counts.sum() > reading.kept.sum()
    assert set(led.why[~counts]) == {live.LEAD}  # its first token, too
