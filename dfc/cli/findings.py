"""The findings of a run without the app."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import runs
from dfc.cli.base import app, tell, tell_json
from dfc.config import SIDES, MissingError, Side, UserError, characters

if TYPE_CHECKING:
    from dfc.report.findings import Finding
    from dfc.screen.themes import Theme, Themes
    from dfc.store.reader import Store

_LISTED = 5  # findings of a theme that are printed


@app.command()
def findings(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    first: Annotated[int, typer.Option(min=1, help="findings of each model, the surest first")] = 10,
    by_theme: Annotated[
        bool, typer.Option("--themes", help="all of them by what they are about, once `dfc meaning` has read that")
    ] = False,
    number: Annotated[
        int | None, typer.Option(min=1, max=40, help="so many themes; default: as many as are most clearly apart")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print JSON: a list of findings, or an object with --themes")
    ] = (False),
) -> None:
    """Print where one model does better than in like texts: gap, label, what is claimed, and a context of each."""
    if number is not None and not by_theme:
        raise UserError("findings: --number is of themes; give --themes, too.")
    run = runs.find(name)
    from dfc.report import findings as found
    from dfc.report.heatmap import called
    from dfc.store.reader import Store

    store = Store(run.store)
    everything = found.of(store)
    if by_theme and everything:
        _by_theme(store, number, as_json)
        return
    chosen = [one for side in SIDES for one in everything if one.side == side and one.rank <= first]
    contexts = store.strongest_contexts([one.feature_id for one in chosen])
    quotes = {
        identity: found.quoted(contexts[identity], one.side)
        for one in chosen
        if (identity := one.feature_id) in contexts
    }
    if as_json and by_theme:
        tell_json({"run": run.name, "themes": [], "in_no_theme": []})
        return
    if as_json:
        told = [
            asdict(one)
            | {
                "claim": found.claim(one),
                "peak_tokens": store.feature(one.feature_id).peak_tokens,
                "context": quotes.get(one.feature_id),
            }
            for one in chosen
        ]
        tell_json(told)
        return
    facts, tested = store.facts(), store.tested()
    if not everything:
        tell(found.lacking(facts, tested, run.name).replace("`", ""))
        return
    models = {side: characters.shown(name) for side, name in store.models()["name"].items()}
    for side in SIDES:
        own = [one for one in everything if one.side == side]
        tell(f"{side.upper()}  {models[side]}  {found.counts(own)}")
        for one in (one for one in chosen if one.side == side):
            tell(f"\n{one.rank:4d}  {called(one.label)}")
            for line in found.lines(one, quotes.get(one.feature_id)):
                tell(f"      {line}")
        tell()
    tell(found.settings(facts, tested))


def _by_theme(store: Store, number: int | None, as_json: bool) -> None:
    """The findings of both models by what they are about.

    Raises:
        MissingError: if what features mean was not read.
    """
    from dfc.report.heatmap import called
    from dfc.screen import encoders, themes

    made = themes.of(store, number)
    if made is None:
        folder = store.path.parent
        raise MissingError(f"{folder}: {encoders.lacking(store.path, {}, str(folder))}")
    if as_json:
        tell_json({"run": store.path.parent.name, **_plain(made)})
        return
    names: dict[Side, str] = {side: characters.shown(store.models()["name"][side]) for side in SIDES}
    for theme in made.themes:
        tell(f"{called(theme.name)}  ({theme.named_by})")
        tell(f"      {theme.counted(names)}; densest on {theme.sources}")
        for one in theme.findings[:_LISTED]:
            tell(f"      {one.side.upper()} {one.rank:<4d}  feature {one.feature_id:<6d}  {called(one.label)}")
        if (more := len(theme.findings) - _LISTED) > 0:
            tell(f"      and {more:,} more")
        tell()
    for sentence in filter(None, (themes.apart_in_words(made), themes.picture_in_words(made))):
        tell(sentence)


def _plain(made: Themes) -> dict[str, Any]:
    return {
        "silhouette": made.silhouette,
        "picture": {"variance_kept": made.variance, "nearest_five_kept": made.near},
        "themes": [_plain_theme(theme, made) for theme in made.themes],
        "in_no_theme": [_of_finding(one) for one in made.without],
    }


def _plain_theme(theme: Theme, made: Themes) -> dict[str, Any]:
    return {
        "name": theme.name,
        "named_by": theme.named_by,
        "words": theme.words.split(" · ") if theme.words else [],
        "auroc": theme.auroc,
        "likeness": theme.likeness,
        "findings_of": {side: theme.of(side) for side in SIDES},
        "sources": theme.sources,
        "findings": [_of_finding(one) | {"place": made.places[one.finding]} for one in theme.findings],
    }


def _of_finding(one: Finding) -> dict[str, Any]:
    return {key: getattr(one, key) for key in ("finding", "side", "rank", "feature_id", "label", "main_source", "gap")}
