"""A text of one's own, read by both models without the app."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import runs
from dfc.cli.base import app, records, tell, tell_json
from dfc.config import SIDES, UserError, characters
from dfc.machine import progress

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Live, Reading
    from dfc.store.reader import Store

_WHY = (None, "at the first positions", "in a lead-in", "of outlying norm", "not finite")
"""Why a pair does not count, by `Reading.why`."""


@app.command()
def prompt(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    text: Annotated[str | None, typer.Option(help="a plain text")] = None,
    chat: Annotated[Path | None, typer.Option(help="a file with a chat's messages")] = None,
    document: Annotated[int | None, typer.Option(min=0, help="number of a document of the run")] = None,
    nats: Annotated[bool, typer.Option("--nats", help="also how well each model expected it; runs them whole")] = False,
    first: Annotated[int, typer.Option(min=1, help="features, those nearest to their strongest first")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Let both models read a text, and say which features fire on which of its tokens."""
    if sum(one is not None for one in (text, chat, document)) != 1:
        raise UserError("prompt: give one of --text TEXT, --chat FILE and --document NUMBER.")
    run = runs.find(name)
    from dfc import corpus
    from dfc.features import expected, live
    from dfc.store.reader import Store

    store = Store(run.store)
    opened = live.open_run(run, progress.say)
    if document is not None:
        reading = live.read_stored(opened, document)
    else:
        turns, left_out = ([("text", text or "")], "") if chat is None else corpus.read_chat(str(chat))
        if left_out:
            progress.say(f"{chat}: {left_out}")
        reading = live.read(opened, live.prompt(turns))
    known = expected.expected(opened, reading) if nats else None
    result: dict[str, Any] = {
        "run": run.name,
        "models": {side: _model(opened, reading, known, side) for side in SIDES},
        "pairs": _pairs(reading, known),
        "features": _features(store, reading, first),
    }
    if as_json:
        tell_json(result)
        return
    for side, model in result["models"].items():
        end = "; its end was not read" if model["cut"] else ""
        lost = f"; {model['nats']:.1f} nats in all" if known is not None else ""
        tell(f"{side.upper()}  {model['name']}: {len(model['tokens'])} tokens{lost}{end}")
    counted = sum(pair["left_out"] is None for pair in result["pairs"])
    tell(f"{counted} of {len(result['pairs'])} pairs count; features nearest to their strongest on the corpus:")
    for row in result["features"]:
        strength = f"{row['max']:7.2f}  {row['share']:4.0%}  on {row['token']!r}"
        tell(f"{row['feature_id']:>7}  {row['partition']:<6}  {strength}  {characters.shown(row['label'])}")


def _model(opened: Live, reading: Reading, known: Expected | None, side: Any) -> dict[str, Any]:
    """A model's tokens, and how well it expected them."""
    told = {"name": opened.models[side].title, "tokens": reading.tokens[side], "cut": side in reading.cut}
    if known is None:
        return told
    lost = known.lost[side].tolist()
    likeliest = [[{"token": token, "log_probability": value} for token, value in one] for one in known.likeliest[side]]
    return told | {"nats": sum(one for one in lost if one == one), "nats_of_tokens": lost, "likeliest": likeliest}


def _pairs(reading: Reading, known: Expected | None) -> list[dict[str, Any]]:
    """Pairs of tokens by their places, and why some do not count."""
    gaps = None if known is None else known.gap.tolist()
    return [
        {"a": int(a), "b": int(b), "left_out": _WHY[why]} | ({} if gaps is None else {"nats_more_in_b": gaps[number]})
        for number, (a, b, why) in enumerate(zip(reading.index["a"], reading.index["b"], reading.why, strict=True))
    ]


def _features(store: Store, reading: Reading, first: int) -> list[dict[str, Any]]:
    """What fires, as a part of its strongest on the corpus, and on which token most."""
    from dfc.features.fired import beside, fired
    from dfc.report.heatmap import side_of
    from dfc.store.reader import FeatureQuery

    table = fired(reading)
    ids = tuple(table["feature_id"].tolist())
    known = store.features(FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id"))
    kept = ["feature_id", "partition", "label", "peak_tokens", "density", "verdict", "finding"]
    kept += ["max", "mean", "firings", "row", "corpus_max", "share"]
    joined = beside(table, known)[kept]
    rows = records(joined.sort_values(["share", "max"], ascending=False).head(first).rename(columns={"row": "pair"}))
    for row in rows:
        side = side_of(row["partition"])
        row["token"] = reading.tokens[side][int(reading.index[side][row["pair"]])]
    return rows
