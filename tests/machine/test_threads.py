"""As many threads as there are cores that nobody else keeps busy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dfc.config import UserError
from dfc.machine import threads


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of 4 cores; the number of threads is put back."""
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_cores", lambda: 4)
    monkeypatch.setattr(threads, "_usual", 4)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _busy(monkeypatch: pytest.MonkeyPatch, stat: Path, cores: float) -> None:
    """So many cores have been busy for ten seconds, besides this process."""
    tick = os.sysconf("SC_CLK_TCK")
    stat.write_text(f"cpu {round((100 + 10 * cores) * tick)} 0 0 999 5 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\n")
    monkeypatch.setattr(threads, "_STAT", stat)
    monkeypatch.setattr(threads, "_last", threads._Reading(100.0, time.process_time(), time.monotonic() - 10))


@pytest.mark.parametrize(("busy", "expected"), [(0.0, 4), (0.2, 4), (1.0, 3), (2.6, 1), (3.9, 1), (8.0, 1)])
def test_what_others_keep_busy_is_left_to_them(
    busy: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(4)
    _busy(monkeypatch, tmp_path / "stat", busy)
    assert threads.settle() == expected
    assert torch.get_num_threads() == expected
    said = capsys.readouterr().err
    assert (f"computing with {expected} of 4 threads: other processes keep {busy:.1f} of 4 cores busy" in said) is (
        expected < 4
    )


def test_it_takes_them_again_when_they_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for busy, expected in ((3.0, 1), (0.0, 4)):
        _busy(monkeypatch, tmp_path / "stat", busy)
        assert threads.settle() == expected


def test_what_is_asked_for_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _busy(monkeypatch, tmp_path / "stat", 4)
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert threads.settle() == torch.get_num_threads() == 3


def test_what_openmp_was_told_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    _busy(monkeypatch, tmp_path / "stat", 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.settle() == torch.get_num_threads() == 2


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "٣", "5000"])
def test_what_is_no_number_of_threads_is_said(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, value)
    with pytest.raises(UserError, match="give a number of threads"):
        threads.settle()


def test_a_system_that_does_not_tell_is_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "_STAT", tmp_path / "none")
    assert threads.settle() == torch.get_num_threads() == 2


def test_this_machine_tells_what_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_last", None)
    busy = threads._busy_elsewhere()
    assert (busy is None) is not threads._STAT.exists(), "Linux tells, others do not"
    assert 0 <= (busy or 0) <= (os.cpu_count() or 1) + 0.5
