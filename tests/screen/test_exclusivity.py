"""The exclusivity score on tiny models: texts of both, what is kept of them, and how alike they are told to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dfc import models
from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.models import embedder
from dfc.report import exclusivity as told
from dfc.report.bootstrap import Figure
from dfc.report.exclusivity import Likeness
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.screen import exclusivity, likeness
from dfc.screen.exclusivity import Setting, Way
from dfc.steering import edits, generation, stitch_file, vectors
from dfc.steering.edits import Action, Program
from dfc.store.effects import ALONE, EffectStore
from dfc.store.reader import FeatureQuery, Store
from tests.asking import served
from tests.tiny import make_encoder, passes

SETTING = Setting((1.0, 4.0), ("Will it rain?", "The old bridge"), 6)


@pytest.fixture
def run(tiny_copy: Run) -> Run:
    torch.manual_seed(0)
    stitch_file.save(tiny_copy, torch.randn(40, 32), torch.randn(32, 40), {"r2_a_to_b": 0.5, "r2_b_to_a": 0.25})
    return tiny_copy


@pytest.fixture
def way(tmp_path: Path) -> Way:
    return likeness.by_encoder(embedder.load(make_encoder(tmp_path / "encoder"), "cpu"))


def alive(run: Run, partition: str, place: int = 0) -> int:
    query = FeatureQuery(partitions=(partition,), limit=place + 1, order="density")  # type: ignore[arg-type]
    return int(Store(run.store).features(query)["feature_id"][place])


def test_both_models_write_under_the_feature_and_alone(run: Run, way: Way) -> None:
    feature = alive(run, "b")
    assert list(exclusivity.measure(run, [feature], SETTING, way)) == [feature]
    kept, fingerprint = EffectStore(run.effects), Store(run.store).feature(feature).fingerprint
    texts = kept.written(feature, fingerprint, 0.25, SETTING.drawn)
    alone = kept.written(ALONE, "", None, SETTING.drawn)
    assert len(texts) == len(alone) == 2 * 2 * 2
    assert set(alone["strength"]) == {0.0}
    row = texts[(texts["side"] == "a") & (texts["strength"] == 4) & (texts["prompt"] == "Will it rain?")].iloc[0]
    model = models.shared(run.config().models.a)
    sampling = Sampling(6, 0.7, 0.9, int(row["seed"]))
    program = edits.program(run, [Edit("a", feature, strength=4.0)], "a")
    [answer] = generation.generate(model, Prompt("Will it rain?", chat=True), sampling, [program])
    assert row["text"] == answer.text
    [found] = told.kept(Store(run.store), [feature])[feature]
    assert (found.by, found.texts, found.strengths, found.r2) == ("encoder", 4, (1.0, 4.0), 0.25)
    assert found.score is None
    assert "no judge was asked" in told.sentence(found)
    assert -1 <= found.steered.value <= 1
    assert found.random is not None
    assert f"with random directions as long by {found.random.value:.3f} (" in told.sentence(found)


def test_random_directions_are_written_with_at_the_same_places_and_draws(run: Run, way: Way) -> None:
    feature = alive(run, "b")
    list(exclusivity.measure(run, [feature], SETTING, way))
    kept, fingerprint = EffectStore(run.effects), Store(run.store).feature(feature).fingerprint
    drawn = json.dumps(json.loads(SETTING.drawn) | {"direction": "random"})
    texts = kept.written(feature, fingerprint, 0.25, drawn)
    own = kept.written(feature, fingerprint, 0.25, SETTING.drawn)
    places = ["side", "prompt", "strength", "seed"]
    assert texts[places].equals(own[places])
    draw = vectors.random_pairs(run, feature, crosscoder_model.load(run.crosscoder))
    for row in texts[(texts["strength"] == 4)].itertuples():
        edit = Edit(row.side, feature, strength=4.0)  # type: ignore[arg-type]
        action = Action(edit, draw(int(row.seed))[row.side])  # type: ignore[index, call-overload]
        model = models.shared(run.config().models.side(row.side))  # type: ignore[arg-type]
        sampling = Sampling(6, 0.7, 0.9, int(row.seed))  # type: ignore[call-overload]
        prompt = Prompt(str(row.prompt), chat=True)
        [answer] = generation.generate(model, prompt, sampling, [Program((action,))])
        assert row.text == answer.text
    [found] = told.kept(Store(run.store), [feature])[feature]
    alike = kept.alike({feature: fingerprint})
    values = alike[alike["drawn"] == drawn].set_index(places[1:])["value"]
    mine = alike[(alike["drawn"] == SETTING.drawn) & (alike["feature_id"] == feature)].set_index(places[1:])["value"]
    assert found.random is not None
    assert found.above is not None
    assert found.random.value == pytest.approx(values.mean())
    assert found.above.value == pytest.approx((mine - values).mean())


def test_an_interrupted_one_goes_on_and_another_way_reads_what_was_written(run: Run, way: Way) -> None:
    first, second = alive(run, "a"), alive(run, "b")
    begun = exclusivity.measure(run, [first, second], SETTING, way)
    assert next(begun) == first
    begun.close()
    assert list(exclusivity.measure(run, [first, second], SETTING, way)) == [first, second]
    ran = [passes(models.shared(run.config().models.side(side))) for side in ("a", "b")]
    other = Way("encoder", "another", lambda pairs: ((number, 0.5) for number in range(len(pairs))))
    assert list(exclusivity.measure(run, [first], SETTING, other)) == [first]
    assert ran[0] == ran[1] == []
    ways = told.kept(Store(run.store), [first])[first]
    assert {one.name for one in ways} == {"another", way.name}
    [made_up] = [one for one in ways if one.name == "another"]
    assert made_up.beyond.value == 0
    assert made_up.above is not None
    assert made_up.above.value == 0


def test_a_judge_rates_from_1_to_5_and_what_it_does_not_rate_is_counted(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    feature = alive(run, "a")
    with served.serving() as endpoint:
        answers = iter(["4"] * 4 + ["2", "nothing", "2", "1"] + ["3.5"] * 4)
        endpoint.answer = lambda body: served.says(next(answers))
        way = likeness.by_judge(endpoint.judge(parallel=1))
        assert list(exclusivity.measure(run, [feature], SETTING, way)) == [feature]
        asked = endpoint.asked[0][2]["messages"]
        assert "1: nothing in common" in asked[0]["content"]
        assert "Will it rain?" in asked[1]["content"]
        assert "1 of 4 pairs of texts are not rated" in capsys.readouterr().err
        endpoint.answer = lambda body: served.says("3")
        assert list(exclusivity.measure(run, [feature], SETTING, way)) == [feature]
        assert len(endpoint.asked) == 13
    [found] = told.kept(Store(run.store), [feature])[feature]
    assert found.score is not None
    assert found.score.value == pytest.approx(6 - np.mean([2, 3, 2, 1]))
    assert found.alone.value == 4
    assert found.beyond.high < 0
    assert found.random_score is not None
    assert found.random_score.value == 2.5
    assert found.plain()["random_score"]["value"] == 2.5
    good: list[str] = []
    told.weigh([found], good, [])
    assert "less alike than random directions do, by the judge" in good[0]
    assert told.sentence(found).startswith("Exclusivity score 4.0 of 5 (")
    assert "random directions as long have 2.5 (2.5 to 2.5), both models left alone would have 2.0" in told.sentence(
        found
    )


def test_texts_from_before_random_directions_were_tried_are_held_against_models_left_alone() -> None:
    figure = Figure(2.0, 1.5, 2.5)
    before = Likeness("judge", "m", 8, (1, 4), figure, figure, Figure(-1, -2, -0.5), 0.3)
    assert "random directions were not tried yet" in told.sentence(before)
    assert before.plain()["random_score"] is None
    good: list[str] = []
    told.weigh([before], good, [])
    assert "less alike than left alone" in good[0]
    after = replace(before, random=figure, above=Figure(0.0, -0.5, 0.5))
    told.weigh([after], good, good)
    assert len(good) == 1, "no more than a random direction"


def test_shared_features_and_runs_without_a_stitch_are_refused(run: Run, way: Way) -> None:
    shared = alive(run, "shared")
    with pytest.raises(UserError, match="is shared: both models have a vector"):
        list(exclusivity.measure(run, [shared], SETTING, way))
    run.stitch.unlink()
    with pytest.raises(UserError, match="no stitch yet"):
        list(exclusivity.measure(run, [alive(run, "a")], SETTING, way))
    with pytest.raises(UserError, match="strengths other than 0"):
        Setting((0.0, 1.0))
