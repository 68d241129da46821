"""Copies of models with something amiss, and that they are refused in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dfc import models
from dfc.config import ModelConfig, UserError


def refused(sentence: str, **settings: object) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        models.load(ModelConfig.model_validate({"layer": 0, **settings}))
    assert "\n" not in str(error.value)


def copied(tiny_models: tuple[Path, Path], folder: Path, **settings: object) -> str:
    """A copy of the first tiny model, some of the settings in its config.json changed."""
    shutil.copytree(tiny_models[0], folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return str(folder)
