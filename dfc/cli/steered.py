"""What steering gave, printed or as JSON: sweeps, the history, proposals of a strength."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dfc.cli.base import records, tell, tell_json
from dfc.requests import Edit, Prompt
from dfc.runs import Run
from dfc.steering.measures import Measure

if TYPE_CHECKING:
    import pandas as pd


def proposals(run: Run, chosen: tuple[Edit, ...], prompt: Prompt, as_json: bool) -> None:
    """Find for each edit the largest strength at which the model's text holds together."""
    from dfc.steering.loading import steerable
    from dfc.steering.strength import BOUND, propose_strength

    found: list[dict[str, Any]] = []
    for edit in chosen:
        model = steerable(run.config().models.side(edit.side))
        proposal = propose_strength(run, model, edit, prompt)
        steps = [
            {"strength": step.strength, "perplexity": step.perplexity, "coherent": step.coherent, "text": step.text}
            for step in proposal.steps
        ]
        found.append(
            {"feature": edit.feature, "side": edit.side, "model": model.title, "perplexity": proposal.baseline}
            | {"strength": proposal.strength, "steps": steps}
        )
        if as_json:
            continue
        tell(f"feature {edit.feature} in {model.title}: perplexity of its own text {proposal.baseline:.3g}")
        for step in proposal.steps:
            mark = "" if step.coherent else "  falls apart"
            tell(f"  {step.strength:>6g}  perplexity {step.perplexity:>10.3g}{mark}  {step.text!r:.100}")
        best = "none of these" if proposal.strength is None else f"{proposal.strength:g}"
        tell(f"  largest at which perplexity stays below {BOUND:g} times its own: {best}")
    if as_json:
        tell_json(found)


def sweep(run: Run, sweep_id: str, measure: Measure, as_json: bool) -> None:
    """A kept sweep: its effect against strength and its largest effects; as JSON its answers, too."""
    from dfc.steering import effects, trials

    kept = trials.store(run)
    outputs = kept.outputs(sweep_id)
    curves, table = effects.curves(outputs, measure), effects.table(outputs, measure)
    if as_json:
        [row] = [one for one in _sweeps(run) if one["sweep_id"] == sweep_id]
        tell_json(
            row
            | {"measure": measure, "curves": records(curves), "largest": records(table), "answers": records(outputs)}
        )
        return
    _print_table(curves, f"{measure} against strength")
    _print_table(table, f"largest effect on {measure}")


def history(run: Run, as_json: bool) -> None:
    """What was tried with a run, and its sweeps, the latest first."""
    from dfc.steering import trials

    tried, sweeps = records(trials.store(run).tried()), _sweeps(run)
    if as_json:
        tell_json(
            {
                "trials": [
                    one | {"request": json.loads(one["request"]), "answers": json.loads(one["answers"])}
                    for one in tried
                ],
                "sweeps": sweeps,
            }
        )
        return
    if not tried and not sweeps:
        tell(f"Nothing was steered with {run.name} yet: python -m dfc steer {run.name} --feature NUMBER")
    for row in tried:
        tell(f"{row['tried_id']}  {row['tried_at'][:16].replace('T', ' ')}  {row['prompt']!r:.70}")
    for row in sweeps:
        time = row["started"][:16].replace("T", " ")
        tell(f"{row['sweep_id'][:12]}  {time}  sweep, {row['status']}: {row['title']}")


def _sweeps(run: Run) -> list[dict[str, Any]]:
    """The sweeps of a run as plain values, the latest first."""
    from dfc.steering import trials

    return [
        one | {"settings": json.loads(one["settings"]), "judge": json.loads(one["judge"]) if one["judge"] else None}
        for one in records(trials.store(run).sweeps())
    ]


def _print_table(rows: pd.DataFrame, title: str) -> None:
    shown = rows.to_string(index=False, float_format="{:.4g}".format) if len(rows) else "(no answer has this measure)"
    tell(f"\n{title}\n{shown}")
