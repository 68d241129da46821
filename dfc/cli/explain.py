"""Features explained by a language model, without the app."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import config, runs
from dfc.cli.base import Features, app, tell, tell_json, until_stopped
from dfc.config import JudgeConfig, UserError
from dfc.machine import progress
from dfc.runs import Run

if TYPE_CHECKING:
    from dfc.asking.budget import Budget
    from dfc.screen.explain import Progress


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="RUN", help="an indexed run's name or folder")],
    first: Annotated[int, typer.Option(min=1, help="without --feature: findings of each model, the surest first")] = 50,
    features: Features = None,
    model: Annotated[str, typer.Option(help="the judge, in place of the one in run.yaml")] = "",
    url: Annotated[str, typer.Option(help="where it is, e.g. http://localhost:11434/v1")] = "",
    protocol: Annotated[str, typer.Option(help="openai, anthropic, or local: a model that is loaded here")] = "",
    key_variable: Annotated[str, typer.Option(help="environment variable with the key, DFC_JUDGE_… in name")] = "",
    judge: Annotated[bool, typer.Option("--judge", help="ask the one in run.yaml though it is elsewhere")] = False,
    max_requests: Annotated[int | None, typer.Option(min=0, help="so many requests at most")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="so many tokens at most, of prompts and answers")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="only say what would be asked")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON: what is said of each feature")] = False,
) -> None:
    """Let a language model say what findings are about, test that on texts it has not seen, and name flags."""
    run = runs.find(name)
    given = {"model": model, "url": url, "protocol": protocol, "key_variable": key_variable}
    asked = chosen_judge(run, {key: value for key, value in given.items() if value}, judge)
    from dfc.report import findings
    from dfc.screen import explain as explaining
    from dfc.store.reader import Store

    store = Store(run.store)
    wanted = tuple(dict.fromkeys(features or ())) or explaining.best_of_findings(store, first)
    if not wanted:
        raise UserError(
            f"explain: {findings.lacking(store.facts(), store.tested(), run.name).replace('`', '')} "
            f"To explain features all the same, name them with --feature."
        )
    from dfc.asking.budget import Budget

    budget = Budget(max_requests, max_tokens)
    state = _explained(run, asked, wanted, budget, estimate)
    _print(run, wanted, as_json)
    if state is not None:
        _say(state, budget)


def chosen_judge(run: Run, given: dict[str, str], wanted: bool) -> JudgeConfig:
    """Whom to ask: the judge of run.yaml, with what was given in its place.

    Whoever made the run may have named any machine: one elsewhere that is in run.yaml alone is asked only if that is
    wanted.

    Raises:
        UserError: if there is none, what was given does not fit, or it is elsewhere and nobody asked for that.
    """
    settings = run.config().model_dump(mode="json")
    there: dict[str, Any] = settings["judge"] or {}
    elsewhere = {"url", "key_variable"} if "protocol" in given else {"key_variable"} if "url" in given else set()
    there = {key: value for key, value in there.items() if key not in elsewhere}  # a key is for one address alone
    if not there and "model" not in given:
        raise UserError(
            f"{run.path / 'run.yaml'}: names no judge; add a section `judge` with its model, or give --model and --url."
        )
    settings["judge"] = {**there, **given}
    judge = config.parse(settings, "the judge (run.yaml and options)").judge
    assert judge is not None
    if not (judge.local or wanted or {"url", "protocol"} & given.keys()):
        raise UserError(
            f"explain: the judge in run.yaml is at {judge.url}, not on this machine, and would be sent texts of the "
            f"corpus; --judge lets it be asked."
        )
    return judge


def _explained(
    run: Run, judge: JudgeConfig, wanted: tuple[int, ...], budget: Budget, only_said: bool
) -> Progress | None:
    """Ask, and say before how much that is; None if that is all that is done."""
    from dfc.asking.messages import who
    from dfc.screen import explain as explaining
    from dfc.screen import quotes, words
    from dfc.store import beside
    from dfc.store.explanations import ExplanationStore

    kept, flags, state = ExplanationStore(run.explanations), words.load(), None
    gathered = quotes.gather(run, wanted)
    foreseen = explaining.estimate(kept, judge, gathered, flags)
    progress.say(f"{who(judge)}: {foreseen.words}.")
    if without := sum(not one.shown for one in gathered):
        progress.say(f"{without:,} of {len(gathered):,} features have no context, and are left out")
    if only_said:
        return None
    beside.expect_writable(kept.path)
    with (
        until_stopped("explain: stopped; what was answered is kept, the same command goes on"),
        closing(explaining.explain(kept, judge, gathered, flags, budget)) as steps,
        progress.bar("judge: features", len(gathered), "features") as bar,
    ):
        for state in steps:
            bar.set_postfix_str(f"{budget.requests:,} requests, {budget.tokens:,} tokens", refresh=False)
            bar.update(state.done - bar.n)
    return state


def _say(state: Progress, budget: Budget) -> None:
    progress.say(
        f"{state.explained:,} of {state.total:,} features are explained; {budget.requests:,} requests and "
        f"{budget.tokens:,} tokens were asked for now"
    )
    if state.wrong:
        progress.say(f"{state.wrong:,} answers could not be used, and are asked again the next time: {state.first}")
    if state.spent:
        progress.say(f"stopped: {state.spent}; the same command goes on")


def _print(run: Run, wanted: tuple[int, ...], as_json: bool) -> None:
    from dfc.report import said
    from dfc.store.explanations import ExplanationStore
    from dfc.store.reader import Store

    told = ExplanationStore(run.explanations).told(Store(run.store).fingerprints(wanted))
    if as_json:
        tell_json([{"feature_id": feature, **said.plain(told.get(feature))} for feature in wanted])
        return
    for feature in wanted:
        if (one := told.get(feature)) is not None:
            for line in said.lines(one):
                tell(f"{feature:>7}  {line}")
