"""What all commands share: the application, how a run is named, what is printed, and how errors end."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dfc import config, runs
from dfc.config import RunConfig, UserError, characters
from dfc.machine import processes, progress, threads, workers
from dfc.runs import Run

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="What does one language model know or do that another does not? See README.md for the path through a run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR)
"""What a system says where nothing can be written."""
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run's name, folder or YAML; see data/presets/")]
Features = Annotated[
    list[int] | None, typer.Option("--feature", min=0, help="a feature's number; may be given several times")
]
"""Which features a command is about; one that chooses some itself where none is given says so at `--first`."""


@app.callback()
def _before(
    threads_wanted: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="threads that compute; default: as many as the machine has cores that nothing else keeps busy",
        ),
    ] = None,
) -> None:
    if threads_wanted is not None:
        os.environ[threads.VARIABLE] = str(threads_wanted)
    threads.asked()


@contextmanager
def until_stopped(said: str) -> Iterator[None]:
    """Where somebody stops what a command does, say what became of it, and end as is usual for that."""
    try:
        yield
    except KeyboardInterrupt:
        progress.say(f"\n{said}")
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line; what the user can mend is one sentence and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal's encoding may lack what a text holds
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _run()
    except BaseException as error:  # app() ends by SystemExit, whatever came of it
        try:
            ended = workers.end()
        except KeyboardInterrupt:
            ended = False
        if ended:
            raise
        _leave(error)


def _leave(error: BaseException) -> NoReturn:
    """End the process with its exit code although a thread is inside torch; see `workers`."""
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    code = error.code if isinstance(error, SystemExit) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _run() -> None:
    try:
        app()
    except UserError as error:
        _end(str(error))
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _end(
            f"{where}{error.strerror}; runs and notes are kept in {runs.data_folder().absolute()}: "
            "set DFC_DATA to a folder with room that you may write to."
        )


def _end(sentence: str) -> NoReturn:
    if processes.leads():
        progress.say(f"dfc: {sentence}")
    sys.exit(2)


def tell(text: str = "") -> None:
    """Print what was asked for on standard output; nothing in it that a terminal would obey."""
    print(characters.shown(text, "\n\t"))


def tell_json(value: Any) -> None:
    """Print plain values as JSON: null for a figure that is none, and escapes for what is hidden or not encodable."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_finite(value), ensure_ascii=not unicode, indent=2, allow_nan=False)
    print("".join(json.dumps(mark)[1:-1] if mark != "\n" and characters.is_hidden(mark) else mark for mark in text))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain values, None where there is none, times as ISO 8601."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # of numpy, one value or many
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if value != value:  # NaN and NaT
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def find(name: str, again: str | None = None) -> list[Run]:
    """The run of a name or a folder, or those that a YAML describes, one for each layer, made if need be.

    `again` is a stage that is about to be done anew, maybe with other settings in the YAML.
    """
    if _is_yaml(name):
        # One of several processes makes the folders; the others meet it before they read them.
        sites = config.load_sites(Path(name))
        return [runs.create(site, again) if processes.leads() else runs.of(site) for site in sites]
    return [runs.find(name)]


def described(name: str) -> RunConfig:
    """Settings of the run of a name or a folder, or of the first that a YAML describes; none is made."""
    return config.load_sites(Path(name))[0] if _is_yaml(name) else runs.find(name).config()


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))
