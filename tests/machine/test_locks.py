"""What two would make at once is made once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfc.config import UserError
from dfc.machine import locks


def test_one_makes_it_and_the_others_find_it(tmp_path: Path) -> None:
    target, made = tmp_path / "models" / "made", []

    def make(number: int) -> str:
        with locks.alone(target):
            if not target.exists():
                time.sleep(0.05)
                target.write_text(f"by {number}")
                made.append(number)
            return target.read_text()

    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(make, range(16)))
    assert len(made) == 1
    assert set(read) == {f"by {made[0]}"}
    assert list(target.parent.iterdir()) == [target]


def test_no_two_are_ever_inside_at_once(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work(_: int) -> None:
        with locks.alone(tmp_path / "made"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(64)))
    assert most == [1]


def test_it_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool, locks.alone(tmp_path / "made"):
        waiting = pool.submit(lambda: locks.alone(tmp_path / "made").__enter__())
        time.sleep(0.1)
        assert not waiting.done()
    assert waiting.done()
    assert f"{tmp_path / 'made'}: another process is making it; waiting for it" in capsys.readouterr().err


def test_what_an_error_leaves_keeps_nobody_out(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locks.alone(tmp_path / "made"):
        raise RuntimeError
    with locks.alone(tmp_path / "made"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing can be written there"), locks.alone(tmp_path / "file" / "made"):
        pass
