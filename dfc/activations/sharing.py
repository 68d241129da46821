"""Give a run what another has: all of its activations, or those of the documents with which both begin.

Files are never changed in place, so links serve both runs and neither can damage the other's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from dfc.activations import documents as stored
from dfc.activations import pairing
from dfc.config import SIDES, CorpusConfig
from dfc.machine import disk
from dfc.runs import Run


def whole(run: Run, made: Run) -> None:
    """Give a run the corpus and the activations of another: links, or copies where the disk has no links.

    The manifest, which marks them as whole, comes last.
    """
    manifest = run.activations / "manifest.json"
    files = sorted(path for path in run.activations.rglob("*") if path.is_file() and path != manifest)
    _link(run, made, [run.corpus, *files, manifest])


def beginning(run: Run, made: Run) -> None:
    """Let a run begin with the documents of another, with the rows and the surprise of each model that both have.

    The run then pairs on from there, and harvests what it lacks. If it has begun already, nothing is done.

    Args:
        run: harvested.
        made: with the same corpus, but for further sources behind those of `run`, and more pairs.

    Raises:
        ValueError: if its corpus does not begin as that of `run`.
        UserError: if the run's corpus is damaged.
    """
    note = pairing.position_path(made)
    if note.exists():
        return
    own, other = run.config(), made.config()
    if not _begins_with(own.corpus, other.corpus) or own.harvest != other.harvest:
        raise ValueError(f"{made.path}: its corpus does not begin as that of {run.path}")
    position, table = pairing.read_position(run), stored.read(run)
    bounds = [sum(position.shards[:shard]) for shard in range(len(position.shards) + 1)]
    for shard, (first, until) in enumerate(pairwise(bounds)):
        stored.write(table.slice(first, until - first).to_pylist(), pairing.part_path(made, shard))
    same = [side for side in SIDES if own.models.side(side).deciding() == other.models.side(side).deciding()]
    globs = ["tokens/*", *(f"{side}/*" for side in same), *(f"surprise/{side}-*" for side in same)]
    _link(run, made, [path for pattern in globs for path in sorted(run.activations.glob(pattern))])
    _link(run, made, [pairing.position_path(run)])  # last: it says that the rest is there


def _begins_with(own: CorpusConfig, other: CorpusConfig) -> bool:
    first = other.sources[: len(own.sources)]
    return other.model_copy(update={"sources": first, "pairs": own.pairs}) == own


def _link(run: Run, made: Run, files: Iterable[Path]) -> None:
    for path in files:
        with disk.replacing(made.path / path.relative_to(run.path)) as temporary:
            temporary.unlink(missing_ok=True)
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copyfile(path, temporary)
