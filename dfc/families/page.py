"""docs/families.md: what every type of causal language model can be used for, as it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

from dfc.families import build, check
from dfc.families.check import Row
from dfc.machine import disk, progress


def write(folder: Path, workers: int, only: Sequence[str] = ()) -> str:
    """Try every type, or some, in so many processes; write families.md, and say how many pass.

    Raises:
        UserError: if a type is asked for that there is none of.
    """
    chosen = build.chosen(only)
    rows = []
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=check.alone) as pool,
        progress.bar("types", len(chosen), "types") as bar,
    ):
        for row in pool.map(check.check, chosen):
            rows.append(row)
            bar.update(1)
    disk.write_text(folder / "families.md", page(rows))
    return summary(rows)


def summary(rows: Sequence[Row]) -> str:
    """How many pass, are refused, fail and could not be built, in a sentence."""
    built = [row for row in rows if not row.not_built]
    decoders = [row for row in built if "encoder" not in row.refused]
    whole, passed = sum(row.is_whole for row in decoders), sum(row.passes for row in decoders)
    refused = sum(bool(row.refused) for row in decoders)
    wrong = ", ".join(row.model_type for row in built if row.wrong) or "none"
    return (
        f"Of {len(rows)} types, {len(built)} could be built tiny. {len(built) - len(decoders)} of these are encoders "
        f"or encoder–decoders, and refused. Of the other {len(decoders)}, {whole} pass whole, {passed - whole} but for "
        f"the lens or steering, and {refused} are refused in a sentence; wrong: {wrong}."
    )


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    passed, refused = [row for row in rows if row.passes], [row for row in rows if row.refused]
    wrong, left = [row for row in rows if row.wrong], [row for row in rows if row.not_built]
    parts = [
        "# Families of models",
        "Written by `python -m dfc families`, with transformers "
        f"{metadata.version('transformers')} and torch {metadata.version('torch')}. Every type of its causal mapping "
        "is built as a tiny random model, written, loaded as a run loads it, and checked against plain forward passes: "
        "blocks, several layers read at once in a padded batch, a trace, edits of a tenth and of the whole of the "
        "stream's length, steered and unsteered generation, the logit lens at the last block. That a type passes says "
        "that its code is read and edited rightly; it says nothing about any trained model.",
        summary(rows),
        "## Types that pass",
        "*Stream*: what is read and edited. Where a model carries several streams, it is the one that the model "
        "itself makes of them before its logits; an edit of it is written into all of them alike, as much as it takes. "
        "Where that cannot be done, which is tried when a model is loaded, it is read and not steered. "
        "*Lens*: “its own” runs the model's own code after its last block.",
        _table(
            ("type", "blocks", "kinds of block", "stream", "lens", "steering, generation"),
            [
                (
                    f"`{row.model_type}`",
                    f"`{row.blocks}` × {row.layers}",
                    ", ".join(f"`{kind}`" for kind in row.classes),
                    row.stream,
                    row.lens,
                    "yes" if row.edits else "generation alone",
                )
                for row in passed
            ],
        ),
        "## Types that are refused when they are loaded",
        _table(("type", "sentence"), [(f"`{row.model_type}`", row.refused) for row in refused]),
    ]
    if wrong:
        parts += ["## Wrong", _table(("type", "what"), [(f"`{row.model_type}`", row.wrong) for row in wrong])]
    parts += [
        "## Types of which no tiny model could be built",
        _table(("type", "why"), [(f"`{row.model_type}`", row.not_built) for row in left]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
