"""What models are asked, as it is kept: the JSON of today's histories, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dfc import corpus
from dfc.config import UserError
from dfc.requests import Edit, Prompt, Sampling, Sweep, Trial, Turn

ROOT = Path(__file__).parents[1]
EDITS = (Edit("a", 3, "conditional", -1.5, "prompt", 0.25), Edit("b", 60))
BEFORE = (Turn("system", "Be <i>brief"), Turn("user", "你好"))
KEPT_EDITS = (
    '[{"side": "a", "feature": 3, "mode": "conditional", "strength": -1.5, "where": "prompt", "threshold": 0.25}, '
    '{"side": "b", "feature": 60, "mode": "add", "strength": 1.0, "where": "all", "threshold": 0.0}]'
)
KEPT_BEFORE = '[{"role": "system", "content": "Be <i>brief"}, {"role": "user", "content": "你好"}]'


def test_a_trial_is_kept_as_it_ever_was() -> None:
    trial = Trial(Prompt("桥 “old”", True, BEFORE), EDITS, Sampling(5, 0.7, 0.9, 3))
    kept = (
        f'{{"prompt": "桥 “old”", "edits": {KEPT_EDITS}, '
        '"sampling": {"max_new_tokens": 5, "temperature": 0.7, "top_p": 0.9, "seed": 3}, '
        f'"chat": true, "earlier": {KEPT_BEFORE}}}'
    )
    assert trial.to_json() == kept
    assert Trial.from_json(kept) == trial
    assert trial.sides == ["a", "b"]
    older = {name: value for name, value in json.loads(kept).items() if name != "earlier"}
    assert Trial.from_json(json.dumps(older)) == replace(trial, prompt=Prompt("桥 “old”", True))


def test_a_sweep_is_kept_as_it_ever_was() -> None:
    sweep = Sweep(
        EDITS, (0.0, 1.0, -2.0), ("one", "二"), Sampling(8, 1.0), True, ("rain", "河"), "", True, "name", BEFORE
    )
    kept = (
        f'{{"edits": {KEPT_EDITS}, "strengths": [0.0, 1.0, -2.0], "prompts": ["one", "二"], '
        '"sampling": {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "seed": 0}, "chat": true, '
        '"words": ["rain", "河"], "regex": "", "control": true, "title": "name", '
        f'"earlier": {KEPT_BEFORE}}}'
    )
    assert sweep.to_json() == kept
    assert Sweep.from_json(kept) == sweep
    assert sweep.asked == (Prompt("one", True, BEFORE), Prompt("二", True, BEFORE))
    assert (sweep.tried, sweep.outputs) == ((-2.0, 1.0), 2 * 2 * 5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"edits": ()}, "there are no edits"),
        ({"strengths": ()}, "there are no strengths"),
        ({"prompts": ()}, "there are no prompts"),
        ({"strengths": (1.0, math.nan)}, "strength must be a finite number"),
        ({"strengths": (0.0,)}, "strength 0 alone changes nothing"),
        ({"regex": "["}, "is no regular expression"),
    ],
)
def test_a_sweep_that_cannot_be_done(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Sweep(**{"edits": EDITS, "strengths": (1.0,), "prompts": ("one",), **change})  # type: ignore[arg-type]


def test_turns_are_those_of_the_corpus() -> None:
    assert corpus.Turn is Turn


def test_requests_need_no_torch() -> None:
    code = "import sys, dfc.requests, dfc.steering.trials, dfc.steering.answers, dfc.steering.measures"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(sorted({{'torch', 'transformers', 'streamlit'}} & set(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
