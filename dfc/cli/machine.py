"""The demo, the app, and what this machine can do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from dfc import demo, pipeline, runs
from dfc.cli import doctor
from dfc.cli.base import app, tell
from dfc.config import UserError, shipped
from dfc.machine import progress
from dfc.runs import Run

Port = Annotated[int, typer.Option(help="port of the app on localhost")]


@app.command(name="demo")
def run_demo(
    port: Port = 8501,
    open_app: Annotated[bool, typer.Option("--app/--no-app", help="open the app, which shows how far it is")] = True,
) -> None:
    """Fetch two small real models and texts, do everything, and show it in the app meanwhile and afterwards."""
    made = runs.create(demo.settings())
    with opened(port) if open_app else nullcontext() as app_process:
        if not made.done()["index"]:
            demo.fetch()
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local now
            pipeline.run_stages(made)
        pipeline.verify(made, again=False)
        _read_meaning(made)
        if app_process and app_process.poll():
            progress.say(f"{made.path}: everything is made; the app had ended, `python -m dfc app` opens it again.")
        code = app_process.wait() if app_process else 0
    raise typer.Exit(code)


def _read_meaning(made: Run) -> None:
    """Read what the features are about, if that is not known; where it cannot be, the demo is without it."""
    from dfc.store.reader import Store

    try:
        if not Store(made.store).meaning():
            pipeline.meaning(made, demo.fetch_embedder())
    except UserError as error:
        progress.say(f"Features cannot be looked for by meaning: {error}")


@app.command(name="app")
def open_in_browser(port: Port = 8501) -> None:
    """Open the app on the runs of this machine."""
    with opened(port) as app_process:
        code = app_process.wait()
    raise typer.Exit(code)


@contextmanager
def opened(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The app as a process of its own; it ends with what is done beside it."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # else it would be left alone
    process = subprocess.Popen([sys.executable, "-m", "streamlit", "run", str(shipped.APP), "--server.port", str(port)])
    try:
        yield process
    finally:
        process.terminate()  # nothing, if it has ended
        process.wait()
        signal.signal(signal.SIGTERM, before)


@app.command()
def bench(
    name: Annotated[
        Literal[
            "train",
            "align",
            "harvest",
            "index",
            "verify",
            "steer",
            "sweep",
            "rollouts",
            "store",
            "app",
            "meaning",
            "flags",
            "e2e",
            "gpu",
        ],
        typer.Argument(help="what to measure"),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")] = False,
    keep: Annotated[
        str | None, typer.Option(metavar="BUILD", help="keep it in docs/performance/BUILD/, for `dfc performance`")
    ] = None,
) -> None:
    """Measure side by side with the floor and a peer, or against what was promised."""
    from dfc.bench import figures, page

    measured = import_module(f"dfc.bench.{name}").run()
    print(figures.as_json(name, measured) if as_json else figures.as_table(name, measured))
    if keep is not None:
        page.keep(Path("docs"), keep, name, measured)


@app.command()
def performance(
    folder: Annotated[Path, typer.Option(help="where performance.md is written")] = Path("docs"),
) -> None:
    """Write docs/performance.md: what the benchmarks measured, builds beside each other."""
    from dfc.bench import page

    print(page.write(folder))


@app.command()
def families(
    only: Annotated[list[str] | None, typer.Argument(metavar="TYPE...", help="types to try; all")] = None,
    folder: Annotated[Path, typer.Option(help="where families.md is written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="types tried side by side")] = os.cpu_count() or 1,
) -> None:
    """Build every type of causal language model tiny, check it, and write docs/families.md."""
    from dfc.families import page

    print(page.write(folder, workers, only or ()))


@app.command(name="doctor")
def run_doctor() -> None:
    """Print versions, cores, memory, models and runs, and what is missing."""
    tell(doctor.report())
