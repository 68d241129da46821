"""Edits as a CSV table: exported, changed by hand or by another program, and imported."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from dfc.config import SIDES, Side, UserError
from dfc.models import describe
from dfc.requests import Edit
from dfc.runs import Run

COLUMNS = ("side", "model", "layer", "feature", "mode", "strength", "where", "threshold")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(run: Run, edits: Sequence[Edit]) -> str:
    """A row for each edit, with the name of the model and the layer it acts at.

    Cells of text that a spreadsheet would take for a formula begin with an apostrophe.
    """
    models = run.config().models
    layers = {side: describe(models.side(side)).layer for side in {edit.side for edit in edits}}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for edit in edits:
        title = models.side(edit.side).title
        cells = (
            edit.side,
            title,
            layers[edit.side],
            edit.feature,
            edit.mode,
            edit.strength,
            edit.where,
            edit.threshold,
        )
        writer.writerow([_safe(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def from_csv(run: Run, text: str) -> tuple[Edit, ...]:
    """Edits of a table as `to_csv` writes it; needed are `feature`, and `side` or the `model`'s name.

    Raises:
        UserError: naming the first row that cannot be used, or is of another model or layer than the run's.
    """
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    if not rows or "feature" not in rows[0] or not {"side", "model"} & rows[0].keys():
        raise UserError(
            f"edits: the table has no rows, or lacks a column; it needs `feature`, and `side` or `model`, and takes "
            f"{', '.join(COLUMNS)}."
        )
    return tuple(_edit(run, row, f"edits, row {number}") for number, row in enumerate(rows, 2))


def _edit(run: Run, row: dict[str, Any], place: str) -> Edit:
    cells = {name: (value or "").strip() for name, value in row.items() if name in COLUMNS and isinstance(value, str)}
    side = _side(run, cells.get("side", "").lower(), cells.get("model", ""), place)
    if cells.get("layer") and cells["layer"] != str(describe(run.config().models.side(side)).layer):
        raise UserError(f"{place}: layer {cells['layer']!r:.40} is not the one that this run's model is read at.")
    try:
        return Edit(
            side,
            int(cells["feature"]),
            cells.get("mode") or "add",  # type: ignore[arg-type]
            float(cells.get("strength") or 1),
            cells.get("where") or "all",  # type: ignore[arg-type]
            float(cells.get("threshold") or 0),
        )
    except (ValueError, KeyError):
        raise UserError(f"{place}: feature, strength and threshold must be numbers; correct the row.") from None
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _side(run: Run, side: str, model: str, place: str) -> Side:
    """The side that a row means; names must fit the run's."""
    models = run.config().models
    titles = {one: models.side(one).title for one in SIDES}
    meant = [one for one in SIDES if side in ("", one) and model.removeprefix("'") in ("", titles[one].strip())]
    if len(meant) == 1 and (side or model):
        return meant[0]
    raise UserError(
        f"{place}: side {side!r:.40}, model {model!r:.80} is not one of this run's: a, {titles['a']}; b, {titles['b']}."
    )


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
