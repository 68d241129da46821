"""`python -m dfc contrast` and `python -m dfc prompt` on tiny models."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dfc.cli
from dfc.features import live
from dfc.runs import Run
from dfc.screen import reading
from dfc.store.reader import Store
from tests import tiny
from tests.cli.told import printed, refused, told


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Twelve English texts and ten Chinese ones, of which one stands there twice and one is too short to count."""
    folder, draw = tmp_path_factory.mktemp("sets"), random.Random(3)
    english = [" ".join(draw.choices(tiny.ENGLISH, k=20)) for _ in range(12)]
    chinese = ["".join(draw.choices(tiny.CHINESE, k=30)) for _ in range(10)]
    rows = [{"text": text} for text in chinese]
    (folder / "english.txt.jsonl").write_text("\n".join(json.dumps({"prompt": text}) for text in english))
    (folder / "chinese.jsonl").write_text("\n".join(json.dumps(row) for row in [*rows, rows[0], {"text": "雨"}]))
    return str(folder / "english.txt.jsonl"), str(folder / "chinese.jsonl")


def test_what_tells_two_languages_apart(tiny_run: Run, sets: tuple[str, str]) -> None:
    run = str(tiny_run.path)
    found = told("contrast", run, "--sets", *sets, "--first", "100")
    first, second = found["sets"]
    assert (first["prompts"], second["prompts"], second["left_out"], second["cut"]) == (12, 10, 1, 0)
    assert second["remarks"] == ["left out 1 duplicates, the first at chinese.jsonl:11"]
    assert [one.get("side") or one["partition"] for one in found["lists"]] == ["a", "b", "a", "b", "shared"]
    assert [one["tested"] for one in found["lists"][:2]] == [0, 0], "this run has no findings"
    rows = [row for one in found["lists"] for row in one["rows"]]
    assert len(rows) == sum(one["tested"] for one in found["lists"])
    assert max(abs(row["auroc"] - 0.5) for row in rows) > 0.45
    assert any(row["passes"] for row in rows)
    for row in rows:
        assert row["low"] <= row["auroc"] <= row["high"]
        assert sum(row["fires_on"]) >= 5
        assert row["example"]["set"] == sets[0 if row["auroc"] >= 0.5 else 1]

    turned = told("contrast", run, "--sets", *reversed(sets), "--first", "100")
    other = {row["feature_id"]: row for one in turned["lists"] for row in one["rows"]}
    for row in rows:
        assert other[row["feature_id"]]["auroc"] == pytest.approx(1 - row["auroc"])

    shown = printed("contrast", run, "--sets", *sets, "--first", "1")
    assert f"{sets[1]}: 10 prompts, " in shown
    assert "1 prompts left out, of which no token counts; left out 1 duplicates" in shown
    assert "features, only A: " in shown


def test_scores_are_the_strongest_activations_of_texts_read_alone(tiny_run: Run, sets: tuple[str, str]) -> None:
    from dfc.screen import prompts

    opened, chosen = live.open_run(tiny_run), prompts.read(sets[0])
    advanced: list[int] = []
    found = reading.read(opened, chosen, advance=advanced.append)
    assert sum(advanced) == len(chosen.documents)
    dense = found.scores.dense(0, opened.crosscoder.config.features)
    for number, document in enumerate(chosen.documents):
        alone = live.read(opened, document)
        values = np.stack([alone.activations(feature) for feature in range(dense.shape[1])])
        np.testing.assert_allclose(dense[number], np.nanmax(values, axis=1), rtol=1e-3, atol=1e-3)
        assert found.pairs[number] == alone.kept.sum()


def test_whoever_stops_it_is_told(tiny_run: Run, sets: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "read_together", stop)
    result = CliRunner().invoke(dfc.cli.app, ["contrast", str(tiny_run.path), "--sets", *sets])
    assert (result.exit_code, result.stdout) == (130, "")
    assert "contrast: stopped; nothing was written" in result.stderr


def test_a_set_is_not_contrasted_with_itself(tiny_run: Run, sets: tuple[str, str]) -> None:
    said = refused("contrast", str(tiny_run.path), "--sets", sets[0], sets[0])
    assert "hold the same prompts, so nothing tells them apart" in said


def test_what_cannot_be_contrasted_is_one_sentence(tiny_run: Run, sets: tuple[str, str], tmp_path: Path) -> None:
    run, one, short = str(tiny_run.path), tmp_path / "one.txt", tmp_path / "short.jsonl"
    one.write_text("only one")
    short.write_text("\n".join(json.dumps({"text": text}) for text in ("a", "b", "c")))
    unknown = refused("contrast", run, "--sets", "nowhere", sets[0])
    assert "nowhere: is neither a set of prompts (beginnings, " in unknown
    assert "one.txt: holds 1 of the prompts that a contrast needs" in refused(
        "contrast", run, "--sets", sets[0], str(one)
    )
    assert "short.jsonl: of 3 prompts 0 have tokens that count" in refused(
        "contrast", run, "--sets", sets[0], str(short)
    )


def test_a_text_that_both_models_read(tiny_run: Run, tmp_path: Path) -> None:
    run, text = str(tiny_run.path), "the old bridge and the river carried a boat under the old bridge"
    found = told("prompt", run, "--text", text, "--nats", "--first", "5")
    assert "".join(found["models"]["a"]["tokens"]) == text
    assert found["models"]["b"]["nats"] > 0
    assert found["pairs"][0]["left_out"] == "at the first positions"
    assert found["pairs"][-1]["left_out"] is None
    assert len(found["features"]) == 5
    reading_of = live.read(live.open_run(tiny_run), live.prompt([("text", text)]))
    for row in found["features"]:
        values = reading_of.activations(row["feature_id"])
        assert row["max"] == pytest.approx(float(np.nanmax(values)), rel=1e-3)
        assert row["share"] == pytest.approx(row["max"] / Store(tiny_run.store).feature(row["feature_id"]).max)
    assert "pairs count; features nearest to their strongest" in printed("prompt", run, "--document", "0")
    chat = tmp_path / "chat.json"
    chat.write_text(json.dumps({"messages": [{"role": "user", "content": "Will it rain under the bridge?"}]}))
    assert "".join(told("prompt", run, "--chat", str(chat))["models"]["b"]["tokens"]).startswith("User: Will it rain")
