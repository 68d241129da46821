"""Stability: matching by hand and against brute force, and whole runs that differ in their seed or kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dfc import pipeline, runs
from dfc.activations import sharing
from dfc.config import DamagedError, UserError, VersionError
from dfc.crosscoder.model import Codes
from dfc.evidence import correlation
from dfc.machine import disk
from dfc.runs import Run
from dfc.worlds import stability, stability_result
from dfc.worlds.stability_result import StabilityResult


def sparse(z: npt.NDArray[np.float64]) -> Codes:
    """Codes of dense activations (pairs, features), sorted by feature."""
    features, rows = z.T.nonzero()
    return Codes(torch.tensor(rows), torch.tensor(features), torch.tensor(z[rows, features], dtype=torch.float32))


def test_matching_by_hand() -> None:
    one = np.array([[1.0, 0, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0]])
    # The same as the second, twice the first (and a little), and one that never fires.
    two = np.array([[0.0, 2, 0], [0, 4, 0], [1, 0, 0], [3, 0, 0], [0, 0.2, 0]])
    left, right = stability.match(sparse(one), 4, sparse(two), 3, 5, threshold=0.5)
    assert left.ids.tolist() == [1, 0, -1, -1]  # the third is most like the one that the first has
    assert right.ids.tolist() == [1, 0, -1]
    assert left.correlations[1] == right.correlations[0] == pytest.approx(1)
    assert left.correlations[0] == pytest.approx(np.corrcoef(one[:, 0], two[:, 1])[0, 1], abs=1e-6)
    assert np.isnan(left.correlations[2:]).all()
    stricter, _ = stability.match(sparse(one), 4, sparse(two), 3, 5, threshold=0.9999)
    assert stricter.ids.tolist() == [-1, 0, -1, -1]


def test_matching_against_all_correlations(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    common = generator.random((200, 9))
    one = np.where(common[:, :7] > 0.6, common[:, :7], 0)
    two = np.where(common[:, 2:] + 0.2 * generator.random((200, 7)) > 0.7, common[:, 2:], 0)
    monkeypatch.setattr(correlation, "_BLOCK_BYTES", 2 * 8 * 7)  # several blocks, the last one smaller
    left, right = stability.match(sparse(one), 7, sparse(two), 7, 200, threshold=0.1)
    table = np.corrcoef(one.T, two.T)[:7, 7:]
    matched = 0
    for row in range(7):
        column = int(table[row].argmax())
        mutual = table[row, column] >= 0.1 and table[:, column].argmax() == row
        assert left.ids[row] == (column if mutual else -1)
        if mutual:
            assert right.ids[column] == row
            assert left.correlations[row] == right.correlations[column] == pytest.approx(table[row, column], abs=1e-5)
            matched += 1
    assert matched >= 5
    assert (right.ids >= 0).sum() == matched


def test_a_run_and_one_of_another_seed(tiny_copy: Run) -> None:
    [other] = stability.more_seeds(tiny_copy, 1)
    assert other.name == "tiny-seed1"
    assert other.config().training.seed == tiny_copy.config().training.seed + 1
    rows = Path("activations/a/00000.rows")
    assert (tiny_copy.made_for, other.made_for) == ("", "tiny")
    assert os.path.samefile(tiny_copy.path / rows, other.path / rows)
    assert runs.find("tiny-seed1").done() == {
        "pair": True,
        "harvest": True,
        "train": True,
        "encode": False,
        "index": False,
    }
    weights = (other.crosscoder / "model.safetensors").stat().st_mtime_ns
    assert stability.more_seeds(tiny_copy, 1) == [other]
    assert (other.crosscoder / "model.safetensors").stat().st_mtime_ns == weights

    pipeline.verify(tiny_copy)
    assert stability_result.read(tiny_copy) is None
    mine, theirs = stability.compare([tiny_copy, other])
    assert stability_result.read(tiny_copy) == mine
    assert stability_result.read(other) == theirs
    assert (mine.runs, theirs.runs) == (["tiny-seed1"], ["tiny"])
    assert mine.findings
    there_and_back = 0
    for feature, matches in mine.findings.items():
        assert len(matches) <= 1
        for match in matches:
            assert match.correlation >= mine.threshold
            if match.verdict == "exclusive":
                [back] = theirs.findings[match.feature_id]
                assert (back.feature_id, back.correlation) == (feature, match.correlation)
                there_and_back += 1
    assert set(mine.matched) == {"a", "b", "shared"}
    assert stability.summary(mine).startswith(f"{len(mine.findings)} findings: ")
    assert f"{there_and_back} of " in stability.summary(mine)


def test_a_run_and_its_copy_match_wholly(tiny_copy: Run) -> None:
    twin = runs.create(tiny_copy.config().model_copy(update={"name": "twin"}))
    sharing.whole(tiny_copy, twin)
    for path in tiny_copy.crosscoder.iterdir():
        if path.is_file():
            (twin.path / "crosscoder").mkdir(exist_ok=True)
            (twin.path / "crosscoder" / path.name).write_bytes(path.read_bytes())
    mine, theirs = stability.compare([tiny_copy, twin])
    assert mine.findings.keys() == theirs.findings.keys()
    assert set(mine.matched.values()) == {1.0}
    for feature, [match] in mine.findings.items():
        assert (match.run, match.feature_id, match.verdict) == ("twin", feature, "exclusive")
        assert match.correlation == pytest.approx(1, abs=1e-4)
    assert mine.groups
    assert [group.finding for group in mine.groups] == list(range(len(mine.groups)))
    for group in mine.groups:
        [other] = group.counterparts
        assert (other.run, other.finding, other.feature_id) == ("twin", group.finding, group.feature_id)
        assert other.correlation == pytest.approx(1, abs=1e-4)
        assert other.overlap == other.largest == pytest.approx(1, abs=1e-4)
        assert (group.by_firing(0.99), group.by_span(0.99)) == (1, 1)
    count = len(mine.groups)
    told = stability_result.groups_in_words(mine)
    assert told.startswith(
        f"of the first {count} findings {count} fire like one of every other run, passage by passage"
    )
    assert f"and {count} have its span" in told


def test_a_run_judged_without_surprise_has_no_groups(tiny_copy: Run) -> None:
    pipeline.verify(tiny_copy, surprised=False)
    judged = stability._judged(tiny_copy)
    assert judged.rule == "probes"
    assert set(judged.membership.finding.tolist()) == {-1}
    assert set(judged.membership.knows.tolist()) == {""}


def test_what_is_refused(tiny_copy: Run) -> None:
    with pytest.raises(UserError, match="needs two different runs or more"):
        stability.compare([tiny_copy, tiny_copy])
    twin = runs.create(tiny_copy.config().model_copy(update={"name": "twin"}))
    with pytest.raises(UserError, match="has no activations to train on; make them with `python -m dfc harvest"):
        stability.more_seeds(twin, 1)
    sharing.whole(tiny_copy, twin)
    manifest = json.loads((twin.activations / "manifest.json").read_text())
    manifest["a"]["layer"] += 1
    disk.write_json(twin.activations / "manifest.json", manifest)
    with pytest.raises(UserError, match=r"twin: holds other activations than .*tiny; runs are compared over the same"):
        stability.compare([tiny_copy, twin])
    assert json.loads((tiny_copy.activations / "manifest.json").read_text()) != manifest  # links, not one file
    (tiny_copy.path / "stability.json").write_text('{"findings": []}')
    with pytest.raises(UserError, match=r"stability\.json: is damaged .*; make it again with `python -m dfc stability"):
        stability_result.read(tiny_copy)


def test_a_summary_counts_by_the_number_of_runs() -> None:
    def match(run: str, verdict: str) -> stability_result.Match:
        return stability_result.Match(run, 1, 0.8, "a", verdict)  # type: ignore[arg-type]

    findings = {3: [match("x", "exclusive"), match("y", "unclear")], 5: [match("y", "exclusive")], 8: []}
    result = StabilityResult(["x", "y"], 100, 0.5, findings, {"a": 0.5, "shared": 0.75})
    assert stability.summary(result) == (
        "3 findings: 1 in 2 of 2, 1 in 1 of 2, 1 in 0 of 2 other runs; 2 of 3 matches exclusive there, too; "
        "matched of all: a 50%, shared 75%"
    )


def test_groups_from_a_stranger_are_refused(tiny_copy: Run) -> None:
    other = {
        "run": "x",
        "finding": 0,
        "feature_id": 1,
        "correlation": 0.8,
        "overlap": None,
        "largest": 1,
        "elsewhere": 0,
    }
    group = {"finding": 0, "side": "a", "feature_id": 1, "members": 2, "counterparts": [other]}
    result = {"runs": ["x"], "pairs": 9, "threshold": 0.5, "findings": {}, "matched": {}, "groups": [group]}
    disk.write_json(tiny_copy.stability, result)
    read = stability_result.read(tiny_copy)
    assert read is not None
    assert read.groups[0].counterparts[0].correlation == 0.8
    for place, key, value in ((group, "side", "<b>"), (other, "run", "../x"), (other, "overlap", "<i>")):
        kept, place[key] = place[key], value
        disk.write_json(tiny_copy.stability, result)
        with pytest.raises(DamagedError, match=r"stability\.json: is damaged .* is no "):
            stability_result.read(tiny_copy)
        place[key] = kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", 'a" onmouseover="x'),
        ("verdict", "<img src=x>"),
        ("run", "../../elsewhere"),
        ("feature_id", "<b>1</b>"),
        ("correlation", "<i>"),
    ],
)
def test_a_result_from_a_stranger_is_refused(key: str, value: str, tiny_copy: Run) -> None:
    match = {"run": "x", "feature_id": 1, "correlation": 0.8, "partition": "a", "verdict": "exclusive"}
    result = {"runs": ["x"], "pairs": 9, "threshold": 0.5, "findings": {"3": [match]}, "matched": {"a": 0.5}}
    disk.write_json(tiny_copy.stability, result)
    assert stability_result.read(tiny_copy) is not None
    match[key] = value
    disk.write_json(tiny_copy.stability, result)
    with pytest.raises(DamagedError, match=r"stability\.json: is damaged .* is no "):
        stability_result.read(tiny_copy)
    disk.write_json(tiny_copy.stability, {**result, "findings": {}, "dialect": 1})
    with pytest.raises(VersionError, match=r"was made by another version .*'dialect'"):
        stability_result.read(tiny_copy)
