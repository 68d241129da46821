"""Reports without the app."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dfc import runs
from dfc.cli.base import Features, app
from dfc.config import UserError
from dfc.machine import disk, progress


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    listed: Annotated[str | None, typer.Option("--list", help="a list that was made in the app")] = None,
    features: Features = None,
    title: Annotated[str | None, typer.Option(help="of the report; the list's name if none is given")] = None,
    out: Annotated[Path, typer.Option(help="the HTML file that is written")] = Path("report.html"),
) -> None:
    """Write features, with their evidence, contexts and what was said of them, into one HTML file."""
    if (listed is None) == (not features):
        raise UserError("report: say what is to be reported, either --list NAME or --feature N, and not both.")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: a report is an HTML file; name it so, such as {out.name}.html.")
    run = runs.find(name)
    from dfc.report import document
    from dfc.store.notes import Notebook
    from dfc.store.reader import Store
    from dfc.worlds import null_result

    notebook = Notebook(runs.notebook_path())
    chosen = document.of_list(notebook, run.name, listed) if listed else document.of_features(run, features or ())
    if title:
        chosen = replace(chosen, title=title)
    disk.write_text(out, document.report_html(run, chosen, notebook, null_result.read(run)))
    if not Store(run.store).facts().get("verified"):
        progress.say(f"note: these features are not judged; python -m dfc verify {run.name} does it")
    size = len(chosen.features)
    progress.say(f"{out}: {size} {'feature' if size == 1 else 'features'} of {run.name}")
