"""A contrast as plain values, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from dfc.config import SIDES, characters
from dfc.report.heatmap import called
from dfc.report.words import PARTS
from dfc.screen import contrast, reading
from dfc.screen.reading import Contrasted, ReadSet
from dfc.store.reader import Store

Toward = Literal["either", "first", "second"]
FAR = 0.65
"""An AUROC of the number of pairs, or 1 less it, from which on length is warned of."""


def plain(store: Store, found: Contrasted, rate: float, most: int, toward: Toward = "either") -> dict[str, Any]:
    """A contrast as plain values: the sets, by what it was judged, and lists.

    Args:
        store: of the run.
        found: the contrast.
        rate: of false discoveries at which a row passes.
        most: rows of each list, those furthest apart first.
        toward: the set on which rows have the higher scores; what is tested and passes is counted either way.
    """
    lists = [
        {
            "of": kind,
            "side" if kind == "findings" else "partition": whose,
            "tested": len(rows),
            "passing": int((rows["q"] <= rate).sum()),
            "rows": _rows(reading.described(store, found, _ordered(rows, rate, toward).head(most)), rate),
        }
        for kind, whose, rows in reading.groups(found)
    ]
    return {
        "sets": [_set(one) for one in found.sets],
        "in_both_sets": found.common,
        "models": {side: store.models()["name"][side] for side in SIDES},
        "score": "a feature's strongest activation on a prompt, 0 where it is silent",
        "interval": "95 %, Hanley and McNeil's standard error, Newcombe's method 5",
        "test": "Mann and Whitney's, two-sided; false discovery rate by Benjamini and Hochberg, of features and of "
        "findings each among themselves",
        "tested": f"what fires on at least {contrast.LEAST_FIRINGS} prompts of both sets together",
        "false_discovery": rate,
        "length_alone": {key: found.length[key] for key in ("auroc", "low", "high")},
        "lists": lists,
    }


def _ordered(rows: pd.DataFrame, rate: float, toward: Toward) -> pd.DataFrame:
    """Those rows that have the higher scores on a set, those that pass before those that do not."""
    rows = rows.sort_values("q", key=lambda q: q > rate, kind="stable")
    if toward == "either":
        return rows
    return rows[(rows["auroc"] > 0.5) if toward == "first" else (rows["auroc"] < 0.5)]


def _set(one: ReadSet) -> dict[str, Any]:
    return {
        "name": one.name,
        "prompts": one.scores.prompts,
        "pairs": int(one.pairs.sum()),
        "left_out": one.silent,
        "cut": one.cut,
        "remarks": list(one.remarks),
    }


def _rows(rows: pd.DataFrame, rate: float) -> list[dict[str, Any]]:
    return [
        {
            "feature_id": row["feature_id"],
            "partition": row["partition"],
            "label": row["label"],
            "peak_tokens": list(row["peak_tokens"]),
            "verdict": row["verdict"] if isinstance(row["verdict"], str) else None,
            "finding": None if pd.isna(row["finding"]) else int(row["finding"]),
            "finding_rank": row["rank"] or None,
            "fires_on": [row["first"], row["second"]],
            "auroc": row["auroc"],
            "low": row["low"],
            "high": row["high"],
            "p": row["p"],
            "false_discovery": row["q"],
            "passes": row["q"] <= rate,
            "example": {"set": row["set"], "text": row["example"]},
        }
        for row in rows.to_dict("records")
    ]


def set_in_words(one: Mapping[str, Any]) -> str:
    """A set with what of it was left out, or read otherwise; `one` is of `plain`."""
    said = [f"{one['prompts']:,} prompts, {one['pairs']:,} pairs of tokens that count"]
    if one["left_out"]:
        said.append(f"{one['left_out']:,} prompts left out, of which no token counts")
    if one["cut"]:
        said.append(f"{one['cut']:,} prompts whose end was not read, since a model takes no more tokens")
    return f"{characters.shown(one['name'])}: {'; '.join([*said, *map(characters.shown, one['remarks'])])}"


def length_in_words(result: Mapping[str, Any]) -> str:
    """How far the number of pairs alone tells the sets apart, and what that means; `result` is of `plain`."""
    length, common = result["length_alone"], result["in_both_sets"]
    more = ""
    if lengths_differ(result):
        more = ": longer prompts have stronger activations, so take sets of like length"
    both = f" {common:,} prompts stand in both sets." if common else ""
    return f"The number of pairs alone tells the sets apart with AUROC {_ends(length)}{more}.{both}"


def lengths_differ(result: Mapping[str, Any]) -> bool:
    """Whether the number of pairs alone tells the sets apart so far that features may tell no more than it."""
    auroc: float = result["length_alone"]["auroc"]
    return max(auroc, 1 - auroc) >= FAR


def list_in_words(group: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """What a list is of, and how many pass; `group` is of `plain`."""
    if group["of"] == "findings":
        side = group["side"]
        what = f"findings in favour of {side.upper()}, {characters.shown(result['models'][side])}"
    else:
        what = f"features, {PARTS[group['partition']]}"
    return f"{what}: {group['passing']:,} of {group['tested']:,} that were tested pass"


def row_in_words(row: Mapping[str, Any]) -> list[str]:
    """A feature and how it tells the sets apart, a line each."""
    finding = f", finding {row['finding_rank']}" if row["finding_rank"] else ""
    chance = f"q {row['false_discovery']:.1e}{'' if row['passes'] else ', does not pass'}"
    return [
        f"AUROC {_ends(row)}  fires on {row['fires_on'][0]} | {row['fires_on'][1]}  {chance}",
        f"  feature {row['feature_id']} ({PARTS[row['partition']]}{finding}) {called(row['label'])}",
        *([f"  {characters.shown(row['example']['set'])}: {row['example']['text']}"] if row["example"]["text"] else []),
    ]


def rule_in_words(result: Mapping[str, Any]) -> str:
    """How to read the figures."""
    first, second = (characters.shown(one["name"]) for one in result["sets"])
    return (
        f"AUROC: how often a prompt of {first} has the higher score than one of {second}, with an interval of "
        f"{result['interval']}. Score: {result['score']}. Tested: {result['tested']}, by {result['test']}; of what "
        f"passes at most {100 * result['false_discovery']:g} % is expected to do so by chance. Every prompt counts as "
        "one observation: where some say nearly the same, figures look surer than they are."
    )


def _ends(of: Mapping[str, Any]) -> str:
    return f"{of['auroc']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
