"""Files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.config import UserError
from dfc.machine import disk


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    disk.write_text(path, "old")
    with pytest.raises(RuntimeError), disk.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), disk.replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_file_does_not_take_a_folders_place(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken: is a folder; give the name of a file"):
        disk.write_text(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
