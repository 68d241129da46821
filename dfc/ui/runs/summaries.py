"""What the Runs page knows of each run; a run that cannot be read says why and keeps nobody from the others."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from dfc.config import SIDES, RunConfig, UserError
from dfc.machine import disk
from dfc.runs import STAGES, Run
from dfc.store.reader import Store
from dfc.ui.shell import data
from dfc.worlds import null_result

LONGEST = 60
"""Characters of a setting's value that are shown."""


@dataclass(frozen=True)
class Summary:
    """One run.

    Attributes:
        run: its folder.
        config: None where it cannot be read.
        missing: the first stage that has not finished; empty if all have.
        lines: of metrics.jsonl.
        facts: of the store; empty before there is one.
        verdicts: features of each verdict in each partition; empty before `verify`.
        null_share: of the dedicated features of its null run, those called exclusive; None if it had none.
        null_problem: why that is not known though it had one, a sentence.
        problem: why it cannot be read, a sentence; empty if it can.
        came_of_it: what is no setting and may differ all the same, as `came_of` gives it.
    """

    run: Run
    config: RunConfig | None = None
    missing: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    null_share: float | None = None
    null_problem: str = ""
    problem: str = ""
    came_of_it: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def ends_after_training(self) -> bool:
        """Whether nothing is missing though it is not indexed: it was made for another run."""
        return self.missing in ("encode", "index") and bool(self.run.made_for)

    @property
    def is_finished(self) -> bool:
        return not self.missing and not self.problem


def summarise(path: Path) -> Summary:
    """What is known of a run; it never raises."""
    run = Run(path)
    missing = next((stage for stage in STAGES if not run.done()[stage]), "")
    config, facts, verdicts, problem, came_of_it = None, {}, {}, "", {}
    try:
        config = run.config()
        if not missing:
            store = Store(run.store)
            facts = data.facts(store)
            came_of_it = came_of(run, store, facts)
            verdicts = {
                str(partition): {str(verdict): int(value) for verdict, value in row.items()}
                for partition, row in data.verdicts(store).to_dict("index").items()
            }
    except UserError as error:
        problem = str(error)
    null_share, null_problem = None, ""
    try:
        null = null_result.read(run)
        null_share = null.share if null else None
    except UserError as error:
        null_problem = str(error)
    lines = data.metric_lines(run)
    return Summary(run, config, missing, lines, facts, verdicts, null_share, null_problem, problem, came_of_it)


def came_of(run: Run, store: Store, facts: dict[str, Any]) -> dict[str, str]:
    """What is no setting of a run and may differ all the same, by name: what followed from its data, when each stage
    ended, and under which versions.

    Raises:
        UserError: if the store cannot be read.
    """
    derived = {
        "pairs kept": f"{facts.get('kept_pairs', 0):,}",
        "documents held out": f"{facts.get('held_out_documents', 0):,}",
    }
    models: Any = store.models()
    for side in SIDES:
        factors = np.atleast_1d(np.asarray(models.loc[side, "scale"], dtype=float))
        spread = "" if np.ptp(factors) == 0 else f", {factors.min():.4g} to {factors.max():.4g}"
        derived[f"scale of {side.upper()}"] = f"{factors.mean():.4g}{spread}"
    stages: dict[str, Any] = {}
    if run.provenance.exists():
        with disk.reading(run.provenance, "delete it; a new one is begun"):
            stages = dict(disk.read_json(run.provenance))
    for stage in [name for name in (*STAGES, "verify") if name in stages]:
        made = stages[stage]
        derived[f"{stage}: finished"] = str(made.get("finished", "–"))
        derived |= {f"{stage}: {name}": str(version) for name, version in (made.get("versions") or {}).items()}
    return derived


def differences(summaries: list[Summary]) -> dict[str, list[str]]:
    """Settings whose value is not the same in all of the runs: `section.key` to the value in each, for people.

    A setting that only some of them have, such as a source of the corpus, counts as different.
    """
    flat = [_flat(summary.config.model_dump(mode="json")) if summary.config else {} for summary in summaries]
    return _unlike(flat, without="name")


def other_differences(summaries: list[Summary]) -> dict[str, list[str]]:
    """The same of what is no setting: what came of the data, versions, dates."""
    return _unlike([summary.came_of_it for summary in summaries if summary.is_finished])


def _unlike(flat: list[dict[str, str]], without: str = "") -> dict[str, list[str]]:
    """What is not the same in all."""
    keys = dict.fromkeys(key for settings in flat for key in settings if key != without)
    table = {key: [settings.get(key, "–") for settings in flat] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}


def help_of(key: str) -> str:
    """The line of help of a setting, `section.key`; empty where it has none of its own."""
    kind: Any = RunConfig
    described = ""
    for name in key.split("."):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields):
            return ""
        described, kind = kind.model_fields[name].description or "", kind.model_fields[name].annotation
    return described


def _flat(settings: Any, before: str = "") -> dict[str, str]:
    """Nested settings as `section.key`; items of a list that have a name stand under it."""
    if isinstance(settings, dict):
        items = settings.items()
    elif (
        isinstance(settings, list) and settings and all(isinstance(item, dict) and "name" in item for item in settings)
    ):
        items = {item["name"]: {k: v for k, v in item.items() if k != "name"} for item in settings}.items()
    else:
        text = settings if isinstance(settings, str) else json.dumps(settings, ensure_ascii=False)
        return {before: text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"}
    flat: dict[str, str] = {}
    for name, value in items:
        flat |= _flat(value, f"{before}.{name}" if before else str(name))
    return flat
