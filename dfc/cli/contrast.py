"""Two sets of prompts contrasted without the app."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from dfc import runs
from dfc.cli.base import app, tell, tell_json, until_stopped
from dfc.machine import progress


@app.command()
def contrast(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    sets: Annotated[
        tuple[str, str], typer.Option(help="two sets of prompts, each a shipped set's name, a file, a glob or a folder")
    ],
    answered: Annotated[bool, typer.Option("--answered", help="read chats with their last answers, too")] = False,
    limit: Annotated[int | None, typer.Option(min=2, help="so many prompts of each set, drawn at random")] = None,
    split: Annotated[str, typer.Option(help="of datasets of prompts that have splits")] = "train",
    first: Annotated[int, typer.Option(min=1, help="rows of each list, those furthest apart first")] = 10,
    toward: Annotated[
        Literal["either", "first", "second"], typer.Option(help="the set on which rows fire more")
    ] = "either",
    rate: Annotated[float, typer.Option(min=0, max=1, help="false discovery rate at which a row passes")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say which findings and features fire on one set of prompts and not on the other, of either model."""
    run = runs.find(name)
    from dfc.screen import prompts

    first_set, second_set = (prompts.read(one, answered, limit, split) for one in sets)
    from dfc.features import live
    from dfc.screen import reading, told
    from dfc.store.reader import Store

    reading.expect_apart(first_set, second_set)
    store = Store(run.store)
    opened = live.open_run(run, progress.say)
    total = len(first_set.documents) + len(second_set.documents)
    with (
        until_stopped("contrast: stopped; nothing was written"),
        progress.bar("reading prompts", total, "prompts") as bar,
    ):
        read = [reading.read(opened, one, advance=bar.update) for one in (first_set, second_set)]
    found = reading.of(store, read[0], read[1], reading.in_common(first_set, second_set))
    result = told.plain(store, found, rate, first, toward)
    if as_json:
        tell_json({"run": run.name, **result})
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    """The sets, and what tells them apart, list by list."""
    from dfc.screen import told

    for one in result["sets"]:
        tell(told.set_in_words(one))
    tell(f"{told.length_in_words(result)}\n")
    for group in result["lists"]:
        tell(told.list_in_words(group, result))
        for row in group["rows"]:
            for line in told.row_in_words(row):
                tell(f"  {line}")
        tell()
    tell(told.rule_in_words(result))
