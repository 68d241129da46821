"""Steering without the app: one text, a table of edits, a sweep, or what was tried before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dfc import runs
from dfc.cli import steered
from dfc.cli.base import Features, app, tell, tell_json
from dfc.config import SIDES, JudgeConfig, Side, UserError
from dfc.machine import disk, progress
from dfc.requests import Edit, Mode, Prompt, Sampling, Sweep, Trial, Turn, Where
from dfc.runs import Run
from dfc.steering.answers import Answer
from dfc.steering.measures import Measure


@app.command()
def steer(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    prompt: Annotated[str, typer.Option(help="what the models go on from")] = "What's on your mind?",
    features: Features = None,
    side: Annotated[
        Literal["a", "b", "both"] | None,
        typer.Option(help="which model is steered; default: that of the feature, or of its finding, else A"),
    ] = None,
    strength: Annotated[float, typer.Option(help="in units of the feature's largest activation")] = 2.0,
    mode: Annotated[Mode, typer.Option(help="what is done")] = "add",
    where: Annotated[Where, typer.Option(help="at which positions")] = "all",
    threshold: Annotated[float, typer.Option(help="of conditional, in the same units")] = 0.0,
    edits: Annotated[Path | None, typer.Option(help="a CSV table of edits instead of --feature")] = None,
    export: Annotated[Path | None, typer.Option(help="write the edits as such a table")] = None,
    tokens: Annotated[int, typer.Option(help="longest answer")] = 60,
    temperature: Annotated[float, typer.Option(help="0: greedily")] = 0.7,
    top_p: Annotated[float, typer.Option(help="share of probability drawn from")] = 0.9,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    chat: Annotated[bool, typer.Option("--chat/--plain", help="as a user's turn, where there is a template")] = True,
    earlier: Annotated[Path | None, typer.Option(help="a file with a chat's messages before the prompt")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON value")] = False,
    propose: Annotated[bool, typer.Option("--propose", help="find the largest useful strength of the feature")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="try strengths on several prompts; kept with the run")] = False,
    strengths: Annotated[str, typer.Option(help="of a sweep, separated by commas")] = "-2,-1,0.5,1,2,4",
    prompts: Annotated[
        str, typer.Option(help="of a sweep: a set's name, a file, a glob, a folder, or a dataset")
    ] = "open",
    split: Annotated[str, typer.Option(help="of a dataset of prompts that has splits")] = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="so many of these prompts")] = None,
    words: Annotated[str, typer.Option(help="counted in a sweep's answers, separated by commas")] = "",
    regex: Annotated[str, typer.Option(help="counted in a sweep's answers, instead of words")] = "",
    control: Annotated[bool, typer.Option("--control", help="a sweep of random directions of equal norm, too")] = False,
    measure: Annotated[Measure, typer.Option(help="by which a sweep's table is sorted")] = "mean_promoted",
    top: Annotated[int | None, typer.Option(min=1, help="a sweep of so many exclusive features of each side")] = None,
    judged: Annotated[
        bool | None,
        typer.Option(
            "--judge/--no-judge",
            help="score a sweep, if run.yaml names a judge; if neither is given, only by one on this machine",
        ),
    ] = None,
    criterion: Annotated[str, typer.Option(help="of the judge, instead of that in run.yaml")] = "",
    score: Annotated[str | None, typer.Option(help="judge a kept sweep, by its id, where it has no score")] = None,
    history: Annotated[bool, typer.Option("--history", help="list what was tried, and the sweeps")] = False,
    repeat: Annotated[str | None, typer.Option(help="do a trial or a sweep again, by its id")] = None,
) -> None:
    """Let a model write while features are added, clamped or removed, beside the same model left alone."""
    run = runs.find(name)
    if history:
        steered.history(run, as_json)
        return
    judge = run.config().judge
    if judge is not None and criterion.strip():
        judge = judge.model_copy(update={"criterion": criterion.strip()})
    if score is not None:
        kept_sweep = _kept_sweep(run, score)
        if kept_sweep is None:
            raise UserError(f"{score}: no sweep of {run.name} is meant; list them with --history.")
        if judge is None:
            raise UserError(f"{run.path / 'run.yaml'}: names no judge; add a section `judge` with model and criterion.")
        _judge(run, str(kept_sweep["sweep_id"]), judge)
        steered.sweep(run, str(kept_sweep["sweep_id"]), "score", as_json)
        return
    if repeat is not None:
        again = _kept_sweep(run, repeat)
        if again is not None:
            _sweep(run, Sweep.from_json(again["settings"]), measure, _wanted(judge, judged), as_json)
        else:
            from dfc.steering import trials

            _trial(run, trials.recall(run, repeat), as_json)
        return
    from dfc.steering import edit_table, prompt_sets, sweeps  # loads torch, which the history needs not wait for

    sampling = Sampling(tokens, temperature, top_p, seed)
    asked = Prompt(prompt, chat, _chat(earlier, chat) if earlier is not None else ())
    if edits is not None:
        from dfc import corpus

        with disk.reading(edits, "give a CSV table of edits"):
            content = corpus.decoded(edits.expanduser().read_bytes(), str(edits))
        chosen = edit_table.from_csv(run, content)
    else:
        pairs = [(s, f) for f in features or () for s in _asked(side, _own(run, f))]
        if top is not None:
            pairs = [(s, f) for s in _asked(side, SIDES) for f in sweeps.exclusive_features(run, s, top)]
        chosen = tuple(Edit(s, f, mode, strength, where, threshold) for s, f in pairs)
    if not chosen:
        raise UserError("steer: nothing is to be done; give --feature, --edits, or --top with --sweep.")
    if export is not None:
        disk.write_text(export, edit_table.to_csv(run, chosen))
    if sweep:
        texts = tuple(prompt_sets.read(prompts, limit, split))
        listed = tuple(word for word in words.split(",") if word.strip())
        made = Sweep(
            chosen, _numbers(strengths), texts, sampling, asked.chat, listed, regex, control, earlier=asked.earlier
        )
        _sweep(run, made, measure, _wanted(judge, judged), as_json)
    elif propose:
        steered.proposals(run, chosen, asked, as_json)
    else:
        _trial(run, Trial(asked, chosen, sampling), as_json)


def _asked(side: Literal["a", "b", "both"] | None, own: Sequence[Side]) -> Sequence[Side]:
    """The models that are steered: its own, where none is asked for."""
    if side is None:
        return own
    return SIDES if side == "both" else (side,)


def _own(run: Run, feature: int) -> Sequence[Side]:
    from dfc.report import findings
    from dfc.store.reader import Store

    store = Store(run.store)
    return (findings.own_side(store, store.feature(feature)),)


def _chat(path: Path, chat: bool) -> tuple[Turn, ...]:
    """A chat's messages in a file.

    Raises:
        UserError: if it holds none, or the prompt is no part of a chat.
    """
    from dfc import corpus

    if not chat:
        raise UserError(
            "steer: --earlier gives a chat's messages, and --plain asks for a text that is no chat; drop one."
        )
    with disk.reading(path, "give a file with a chat's messages"):
        path.expanduser().stat()
    try:
        said, left_out = corpus.read_chat(str(path))
    except UserError as error:
        beginning = "" if str(error).startswith(str(path)) else f"{path}: "
        raise UserError(f"{beginning}{error}") from None
    if left_out:
        progress.say(f"{path}: {left_out}")
    return tuple(Turn(role, text) for role, text in said)


def _trial(run: Run, trial: Trial, as_json: bool) -> None:
    """Answer once, left alone and steered, print it with what it did, and keep it in the history."""
    from dfc.corpus import parts
    from dfc.steering import edits, generation, strength, trials
    from dfc.steering.analysis import analyse
    from dfc.steering.generation import BASELINE
    from dfc.steering.loading import steerable
    from dfc.steering.sweeps import own_gauge

    answers: dict[Side, dict[trials.Kind, Answer]] = {}
    by_side: dict[str, Any] = {}
    for side in trial.sides:
        mine = [edit for edit in trial.edits if edit.side == side]
        program = edits.program(run, mine, side)
        model = steerable(run.config().models.side(side))
        alone, steered = generation.generate(model, trial.prompt, trial.sampling, [BASELINE, program])
        ids = generation.encode_prompt(model, trial.prompt, trial.sampling.max_new_tokens)
        gauges = {edit.feature: reader for edit in mine if (reader := own_gauge(run, edit)) is not None}
        after = analyse(model, ids, steered.tokens, program, list(gauges.values()))
        before = analyse(model, ids, alone.tokens, BASELINE).perplexity
        answers[side], said = {"baseline": alone, "steered": steered}, parts(steered.text)
        entry: dict[str, Any] = {
            "model": model.title,
            "baseline": alone.text,
            "steered": steered.text,
            "answer": said.answer,
            "reasoning": said.reasoning,
            "baseline_perplexity": before,
            "perplexity": after.perplexity,
            "mean_kl": float(after.kl.mean()) if len(after.kl) else 0.0,
            "warnings": [
                *generation.remarks(model, trial.prompt),
                *strength.warnings(program, after, steered, alone, before),
            ],
            "transfer_r2": {
                str(action.edit.feature): action.vector.transfer
                for action in program.actions
                if action.vector.transfer is not None
            },
            "tokens": after.tokens,
            "probability_baseline": after.baseline.tolist(),
            "probability_steered": after.steered.tolist(),
            "kl": after.kl.tolist(),
            "activations": dict(zip(map(str, gauges), after.activations.tolist(), strict=True)),
        }
        by_side[side] = entry
        if not as_json:
            _print_answers(entry)
    identity = trials.record(run, trial, answers)
    if as_json:
        tell_json({"id": identity, **by_side})
    else:
        progress.say(f"kept as {identity}; again: python -m dfc steer {run.name} --repeat {identity}")


def _print_answers(entry: dict[str, Any]) -> None:
    tell(f"── {entry['model']}, left alone (perplexity {entry['baseline_perplexity']:.3g})\n{entry['baseline']}\n")
    tell(
        f"── {entry['model']}, steered (perplexity {entry['perplexity']:.3g} when left alone, "
        f"mean KL {entry['mean_kl']:.3g})\n{entry['steered']}\n"
    )
    if entry["reasoning"]:
        print(f"── {entry['model']}, steered, its answer without what it thinks before it\n{entry['answer']}\n")
    for feature, r2 in entry["transfer_r2"].items():
        progress.say(f"feature {feature} is of the other model: carried over by the stitch, held-out R² {r2:.2f}")
    for warning in entry["warnings"]:
        progress.say(f"note: {warning}")


def _wanted(judge: JudgeConfig | None, judged: bool | None) -> JudgeConfig | None:
    """Who scores a sweep: on another machine nobody who was not asked for; whoever made the run may have named any."""
    if judge is None or (judge.local if judged is None else judged):
        if judge is not None and judge.criterion is None and judged is None:
            progress.say("the judge in run.yaml is not told what to score: --criterion says what for")
            return None
        return judge
    if judged is None:
        progress.say(f"the judge in run.yaml is at {judge.url}, not on this machine: --judge lets it score")
    return None


def _sweep(run: Run, made: Sweep, measure: Measure, judge: JudgeConfig | None, as_json: bool) -> None:
    from dfc.steering import sweeps

    latest, stopped, problem = None, False, None
    steps = sweeps.run_sweep(run, made)
    with progress.bar("steering", made.outputs, "answers") as bar:
        try:
            for step in steps:
                latest = step
                bar.update(step.done - bar.n)
        except KeyboardInterrupt:
            stopped = True
        finally:
            steps.close()
    if judge is not None and latest is not None and not stopped:
        try:
            _judge(run, latest.sweep_id, judge)
        except KeyboardInterrupt:
            stopped = True
        except UserError as error:  # raised again below the tables: the answers are there all the same
            problem = error
    if stopped:
        progress.say("steer: stopped; what was written so far is kept")
    if latest is not None and latest.done:
        steered.sweep(run, latest.sweep_id, measure, as_json)
        if latest.approximate:
            progress.say(f"note: {latest.approximate}")
        progress.say(
            f"kept as {latest.sweep_id}; again: python -m dfc steer {run.name} --repeat {latest.sweep_id[:12]}"
        )
    if stopped:
        raise typer.Exit(130)
    if problem is not None:
        raise UserError(
            f"{problem} Then: python -m dfc steer {run.name} --score {latest.sweep_id[:12] if latest else ''}"
        )


def _judge(run: Run, sweep_id: str, judge: JudgeConfig) -> None:
    """Score a sweep's answers.

    Raises:
        UserError: if the judge cannot be used.
    """
    from dfc.steering import trials
    from dfc.steering.judge import identity, judge_sweep

    kept, problem = trials.store(run), ""
    with (
        closing(judge_sweep(kept, sweep_id, judge)) as steps,
        progress.bar("judging", len(kept.unscored(sweep_id, identity(judge))), "texts") as bar,
    ):
        for step in steps:
            problem = step.problem
            bar.update(step.done - bar.n)
    if problem:
        progress.say(f"note: {problem}")


def _kept_sweep(run: Run, identity: str) -> Any | None:
    """The sweep that the beginning of an id means; None if it means none, or several."""
    from dfc.steering import trials

    kept = trials.store(run).sweeps()
    matching = kept[kept["sweep_id"].str.startswith(identity)] if len(kept) and identity else kept.head(0)
    return matching.iloc[0] if len(matching) == 1 else None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(",") if number.strip())
    except ValueError:
        raise UserError(f"strengths: {text!r:.60} are not numbers separated by commas, such as 0.5,1,2.") from None
