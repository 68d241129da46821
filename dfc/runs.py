"""A run's folder: where everything lies, what is done, and who is writing."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dfc import __version__, config
from dfc.config import SIDES, MissingError, ModelConfig, RunConfig, SettingsError, UserError, shipped
from dfc.machine import disk, sources

DEPENDS: dict[str, tuple[str, ...]] = {
    "pair": ("models", "corpus", "harvest"),
    "harvest": (),
    "train": ("crosscoder", "training"),
    "encode": (),
    "index": ("index",),
}
"""The stages in their order, and the sections on which each depends, beside those of the stages before it.

Settings that may change at any time (`config.base.AnyTime`) do not count. No stage depends on `evidence` and `judge`.
"""
STAGES = tuple(DEPENDS)
RESULTS = {
    "activations": "harvest",
    "stitch": "harvest",
    "crosscoder": "train",
    "codes": "encode",
    "null_result": "train",
    "stability": "train",
    "steering": "train",
    "effects": "train",
    "store": "index",
}
"""What is made of a run, by its name in `Run`, and the stage with whose settings it stands and falls.

`stitch`, `null_result`, `stability`, `steering` and `effects` are made by no stage: they are about what that stage
left.
"""


def data_folder() -> Path:
    """Where models, texts and runs lie: $DFC_DATA, or `data` in the current folder."""
    return Path(os.environ.get("DFC_DATA", "data"))


def notebook_path() -> Path:
    """Where readers' notes on all runs are kept."""
    return data_folder() / "notes.duckdb"


@dataclass(frozen=True)
class Run:
    """The paths of one run; nothing is read until it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def corpus(self) -> Path:
        return self.path / "corpus.parquet"

    @property
    def activations(self) -> Path:
        return self.path / "activations"

    @property
    def crosscoder(self) -> Path:
        return self.path / "crosscoder"

    @property
    def codes(self) -> Path:
        """Which features fire on which pairs, and how strongly."""
        return self.path / "codes"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def store(self) -> Path:
        return self.path / "features.duckdb"

    @property
    def stitch(self) -> Path:
        """Linear maps between the two models' streams, from `verify`."""
        return self.path / "stitch.safetensors"

    @property
    def steering(self) -> Path:
        """What was steered, and what came of it."""
        return self.path / "steering.duckdb"

    @property
    def effects(self) -> Path:
        """What taking features away, and carrying them over, does to both models."""
        return self.path / "effects.duckdb"

    @property
    def null_result(self) -> Path:
        """What its null run came to."""
        return self.path / "null.json"

    @property
    def stability(self) -> Path:
        """Which of its findings recur in other runs."""
        return self.path / "stability.json"

    @property
    def screening(self) -> Path:
        """Which flags its findings carry."""
        return self.path / "screening.json"

    @property
    def explanations(self) -> Path:
        """What judges and people say of its features."""
        return self.path / "explanations.duckdb"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    def config(self) -> RunConfig:
        """The settings this run was made with.

        Raises:
            MissingError: if the folder is no run.
            SettingsError: if its run.yaml holds what this version refuses.
        """
        if not (self.path / "run.yaml").exists():
            raise MissingError(
                f"{self.path}: is not a run (it has no run.yaml); runs are made with `python -m dfc run YAML`."
            )
        return config.load_whole(self.path / "run.yaml")

    def done(self) -> dict[str, bool]:
        """Which stages have left their result."""
        return {
            "pair": self.corpus.exists() and (self.activations / "tokens" / "00000.parquet").exists(),
            "harvest": (self.activations / "manifest.json").exists(),
            "train": (self.crosscoder / "model.safetensors").exists(),
            # What was made of codes does not need them any more: they may be deleted, and are made again if need be.
            "encode": (self.codes / "manifest.json").exists() or self.store.exists(),
            "index": self.store.exists(),
        }

    @property
    def made_for(self) -> str:
        """The run for which this one was made, by `null` or `stability --seeds`; empty if it was made for itself.

        Such a run ends after training: what it came to is kept with the other. It is told by its name, and by the other
        run beside it.
        """
        named = re.fullmatch(r"(.+)-(?:null|seed\d+)", self.name)
        return named[1] if named and (self.path.parent / named[1] / "run.yaml").exists() else ""

    def metric_lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line cut short by a crash is left out."""
        if not self.metrics.exists():
            return []
        lines = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return lines

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second writer out of this run.

        Raises:
            UserError: if another process is writing.
        """
        disk.make_folder(self.path)
        with (self.path / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path}: another process is working on this run; wait for it or stop it."
                ) from None
            yield


def create(run_config: RunConfig, again: str | None = None) -> Run:
    """The folder of a run, with its YAML; settings may still change as long as nothing was made with them.

    A result was made with the settings of its own stages and of those before them. What may change at any time is taken
    over without a word.

    Args:
        run_config: all settings of the run.
        again: a stage that is about to be done anew: its old result is not in the way.

    Raises:
        SettingsError: naming the first setting that differs from what the run was made with, and what was made.
    """
    run = of(run_config)
    if (run.path / "run.yaml").exists():
        run_config = _with_dates(run_config, run.config())
        stage, difference = _first_change(run.config(), run_config)
        made = _made_from(run, stage, again) if stage else []
        if made:
            raise SettingsError(
                f"{made[0]}: was made with other settings ({difference}); give the new run another `name`, "
                f"or delete what was made ({', '.join(path.name for path in made)})."
            )
    disk.write_text(run.path / "run.yaml", config.dump(run_config))
    return run


def _with_dates(new: RunConfig, old: RunConfig) -> RunConfig:
    """Settings with the dates that templates were told when texts were paired, where none are asked for."""
    models: dict[str, ModelConfig] = {
        side: new.models.side(side).model_copy(update={"date": old.models.side(side).date})
        for side in SIDES
        if new.models.side(side).date is None
    }
    return new.model_copy(update={"models": new.models.model_copy(update=models)})


def _first_change(old: RunConfig, new: RunConfig) -> tuple[str, str]:
    """The first stage whose settings are not the same, and the first of these; both empty if all are the same."""
    for stage, sections in DEPENDS.items():
        for section in sections:
            there, now = getattr(old, section).deciding(), getattr(new, section).deciding()
            if difference := _first_difference(there, now, section):
                return stage, difference
    return "", ""


def _made_from(run: Run, stage: str, again: str | None) -> list[Path]:
    """What lies there that was made with the settings of a stage, in the order of the stages."""
    later = STAGES[STAGES.index(stage) :]
    results: list[Path] = [getattr(run, name) for name, of in RESULTS.items() if of in later and of != again]
    return [path for path in results if path.exists()]


def of(run_config: RunConfig) -> Run:
    """The run that these settings name, made or not."""
    return Run(data_folder() / "runs" / run_config.name)


def all_runs() -> list[Run]:
    """Every run on this machine, by name."""
    folder = data_folder() / "runs"
    return sorted((Run(path.parent) for path in folder.glob("*/run.yaml")), key=lambda run: run.name)


def find(name_or_path: str) -> Run:
    """A run by its name or its folder.

    Raises:
        MissingError: listing the runs there are.
    """
    for run in (Run(Path(name_or_path)), Run(data_folder() / "runs" / name_or_path)):
        if (run.path / "run.yaml").exists():
            return run
    names = ", ".join(run.name for run in all_runs()) or f"none yet; `{shipped.DEMO}` makes one"
    raise MissingError(f"{name_or_path}: there is no such run; the runs are: {names}.")


def record(run: Run, stage: str, **facts: Any) -> None:
    """Add a finished stage to provenance.json, with the versions it ran under."""
    content: dict[str, Any] = {}
    if run.provenance.exists():
        with disk.reading(run.provenance, "delete it; a new one is begun"):
            content = disk.read_json(run.provenance)
    content[stage] = {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        **facts,
    }
    disk.write_json(run.provenance, content)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("torch", "transformers", "tokenizers", "nnsight", "duckdb", "streamlit", "numpy", "pandas")
    return {"dfc": __version__, "code": sources.fingerprint(), "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }


def _first_difference(old: Any, new: Any, key: str) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in new:
            difference = _first_difference(old.get(name), new[name], f"{key}.{name}")
            if difference:
                return difference
        return ""
    return "" if old == new else f"{key}: {old!r:.60} there, {new!r:.60} now"
