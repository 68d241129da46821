"""Processes that share a dictionary come to what one comes to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dfc.machine.processes import Group
from tests import processes
from tests.crosscoder import several

FILES = ("model.safetensors", "checkpoint.safetensors")
ODD = {"features": 101}  # 5, 5 and 91: neither two nor three processes divide it


def train(number: int, folder: Path, steps: int, choices: dict[str, Any], scope: str = "total") -> list[dict[str, Any]]:
    """What each of so many processes says."""
    folder.mkdir(exist_ok=True)
    ended = processes.together(
        number, "-m", "tests.crosscoder.several", str(folder), str(steps), json.dumps(choices), scope
    )
    for process in ended:
        assert process.returncode == 0, process.stderr
    said = [json.loads(process.stdout) for process in ended]
    for name in ("losses", "fve", "alike"):
        assert all(one[name] == said[0][name] for one in said), name
    return said


def assert_equal(one: Path, other: Path, **tolerance: float) -> None:
    """The same files, weights, Adam and counters of dead features among them."""
    for file in FILES:
        left, right = load_file(one / file), load_file(other / file)
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            torch.testing.assert_close(right[name], tensor, **tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "choices", "scope"),
    [
        (2, ODD, "per_partition"),
        (3, {**ODD, "budget": "joint"}, "total"),
        (3, {"features": 7, "exclusive_a": 0.2, "exclusive_b": 0.2}, "per_partition"),
    ],
)
def test_they_train_as_one(number: int, choices: dict[str, Any], scope: str, tmp_path: Path) -> None:
    """Losses, weights, Adam, dead counters and FVE; also where a process has no feature of a partition."""
    (tmp_path / "one").mkdir()
    one = several.train(tmp_path / "one", 14, choices, scope)
    said = train(number, tmp_path / "several", 14, choices, scope)
    assert [sum(own) for own in zip(*(each["own"] for each in said), strict=True)] == one["own"]
    assert max(sum(each["own"]) for each in said) - min(sum(each["own"]) for each in said) <= len(one["own"])
    for mine, theirs in zip(one["losses"], said[0]["losses"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
    assert said[0]["fve"] == pytest.approx(one["fve"], abs=1e-5)
    assert any(aux for _, aux in one["losses"]) == (choices["features"] > 7), "AuxK had something to revive"
    assert_equal(tmp_path / "one", tmp_path / "several", rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_another_number_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """The same number to the bit."""
    train(3, tmp_path / "whole", 14, ODD)
    train(3, tmp_path / "three", 8, ODD)
    for name in ("two", "one"):
        shutil.copytree(tmp_path / "three", tmp_path / name)
    train(3, tmp_path / "three", 14, ODD)
    assert_equal(tmp_path / "whole", tmp_path / "three", rtol=0, atol=0)
    train(2, tmp_path / "two", 14, ODD)
    several.train(tmp_path / "one", 14, ODD)
    for name in ("two", "one"):
        assert_equal(tmp_path / "whole", tmp_path / name, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_what_is_sent_does_not_grow_with_the_dictionary(tmp_path: Path) -> None:
    """Reconstructions and the candidates' ranking values, never weights or gradients."""
    reconstructions = 4 * several.ROWS * sum(several.WIDTHS)
    for features in (200, 4_000):
        said = train(2, tmp_path / str(features), 2, {"features": features}, "per_partition")
        assert reconstructions < said[0]["sent"] < 2 * reconstructions, features


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 64])
def test_shares_are_even_and_whole(size: int, count: int) -> None:
    shares = [range(count)[Group(rank, size).share(count)] for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
