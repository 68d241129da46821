"""How far a run is that is being made: read from the files that its stages leave, without a lock on any of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfc.config import SIDES, RunConfig, Side
from dfc.machine import disk
from dfc.runs import STAGES, Run
from dfc.store import attached

_RECENT = 8
"""Files by whose times the rate is told."""
_UNITS = {
    "pair": "pairs",
    "harvest": "pairs read",
    "train": "steps",
    "encode": "pairs encoded",
    "index": "models read",
    "verify": "shards of texts",
}


@dataclass(frozen=True)
class Progress:
    """How far one stage is.

    Attributes:
        stage: which.
        done, total: units of work; where a stage has ended, done is total.
        unit: what is counted.
        rate: units a second; None if that is not known.
        written: when something of it was written last, in seconds since 1970; None: nothing was.
    """

    stage: str
    done: int
    total: int
    unit: str
    rate: float | None = None
    written: float | None = None

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that it will still take at that rate; None if that is not known."""
        return max(0, self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class Making:
    """What a run that is being made has left so far.

    Attributes:
        stages: a progress for each of `STAGES`.
        sources: pairs found in each source.
    """

    stages: dict[str, Progress]
    sources: dict[str, int] = field(default_factory=dict)

    @property
    def written(self) -> float | None:
        """When something was written last."""
        return max((one.written for one in self.stages.values() if one.written is not None), default=None)


def read(run: Run, config: RunConfig, lines: list[dict[str, Any]]) -> Making:
    """How far each stage is; a file that is being written just now counts as not there.

    Args:
        run: its folder.
        config: its settings.
        lines: of its metrics.jsonl.
    """
    finished, folder = run.done(), run.activations
    sources = _sources(folder / "pairing.json")
    found, size = sum(sources.values()), config.harvest.shard_pairs
    tokens = _times(folder / "tokens", ".parquet")
    sides = [_times(folder / side, ".json") for side in ("a", "b")]
    encoded = _times(run.codes, ".safetensors")
    read = _times(run.path / "index.part", ".parquet", "logit_counts_")  # the last that is kept of a model
    steps = [line for line in lines if "seconds" in line]
    stages = {
        "pair": Progress("pair", found, config.corpus.pairs, _UNITS["pair"], *_speed([tokens], size)),
        "harvest": Progress(
            "harvest",
            sum(min(found, len(side) * size) for side in sides),  # the last shard of each is a part of one
            2 * found,
            _UNITS["harvest"],
            *_speed(sides, size),
        ),
        "train": Progress(
            "train",
            int(steps[-1]["step"]) if steps else 0,
            config.training.steps,
            _UNITS["train"],
            _steps_a_second(steps),
            run.metrics.stat().st_mtime if run.metrics.exists() else None,
        ),
        "encode": Progress(
            "encode", min(found, len(encoded) * size), found, _UNITS["encode"], *_speed([encoded], size)
        ),
        "index": Progress("index", len(read), len(SIDES), _UNITS["index"], None, max(read, default=None)),
    }
    return Making({stage: _ended(stages[stage], finished[stage]) for stage in STAGES}, sources)


def verifying(run: Run) -> Progress | None:
    """How far `verify` has measured the models' surprise, in shards; None if it has ended, or measured nothing.

    What was measured before there were features, `harvest` has measured. What `verify` does after measuring leaves
    nothing before its end; where there was evidence before, that is not told from its end.
    """
    folder, evidence = run.activations / "surprise", attached.evidence_path(run.store)
    sides = [_latest(folder, side) for side in SIDES]
    done, total = sum(map(len, sides)), len(SIDES) * len(_times(run.activations / "tokens", ".parquet"))
    rate, last = _speed(sides, 1)
    if last is None or (run.store.exists() and last < run.store.stat().st_mtime):
        return None
    if evidence.exists() and (done >= total or evidence.stat().st_mtime >= last):
        return None
    return Progress("verify", done, total, _UNITS["verify"], rate if done < total else None, last)


def _latest(folder: Path, side: Side) -> list[float]:
    """When each file of a model was written, of those measured with the settings of the last one."""
    of: dict[str, list[float]] = {}
    for ending in {path.name.rsplit("-", 1)[-1] for path in folder.glob(f"{side}-*.npz")}:
        of[ending] = _times(folder, f"-{ending}", f"{side}-")
    return max((times for times in of.values() if times), key=lambda times: times[-1], default=[])


def _ended(progress: Progress, finished: bool) -> Progress:
    if not finished:
        return progress
    return Progress(progress.stage, progress.total, progress.total, progress.unit, None, progress.written)


def _sources(path: Path) -> dict[str, int]:
    try:
        return {str(name): int(pairs) for name, pairs in disk.read_json(path)["pairs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _times(folder: Path, ending: str, beginning: str = "") -> list[float]:
    """When each file of a folder was written, in order; of those whose names begin and end so."""
    times = []
    for path in folder.glob(f"{beginning}*{ending}"):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue  # it has gone since
    return sorted(times)


def _speed(groups: Iterable[list[float]], size: int) -> tuple[float | None, float | None]:
    """Units a second by the latest files of what was written last, `size` units each, and when that was."""
    latest = max((times for times in groups if times), key=lambda times: times[-1], default=[])
    if not latest:
        return None, None
    recent = latest[-_RECENT:]
    seconds = recent[-1] - recent[0]
    return ((len(recent) - 1) * size / seconds if seconds > 0 else None), latest[-1]


def _steps_a_second(steps: list[dict[str, Any]]) -> float | None:
    recent = steps[-_RECENT:]
    seconds = float(recent[-1]["seconds"]) - float(recent[0]["seconds"]) if len(recent) > 1 else 0.0
    return (recent[-1]["step"] - recent[0]["step"]) / seconds if seconds > 0 else None
