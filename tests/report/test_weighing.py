"""The evidence of a feature in words, and the factors of its score."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dfc.report import score, weighing
from dfc.report.words import verdict_means
from dfc.store.reader import EvidenceRow

NAMES = {"a": "Qwen", "b": "Gemma"}
SURPRISE, PROBES = {"rule": "surprise"}, {"rule": "probes"}
KNOWN = {
    "own_r2": 0.4, "probe_r2_a": 0.4, "probe_r2_b": 0.1, "probe_ratio": 0.25, "auroc_ratio": 0.88,
    "matched_gap": 0.126, "matched_error": 0.01, "held_out_gap": 0.11, "held_out_error": 0.02,
    "plain_gap": 1.26, "plain_error": 0.1, "mirror_id": 60, "mirror_correlation": 0.12,
    "shared_id": 150, "shared_correlation": 0.08, "held_out_count": 41, "verdict": "exclusive",
    "confidence": (1 - (0.25 + 0.88) / 2) * (0.116 / 0.146) * 0.88 * 0.92 * 41 / 46,
}  # fmt: skip


def weighed(facts: dict[str, Any] = SURPRISE, partition: Any = "a", **changed: Any) -> weighing.Weighed:
    return weighing.of(EvidenceRow(KNOWN | changed), partition, facts, NAMES)  # type: ignore[arg-type]


def test_one_sentence_is_made_of_the_numbers() -> None:
    assert weighed().sentence == (
        "Gemma is 0.126 ± 0.010 nats a character more surprised after it than Qwen, beyond like texts (without those "
        "taken off, 1.260 ± 0.100 more); a probe of Gemma finds its firings 88 % as well as one of Qwen; the likest "
        "feature correlates 0.12; 41 held-out firings."
    )


def test_that_surprise_is_missing_is_said_where_it_is_missing_alone() -> None:
    missing = {"matched_gap": None, "matched_error": None, "held_out_gap": None, "plain_gap": None}
    assert "was not measured" not in weighed().sentence
    assert "was not measured" in weighed(PROBES, **missing).sentence
    assert "like places" in weighed(**missing).sentence
    assert "was not asked" not in verdict_means("exclusive", SURPRISE)
    assert "was not asked" in verdict_means("exclusive", PROBES)


def test_all_that_is_strong_speaks_for_it() -> None:
    case = weighed()
    assert case.against == ()
    assert case.for_it[0] == (
        "Qwen does better after it than in like texts: 0.126 ± 0.010 (0.03 and 2 standard errors are asked)."
    )
    assert "No feature of Gemma's own, and no shared one, correlates above 0.12 with it." in case.for_it
    assert case.design == "May act only in model A, by the dictionary's design."
    shared = weighed(partition="shared")
    assert shared.design == "May act in both models, by the dictionary's design."
    assert "Both may use it" in shared.means


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"matched_gap": 0.02}, "Qwen does not do better enough after it: 0.020 ± 0.010"),
        ({"matched_gap": 0.05, "matched_error": 0.03}, "Qwen does not do better enough after it"),
        ({"matched_gap": -0.05}, "Gemma does better after it than in like texts: 0.050"),
        ({"matched_gap": None}, "cannot be compared with like places"),
        ({"held_out_gap": -0.01}, "On held-out documents alone it is not sure: −0.010 ± 0.020"),
        ({"probe_ratio": 0.8, "auroc_ratio": 0.95}, "Gemma's activations predict it nearly as well"),
        ({"probe_ratio": 0.65}, "Gemma's activations predict it to a part"),
        ({"mirror_correlation": 0.7}, "Feature 60, which may act only in Gemma, fires like it: correlation 0.70"),
        ({"shared_correlation": 0.6}, "The shared feature 150 fires like it: correlation 0.60 (limit 0.6)"),
        ({"own_r2": 0.03}, "Its own model's activations hardly predict it: R² 0.03"),
        ({"held_out_count": 3}, "Only 3 held-out firings (5 are asked)"),
    ],
)
def test_each_weak_piece_speaks_against_it(changed: dict[str, Any], words: str) -> None:
    against = weighed(**changed).against
    assert len(against) == 1
    assert words in against[0]


def test_the_rule_of_the_run_is_what_it_is_held_to() -> None:
    strict = SURPRISE | {"evidence": {"surprise_gap": 0.2, "of_another_version": 1}}
    assert any("0.2 and 2 standard errors are asked" in point for point in weighed(strict).against)


def test_a_shared_feature_is_the_model_s_that_predicts_it_better() -> None:
    case = weighed(partition="shared", probe_r2_a=0.1, probe_r2_b=0.4, mirror_correlation=None)
    assert case.sentence.startswith("Qwen is 0.126")
    assert case.design.startswith("May act in both models")


def test_a_shared_feature_is_told_from_the_side_that_does_better_after_it() -> None:
    """Its figures are kept as of the model that predicts it better, which may be the other one."""
    behind = {"matched_gap": -0.126, "plain_gap": -1.26, "held_out_gap": -0.11, "probe_ratio": 0.8, "auroc_ratio": 0.95}
    case = weighed(partition="shared", mirror_correlation=None, **behind)
    assert case.sentence.startswith(
        "Qwen is 0.126 ± 0.010 nats a character more surprised after it than Gemma, beyond like texts (without "
        "those taken off, 1.260 ± 0.100 more"
    )
    assert any(point.startswith("Gemma does better after it than in like texts: 0.126") for point in case.for_it)
    assert "On held-out documents, too: 0.110 ± 0.020." in case.for_it
    assert any("Qwen's activations predict it nearly as well: 1.25 of the R²" in point for point in case.against)
    assert case.measured_as.startswith("Figures are kept as Qwen has them")
    assert weighed(partition="shared", mirror_correlation=None).measured_as == ""


def test_a_gap_the_other_way_with_nothing_taken_off_is_said_in_words() -> None:
    assert "beyond like texts (without those taken off, 0.500 ± 0.100 less)" in weighed(plain_gap=-0.5).sentence


def test_what_was_not_compared_is_not_claimed() -> None:
    case = weighed(partition="shared", mirror_correlation=None, shared_correlation=None)
    assert "Whether another feature fires like it was not compared." in case.against
    assert case.means.endswith("whether another feature fires like it was not compared.")
    assert "alone" not in case.factors


def test_the_factors_multiply_to_the_score_that_was_kept_or_are_not_shown() -> None:
    factors = weighed().factors
    assert list(factors) == list(score.FACTORS)
    assert math.prod(factors.values()) == pytest.approx(KNOWN["confidence"])
    assert weighed(confidence=0.9).factors == {}
