"""What a run's store says, without the app: runs, one run, its features, and one feature with its contexts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dfc import runs
from dfc.cli.base import app, records, tell, tell_json
from dfc.config import PARTITIONS, SIDES, VERDICTS, Partition, UserError, characters
from dfc.runs import Run

if TYPE_CHECKING:
    from dfc.store.reader import Context

Known = TypeVar("Known", bound=str)
Name = Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON value")]
_QUIET = ("histogram_edges", "quantile_levels", "remarks", "evidence")
"""Facts of a run that say how others were measured; remarks are told in words."""


@app.command(name="runs")
def list_runs(as_json: Json = False) -> None:
    """List the runs there are, and how far each is."""
    found = [_state(run) for run in runs.all_runs()]
    if as_json:
        tell_json(found)
        return
    for one in found:
        tell(f"{one['name']:<20} {one['problem'] or 'done: ' + (', '.join(one['done']) or 'nothing yet')}")
    if not found:
        tell(f"There are no runs in {runs.data_folder() / 'runs'}.")


def _state(run: Run) -> dict[str, Any]:
    try:
        models = {side: run.config().models.side(side).title for side in SIDES}
        done, problem = [stage for stage, is_done in run.done().items() if is_done], None
        if run.done()["index"]:
            from dfc.store.reader import Store

            done += ["verify"] if Store(run.store).facts().get("verified") else []
    except UserError as error:
        models, done, problem = {}, [], str(error)
    return {"name": run.name, "path": str(run.path), "models": models, "done": done, "problem": problem}


@app.command()
def overview(name: Name, as_json: Json = False) -> None:
    """Say what a run compared, how well its dictionary explains it, and how much was found."""
    run = runs.find(name)
    from dfc import corpus
    from dfc.report import findings
    from dfc.store.reader import Store

    store = Store(run.store)
    facts, found, tested = store.facts(), findings.of(store), store.tested()
    models = store.models().drop(columns="scale").reset_index()
    verdicts = store.verdicts().astype(int)
    result: dict[str, Any] = {
        "run": run.name,
        "models": {row["side"]: row for row in records(models)},
        "facts": {key: value for key, value in facts.items() if key not in _QUIET},
        "remarks": corpus.remarks(facts.get("remarks") or {}, run.config()),
        "partitions": {row["partition"]: row for row in records(store.partitions().reset_index())},
        "verdicts": {row.pop("partition"): row for row in records(verdicts.reset_index())} if len(verdicts) else {},
        "tested": tested,
        "findings": {side: sum(one.side == side for one in found) for side in SIDES},
        "rule": findings.settings(facts, tested) if found else findings.lacking(facts, tested, run.name),
        "texts": records(store.texts()),
    }
    if as_json:
        tell_json(result)
        return
    for side, model in result["models"].items():
        tell(
            f"{side.upper()}  {model['name']}, layer {model['layer']} of {model['layers']}, width {model['width']:,}, "
            f"{model['fve']:.1%} explained; {result['findings'][side]} findings"
        )
    tell(f"{facts['kept_pairs']:,} pairs of {facts['documents']:,} documents; {facts['features']:,} features")
    for partition, row in result["partitions"].items():
        judged = ", ".join(f"{count} {word}" for word, count in result["verdicts"].get(partition, {}).items())
        tell(f"{partition:<8} {row['features']:,} features, {row['alive']:,} alive{f'; {judged}' if judged else ''}")
    for remark in result["remarks"]:
        tell(remark)
    tell(result["rule"])


@app.command()
def features(
    name: Name,
    partition: Annotated[
        list[str] | None, typer.Option(help="a, b or shared; may be given several times; default: all")
    ] = None,
    search: Annotated[
        str, typer.Option(help="text that a context or the label holds as it stands, whatever its case")
    ] = "",
    verdict: Annotated[list[str] | None, typer.Option(help="may be given several times; default: any")] = None,
    source: Annotated[str | None, typer.Option(help="fires on this source more often than on all texts")] = None,
    finding: Annotated[int | None, typer.Option(min=0, help="the features of the finding of this number")] = None,
    order: Annotated[str | None, typer.Option(help="a column's name; default: relevance, confidence or main share")] = (
        None
    ),
    rising: Annotated[bool, typer.Option("--rising", help="the lowest first")] = False,
    first: Annotated[int, typer.Option(min=1, help="so many rows")] = 20,
    skip: Annotated[int, typer.Option(min=0, help="rows that are left out before these")] = 0,
    as_json: Json = False,
) -> None:
    """List features, filtered, sorted, or searched by the words of their contexts."""
    run = runs.find(name)
    from dfc.report import findings
    from dfc.store import query
    from dfc.store.reader import FeatureQuery, Store

    store = Store(run.store)
    usual = query.RELEVANCE if search else "confidence" if store.facts().get("verified") else "specificity"
    if (by := order or usual) not in query.orders():
        raise UserError(f"features: there is no order `{by:.40}`; it is one of {', '.join(query.orders())}.")
    if source is not None:
        _known("source", [source], tuple(store.facts().get("source_pairs", {source: 0})))
    if finding is not None:
        _known("finding", [str(finding)], tuple(str(one.finding) for one in findings.of(store)))
    asked = FeatureQuery(
        partitions=_known("partition", partition, PARTITIONS) or PARTITIONS,
        search=search,
        verdicts=_known("verdict", verdict, VERDICTS),
        source=source,
        finding=finding,
        order=by,
        descending=query.begins_low(by) == rising,
        limit=first,
        offset=skip,
    )
    total, rows = store.count(asked), records(store.features(asked).drop(columns="histogram"))
    if search:
        matches = {row["feature_id"]: row for row in records(store.matches(asked, [row["feature_id"] for row in rows]))}
        rows = [{**row, "match": matches.get(row["feature_id"], {}).get("text")} for row in rows]
    if as_json:
        tell_json({"run": run.name, "total": total, "order": by, "features": rows})
        return
    from dfc.report.heatmap import called

    for row in rows:
        judged = f"  {row['verdict']} {row['confidence']:.2f}" if row["verdict"] else ""
        fires = f"fires on {row['density']:.4%}{judged}"
        tell(f"{row['feature_id']:>7}  {row['partition']:<6}  {fires}  {called(row['label'])}")
    tell(f"{len(rows)} of {total:,} features, by {by}")


@app.command()
def feature(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="FEATURE", min=0, help="its number")],
    contexts: Annotated[int, typer.Option(min=0, help="contexts of each band, the strongest first")] = 3,
    as_json: Json = False,
) -> None:
    """Say everything about one feature: evidence, contexts, what it writes, where it fires, and which are like it."""
    run = runs.find(name)
    from dfc.report import causal, exclusivity, findings, said, weighing
    from dfc.report.words import told_apart
    from dfc.store.explanations import NOTHING, ExplanationStore
    from dfc.store.reader import Store

    store = Store(run.store)
    row, evidence, facts = store.feature(number), store.evidence(number), store.facts()
    models: Any = store.models()
    names = told_apart(models["name"], {side: f"layer {models.loc[side, 'layer']}" for side in SIDES})
    found, checked = findings.of(store), causal.kept(store, [number]).get(number)
    alike = exclusivity.kept(store, [number]).get(number, ())
    shown = [one for one in store.contexts(number) if one.rank < contexts]
    told = ExplanationStore(run.explanations).told({number: row.fingerprint}).get(number, NOTHING)
    result: dict[str, Any] = {
        "run": run.name,
        **asdict(row),
        "evidence": None if evidence is None else dict(evidence.values),
        "finding": "" if evidence is None else findings.belonging(evidence, found, names),
        "weighed": None
        if evidence is None
        else asdict(weighing.of(evidence, row.partition, facts, names, checked, alike)),
        "causal": None if checked is None else checked.plain(),
        "exclusivity": [one.plain() for one in alike],
        **said.plain(told),
        "contexts": [_context(one, row.partition) for one in shown],
        "logits": records(store.logits(number)),
        "sources": records(store.sources(number)),
        "roles": records(store.roles(number)),
        "phrases": records(store.phrases([number]).drop(columns="feature_id")),
        "coactivations": records(store.coactivations(number)),
        "neighbours": records(store.neighbours(number)),
    }
    if as_json:
        tell_json(result)
        return
    tell(f"feature {number} ({row.partition})  {characters.shown(row.label)}")
    tell(f"fires on {row.density:.4%} of pairs, up to {row.max:.2f}; densest on {characters.shown(row.main_source)}")
    if evidence is not None:
        tell(f"{evidence.verdict}, evidence score {evidence.confidence:.2f}. {result['finding']}")
    if checked is not None:
        tell(causal.sentence(checked, names))
    for way in alike:
        tell(exclusivity.sentence(way))
    for line in said.lines(told):
        tell(line)
    for one in result["contexts"]:
        tell(f"  {one['peak']:6.2f}  {characters.shown(one['source'])}: {one['text']}")
    logits: Any = store.logits(number).groupby(["side", "direction"])
    for (side, direction), group in logits:
        tell(f"{direction} in {side.upper()}: {', '.join(map(repr, group['token']))}")


def _known(option: str, given: list[str] | None, known: tuple[Known, ...]) -> tuple[Known, ...]:
    """What was given of the words that an option knows.

    Raises:
        UserError: if another was.
    """
    if strange := [word for word in given or () if word not in known]:
        others = f"it is one of {', '.join(known)}" if known else "the run has none"
        raise UserError(f"features: there is no {option} `{strange[0]:.40}`; {others}.")
    return tuple(word for word in known if word in (given or ()))


def _context(context: Context, partition: Partition) -> dict[str, Any]:
    """A context as plain values; in its text the peak stands in brackets."""
    from dfc.report import findings
    from dfc.report.heatmap import side_of

    kept = ("band", "rank", "document", "source", "role", "start", "stop", "peak")
    return {name: getattr(context, name) for name in kept} | {"text": findings.quoted(context, side_of(partition))}
