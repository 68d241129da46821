"""A run's folder: where everything lies, what is done, and who is writing.

Every file is written beside its place and renamed into it, so what exists is whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dfc import __version__, config
from dfc.config import RunConfig, UserError, shipped

STAGES = ("pair", "harvest", "train", "index")


def data_folder() -> Path:
    """Where models, texts and runs lie: $DFC_DATA, or `data` in the current folder."""
    return Path(os.environ.get("DFC_DATA", "data"))


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
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def store(self) -> Path:
        return self.path / "features.duckdb"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    def config(self) -> RunConfig:
        """The settings this run was made with.

        Raises:
            UserError: if the folder is no run.
        """
        if not (self.path / "run.yaml").exists():
            raise UserError(
                f"{self.path}: is not a run (it has no run.yaml); runs are made with `python -m dfc run YAML`."
            )
        return config.load(self.path / "run.yaml")

    def done(self) -> dict[str, bool]:
        """Which stages have left their result."""
        return {
            "pair": self.corpus.exists() and (self.activations / "tokens" / "00000.parquet").exists(),
            "harvest": (self.activations / "manifest.json").exists(),
            "train": (self.crosscoder / "model.safetensors").exists(),
            "index": self.store.exists(),
        }

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
        make_folder(self.path)
        with (self.path / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path}: another process is working on this run; wait for it or stop it."
                ) from None
            yield


def create(run_config: RunConfig) -> Run:
    """The folder of a run, with its YAML; settings may still change as long as nothing was made with them.

    Raises:
        UserError: naming the first setting that differs from what the run was made with.
    """
    run = of(run_config)
    if (run.path / "run.yaml").exists():
        old, new = run.config().model_dump(mode="json"), run_config.model_dump(mode="json")
        for sections, result in (
            (("models", "corpus", "harvest"), run.activations),
            (("crosscoder", "training"), run.crosscoder),
            (("index",), run.store),
        ):
            difference = next(filter(None, (_first_difference(old[key], new[key], key) for key in sections)), "")
            if difference and result.exists():
                raise UserError(
                    f"{result}: was made with other settings ({difference}); "
                    f"give the new run another `name`, or delete what was made."
                )
    write_text(run.path / "run.yaml", config.dump(run_config))
    return run


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
        UserError: listing the runs there are.
    """
    for run in (Run(Path(name_or_path)), Run(data_folder() / "runs" / name_or_path)):
        if (run.path / "run.yaml").exists():
            return run
    names = ", ".join(run.name for run in all_runs()) or f"none yet; `{shipped.DEMO}` makes one"
    raise UserError(f"{name_or_path}: there is no such run; the runs are: {names}.")


def record(run: Run, stage: str, **facts: Any) -> None:
    """Add a finished stage to provenance.json, with the versions it ran under."""
    content: dict[str, Any] = {}
    if run.provenance.exists():
        with reading(run.provenance, "delete it; a new one is begun"):
            content = read_json(run.provenance)
    content[stage] = {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        **facts,
    }
    write_json(run.provenance, content)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("torch", "transformers", "tokenizers", "nnsight", "duckdb", "streamlit", "numpy", "pandas")
    return {"dfc": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }


@contextmanager
def reading(path: Path, remedy: str, *errors: type[Exception]) -> Iterator[None]:
    """Say in one sentence that a file is missing or damaged.

    Args:
        path: the file that the block reads.
        remedy: what the user can do, an imperative without a full stop.
        errors: what its parser raises when it is damaged, beside the usual.

    Raises:
        UserError: in place of these.
    """
    damage: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, TypeError, *errors)
    try:
        yield
    except FileNotFoundError:
        problem = f"{path}: is missing"
        raise UserError(f"{problem}; {remedy}.", problem) from None
    except damage as error:
        detail = (str(error).splitlines() or [""])[0]
        problem = f"{path}: is damaged ({type(error).__name__}: {detail:.120})"
        raise UserError(f"{problem}; {remedy}.", problem) from None


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        UserError: if nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path.absolute()}: this folder cannot be made ({error.strerror}); "
            f"set DFC_DATA to one that you may write to."
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or folder to; renamed into place when the block ends without an error."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _first_difference(old: Any, new: Any, key: str) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in new:
            difference = _first_difference(old.get(name), new[name], f"{key}.{name}")
            if difference:
                return difference
        return ""
    return "" if old == new else f"{key}: {old!r:.60} there, {new!r:.60} now"
