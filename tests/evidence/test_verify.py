"""The verdict by hand-made cases, and `verify` on whole runs: what it writes, keeps and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc import config, pipeline, runs
from dfc.config import EvidenceConfig, UserError
from dfc.evidence import verdict
from dfc.evidence.verdict import Evidence
from dfc.runs import Run
from dfc.store import EVIDENCE_TABLES, attached
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import StoreWriter
from tests import tiny

THRESHOLDS = EvidenceConfig()
NAN = float("nan")
CONVINCING = {
    "firings": 500.0,
    "held_out_firings": 50.0,
    "own_r2": 0.5,
    "other_r2": 0.1,
    "own_auroc": 0.98,
    "other_auroc": 0.7,
    "mirror": 0.05,
    "shared": 0.2,
    "gap": NAN,
    "gap_error": NAN,
}
KNOWS = {"gap": 0.05, "gap_error": 0.01}


def one(**pieces: float) -> Evidence:
    return Evidence(**{name: np.array([value]) for name, value in (CONVINCING | pieces).items()})


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ({}, "exclusive"),
        ({"mirror": NAN, "shared": NAN}, "exclusive"),
        ({"other_r2": -0.3}, "exclusive"),
        ({"firings": 19.0}, "dead"),
        ({"firings": 0.0, "own_r2": NAN, "other_r2": NAN, "mirror": NAN}, "dead"),
        ({"mirror": 0.69}, "exclusive"),
        ({"mirror": 0.7}, "mirrored"),
        ({"mirror": 0.7, "shared": 0.9, "other_r2": 0.5}, "mirrored"),
        ({"shared": 0.6}, "shared-like"),
        ({"other_r2": 0.4, "other_auroc": 0.97}, "shared-like"),
        ({"other_r2": 0.6, "other_auroc": 0.99}, "shared-like"),
        ({"other_r2": 0.4, "other_auroc": 0.7}, "unclear"),
        ({"other_r2": 0.1, "other_auroc": 0.97}, "unclear"),
        ({"other_r2": 0.3}, "exclusive"),
        ({"other_r2": 0.32}, "unclear"),
        ({"own_r2": 0.04, "other_r2": 0.0}, "unclear"),
        ({"own_r2": 0.04, "other_r2": 0.04, "other_auroc": 0.98}, "unclear"),
        ({"own_r2": -0.1, "other_r2": 0.2}, "unclear"),
        ({"own_r2": NAN, "other_r2": NAN, "own_auroc": NAN, "other_auroc": NAN}, "unclear"),
        ({"held_out_firings": 4.0}, "unclear"),
        ({"own_auroc": 0.5, "other_auroc": 0.5}, "unclear"),
        (KNOWS, "exclusive"),
        (KNOWS | {"other_r2": 0.34, "other_auroc": 0.97}, "exclusive"),
        (KNOWS | {"other_r2": 0.35, "other_auroc": 0.97}, "shared-like"),
        (KNOWS | {"other_r2": 0.6, "other_auroc": 0.9}, "exclusive"),
        (KNOWS | {"own_r2": 0.04}, "unclear"),
        (KNOWS | {"held_out_firings": 4.0}, "unclear"),
        (KNOWS | {"mirror": 0.7}, "mirrored"),
        (KNOWS | {"gap": 0.029}, "unclear"),
        (KNOWS | {"gap": -0.5}, "unclear"),
        (KNOWS | {"gap_error": 0.026}, "unclear"),
        (KNOWS | {"gap_error": NAN}, "unclear"),
    ],
)
def test_verdicts(pieces: dict[str, float], expected: str) -> None:
    assert verdict.of(one(**pieces), THRESHOLDS).tolist() == [expected]


def test_thresholds_decide() -> None:
    assert verdict.of(one(), THRESHOLDS.model_copy(update={"exclusive_ratio": 0.1})).tolist() == ["unclear"]
    assert verdict.of(one(), THRESHOLDS.model_copy(update={"mirror_correlation": 0.01})).tolist() == ["mirrored"]


def test_once_surprise_is_measured_a_feature_without_it_is_no_finding() -> None:
    both = Evidence(**{name: np.array([value, value]) for name, value in (CONVINCING | KNOWS).items()})
    both.gap[1] = both.gap_error[1] = NAN
    assert verdict.of(both, THRESHOLDS).tolist() == ["exclusive", "unclear"]
    assert verdict.confidence(both, THRESHOLDS)[1] == 0


@pytest.mark.parametrize(
    "worse",
    [
        {"other_r2": 0.2},
        {"other_auroc": 0.8},
        {"mirror": 0.1},
        {"shared": 0.3},
        {"held_out_firings": 40.0},
        {"own_r2": 0.04, "other_r2": 0.008},
        KNOWS,
    ],
)
def test_every_piece_counts_in_the_confidence(worse: dict[str, float]) -> None:
    assert verdict.confidence(one(**worse), THRESHOLDS)[0] < verdict.confidence(one(), THRESHOLDS)[0]


def test_confidence_is_the_documented_product() -> None:
    gap = 1 - (0.1 / 0.5 + 0.2 / 0.48) / 2
    assert verdict.confidence(one(), THRESHOLDS)[0] == pytest.approx(gap * 0.95 * 0.8 * 50 / 55)
    knows = one(gap=0.05, gap_error=0.01)
    assert verdict.confidence(knows, THRESHOLDS)[0] == pytest.approx(gap * 0.95 * 0.8 * 50 / 55 * 0.04 / 0.07)
    assert verdict.confidence(one(gap=-0.1, gap_error=0.01), THRESHOLDS)[0] == 0
    assert verdict.confidence(one(gap=0.05), THRESHOLDS)[0] == 0, "an error that is not known is no small one"
    assert verdict.confidence(one(firings=19.0), THRESHOLDS)[0] == 0
    assert verdict.confidence(one(own_r2=-0.1), THRESHOLDS)[0] == 0


@given(st.lists(st.floats(-2, 2) | st.just(NAN), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_confidence_stays_within_bounds(pieces: list[float], own: float, other: float) -> None:
    names = ("own_r2", "other_r2", "mirror", "shared")
    found = one(**dict(zip(names, pieces, strict=True)), own_auroc=own, other_auroc=other)
    assert 0 <= verdict.confidence(found, THRESHOLDS)[0] <= 1


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy of the tiny run that may be written to."""
    return Run(Path(shutil.copytree(tiny_run.path, tmp_path / "tiny")))


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()


def test_verify_adds_evidence_and_changes_nothing_else(run: Run) -> None:
    content = run.store.read_bytes()
    unjudged = Store(run.store)
    assert unjudged.evidence(0) is None
    assert unjudged.neighbours(0).empty
    assert unjudged.reference() == {}
    assert unjudged.features(FeatureQuery(alive_only=False))["verdict"].isna().all()

    pipeline.verify(run)
    assert run.store.read_bytes() == content

    store = Store(run.store)
    facts = store.facts()
    assert facts["verified"] is True
    assert facts["evidence"] == EvidenceConfig().model_dump(mode="json")
    assert set(facts["stitch"]) == {"r2_a_to_b", "r2_b_to_a", "r2_around_a", "r2_around_b"}
    assert json.loads(run.provenance.read_text())["verify"]["r2_a_to_b"] == facts["stitch"]["r2_a_to_b"]
    for feature in range(64):
        found, row = store.evidence(feature), store.feature(feature)
        assert found is not None
        assert (found.verdict == "dead") == (row.count < 20)
        if row.partition == "shared":
            assert found.mirror_id is found.shared_id is found.nu_r is found.mirror_correlation is None
            assert found.decoder_cosine is not None
        else:
            assert found.decoder_cosine is None
            if row.alive:
                for other in (found.mirror_id, found.shared_id):
                    assert other is not None
                    assert store.feature(other).partition != row.partition
        assert (not store.neighbours(feature).empty) == row.alive

    proof = attached.evidence_path(run.store)
    after = {table: rows(proof, table) for table in EVIDENCE_TABLES}
    pipeline.verify(run)  # again: the same, once
    assert {table: rows(proof, table) for table in EVIDENCE_TABLES} == after
    assert run.store.read_bytes() == content
    assert sorted(path.name for path in run.path.glob("*.duckdb*")) == ["evidence.duckdb", "features.duckdb"]


def test_the_ratio_is_the_other_model_over_the_own_one(run: Run) -> None:
    pipeline.verify(run)
    store, checked = Store(run.store), 0
    for feature in range(64):
        found = store.evidence(feature)
        assert found is not None
        if found.probe_ratio is None or found.probe_r2_a is None or found.probe_r2_b is None:
            continue
        a, b = found.probe_r2_a, found.probe_r2_b
        own, other = {"a": (a, b), "b": (b, a), "shared": (max(a, b), min(a, b))}[store.feature(feature).partition]
        assert found.probe_ratio == pytest.approx(max(other, 0) / own, rel=1e-5)
        checked += 1
    assert checked > 20


def test_lists_by_verdict_and_confidence(run: Run) -> None:
    pipeline.verify(run)
    store = Store(run.store)
    whole = store.features(FeatureQuery(alive_only=False, order="confidence"))
    assert whole["confidence"].is_monotonic_decreasing
    assert len(whole) == 64
    for found in whole["verdict"].unique():
        query = FeatureQuery(alive_only=False, verdicts=(found,))
        expected = set(whole["feature_id"][whole["verdict"] == found])
        assert set(store.features(query)["feature_id"]) == expected
        assert store.count(query) == len(expected)
    assert whole["verdict"].nunique() > 1


def test_a_failed_write_leaves_the_old_store(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.verify(run)
    proof = attached.evidence_path(run.store)
    before = {table: rows(proof, table) for table in EVIDENCE_TABLES}

    def fail(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(StoreWriter, "facts", fail)  # the last thing that is written
        pipeline.verify(run)
    assert {table: rows(proof, table) for table in EVIDENCE_TABLES} == before
    assert sorted(path.name for path in run.path.glob("*.duckdb*")) == ["evidence.duckdb", "features.duckdb"]
    pipeline.verify(run)


def test_thresholds_may_change_at_any_time(run: Run, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.verify(run)
    shutil.move(run.path, data / "runs" / "tiny")
    pipeline.verify(runs.find("tiny"), again=False)
    assert "other settings" not in capsys.readouterr().err
    settings = runs.find("tiny").config()
    stricter = settings.model_copy(update={"evidence": EvidenceConfig(min_firings=10**9)})
    made = runs.create(stricter)
    assert all(made.done().values())
    pipeline.verify(made, again=False)
    assert "done with other settings; `python -m dfc verify tiny` takes up those of now" in capsys.readouterr().err
    pipeline.verify(made)
    assert Store(made.store).count(FeatureQuery(alive_only=False, verdicts=("dead",))) == 64


def test_a_run_that_is_not_indexed(run: Run) -> None:
    run.store.unlink()
    with pytest.raises(UserError, match="no feature store yet; make it with `python -m dfc index"):
        pipeline.verify(run)


def test_a_model_against_itself_has_nothing_exclusive(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", (tiny_models[0], tiny_models[0]), name="twice")
    settings["models"]["b"]["layer"] = settings["models"]["a"]["layer"]
    settings["crosscoder"] |= {"exclusive_a": 0.25, "exclusive_b": 0.25, "budget_a": 0.25, "budget_b": 0.25}
    run = runs.create(config.parse(settings, origin="twice"))
    pipeline.run_stages(run)
    pipeline.verify(run)
    store = Store(run.store)
    for quality in store.facts()["stitch"].values():
        assert quality > 0.99
    table = store.features(FeatureQuery(alive_only=False, limit=64))
    assert "exclusive" not in set(table["verdict"])
    assert (table["verdict"] == "shared-like").sum() > 10
    ratios = table["probe_ratio"].dropna()
    assert ratios.to_numpy() == pytest.approx(np.ones(len(ratios)), abs=1e-3)


@pytest.mark.parametrize(
    ("choices", "judged"),
    [
        ({"kind": "standard"}, {"shared"}),
        ({"exclusive_a": 0.0}, {"b", "shared"}),
        ({"exclusive_a": 0.5, "exclusive_b": 0.5}, {"a", "b"}),
    ],
)
def test_the_whole_line_where_a_partition_is_empty(
    choices: dict[str, object], judged: set[str], tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    made = runs.create(tiny.tiny_config(tmp_path / "texts", tiny_models, crosscoder=choices))
    pipeline.run_stages(made)
    pipeline.verify(made, again=False)
    written = attached.evidence_path(made.store).stat().st_mtime_ns
    assert set(Store(made.store).verdicts().index) == judged
    pipeline.verify(made, again=False)
    assert attached.evidence_path(made.store).stat().st_mtime_ns == written
