"""Contexts coloured by which model expects them better: what is measured, and what is not said of the rest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dfc.config import EvidenceConfig
from dfc.store import attached
from dfc.store.reader import Context, Store
from dfc.store.writer import evidence_writer
from dfc.ui.feature import gaps
from tests.ui.folders import A_FEATURE, make_run
from tests.ui.pages import FEATURE, calm, text, visit


def context() -> Context:
    """Five pairs of the characters 10 to 30; in A one more token before the second, in B one after the last."""
    return Context(
        feature_id=0, band=0, rank=0, document=7, source="x", peak=2.0, peak_a=3, peak_b=2, role="text",
        start=10, stop=30, tokens_a=list("abcdef"), tokens_b=list("uvwxyz"),
        activations_a=[0.0, None, 0.0, 2.0, 0.0, 0.0], activations_b=[0.0, 0.0, 2.0, 0.0, 0.0, None],
    )  # fmt: skip


def test_each_pair_has_its_gap_and_tokens_without_a_partner_that_of_the_next() -> None:
    ends, measured = [10, 14, 18, 22, 26, 30, 34], [9.0, None, 0.5, -1.0, 0.0, 2.0, 9.0]
    shown = gaps.coloured(context(), (ends, measured))
    assert shown.context.activations_a == [None, 0.5, 0.5, -1.0, 0.0, 2.0]
    assert shown.context.activations_b == [None, 0.5, -1.0, 0.0, 2.0, None]
    assert shown.gaps == [0.5, 0.5, -1.0, 0.0, 2.0]
    a, b = shown.notes["a"], shown.notes["b"]
    assert a[0].startswith("no figure: the models were not given the same")
    assert (a[1], a[3]) == (
        "A expects better by 0.50 nats what ends here",
        "B expects better by 1.00 nats what ends here, activation 2",
    )
    assert b[5] == "not paired"


@pytest.mark.parametrize(
    ("measured", "known"),
    [
        (([14, 18], [None, 0.5]), 2),  # the beginning alone was measured
        (None, 0),
        (([12, 14, 16, 18, 20, 22], [0.5] * 6), 0),  # of other pairs
    ],
)
def test_what_was_not_measured_is_not_guessed(measured: gaps.Measured | None, known: int) -> None:
    shown = gaps.coloured(context(), measured)
    assert sum(note.startswith("not measured") for note in shown.notes["b"]) == 5 - known
    assert [value for value in shown.context.activations_b if value is not None] == [0.5] * bool(known)


def test_the_page_colours_what_was_measured_and_counts_the_rest(data: Path) -> None:
    run = make_run(data)
    contexts = Store(run.store).contexts(A_FEATURE)
    one = contexts[0]
    pairs = sum(value is not None for value in one.activations_a)
    ends = list(range(one.stop - pairs + 1, one.stop + 1))
    rows = {"document": [one.document], "ends": [ends], "gaps": [[-3.0] * pairs]}
    said = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE), contexts_by="gap")))
    assert f"0 of {len(contexts)} contexts lie where the models’ surprise was measured" in said
    assert "`python -m dfc verify demo` measures it" in said
    with evidence_writer(attached.evidence_path(run.store)) as writer:
        settings = EvidenceConfig().model_dump(mode="json")
        writer.facts({"verified": True, "identity": attached.identity(run.store), "evidence": settings})
        writer.append("pair_gaps", pa.table(rows))
    said = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE), contexts_by="gap")))
    assert 'title="' in said
    assert "B expects better by 3.00 nats what ends here" in said
    assert f" of {len(contexts)} contexts lie where" in said
    assert "`evidence.surprise_pairs` measures more" in said
    plainly = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE))))
    assert 'class="dfc-context dfc-between"' not in plainly
