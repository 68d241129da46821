"""What judges and people say of features: kept apart, and a person's word before a judge's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from dfc.config import DamagedError, UserError
from dfc.store import attached
from dfc.store.explanations import Detection, Explanation, ExplanationStore, Said
from dfc.store.reader import FeatureQuery, Store
from tests.stores import make_store

GOOD = Detection(0.9, 0.95, 0.8, 0.99, 10, 10, 2)
PRINT = f"{3:016x}"


def said(text: str = "news of <b>China</b>", detection: Detection | None = GOOD, who: str = "m") -> Explanation:
    return Explanation(3, PRINT, "judge", who, "2026-11-30T10:00:00+00:00", text, "1", "abc", detection)


def flag(name: str = "code", applies: bool = True) -> Said:
    return Said(3, PRINT, "judge", "m", "2026-11-30T10:00:00+00:00", name, applies, "it is", "1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    make_store(tmp_path / "features.duckdb", features=60)
    return Store(tmp_path / "features.duckdb")


@pytest.fixture
def kept(store: Store) -> ExplanationStore:
    return ExplanationStore(attached.explanations_path(store.path))


def test_nothing_is_said_without_the_file(kept: ExplanationStore) -> None:
    assert kept.told({3: PRINT}) == {}
    assert kept.features() == []
    assert kept.answers() == {}
    assert not kept.path.exists()


def test_what_is_said_is_kept_and_stands_as_the_label(store: Store, kept: ExplanationStore) -> None:
    before = store.feature(3)
    kept.put(said(), [flag(), flag("refusal", False)])
    [told] = kept.told({3: PRINT, 4: "other"}).values()
    assert told.explanations == (said(),)
    assert told.label == said()
    assert {name: one.applies for name, one in told.standing.items()} == {"code": True, "refusal": False}
    after = store.feature(3)
    assert (after.label, after.label_origin, after.label_auroc) == ("news of <b>China</b>", "judge", None)
    assert (
        replace(after, label=before.label, label_origin=before.label_origin, label_auroc=before.label_auroc) == before
    )
    assert store.feature(4).label_origin in ("words", "")
    found = store.features(FeatureQuery(search="of <B>china", order="relevance", limit=5))
    assert found["feature_id"].tolist() == [3]
    assert store.features(FeatureQuery(label="<b>china"))["label"].tolist() == ["news of <b>China</b>"]


@pytest.mark.parametrize(
    "tested", [None, replace(GOOD, accuracy=0.79), replace(GOOD, silent=4), replace(GOOD, firing=4)]
)
def test_what_does_not_hold_is_no_label(tested: Detection | None, store: Store, kept: ExplanationStore) -> None:
    before = store.feature(3)
    kept.put(said(detection=tested), [])
    assert store.feature(3) == before
    assert kept.told({3: PRINT})[3].explanation == said(detection=tested)


def test_a_persons_word_holds_and_is_never_overwritten(store: Store, kept: ExplanationStore) -> None:
    kept.label(3, PRINT, " Ada ", "datelines")
    kept.flag(3, PRINT, "Ada", "code", False)
    for _ in range(2):
        kept.put(said(), [flag()])
        assert (store.feature(3).label, store.feature(3).label_origin) == ("datelines", "person")
        told = kept.told({3: PRINT})[3]
        assert [one.origin for one in told.explanations if one.who == "Ada"] == ["person"]
        assert len(told.explanations) == 2
        assert not told.standing["code"].applies
    with pytest.raises(ValueError, match="what people say"):
        kept.put(replace(said(), origin="person"), [])
    kept.label(3, PRINT, "Ada", "")
    assert store.feature(3).label_origin == "judge"


def test_a_judge_replaces_what_the_same_one_said_alone(kept: ExplanationStore) -> None:
    kept.put(said("old"), [flag()])
    kept.put(said("another's", who="n"), [flag()])
    kept.put(replace(said("new"), written="2026-12-01T10:00:00+00:00"), [])
    told = kept.told({3: PRINT})[3]
    assert [(one.who, one.text) for one in told.explanations] == [("m", "new"), ("n", "another's")]
    assert told.standing["code"].applies


def test_what_was_said_of_another_version_of_a_feature_counts_as_nothing(store: Store, kept: ExplanationStore) -> None:
    before = store.feature(3)
    kept.put(replace(said(), fingerprint="of before"), [replace(flag(), fingerprint="of before")])
    assert kept.told({3: PRINT}) == {}
    assert store.feature(3) == before


def test_answers_are_kept(kept: ExplanationStore) -> None:
    kept.keep_answer("abc", "m", "[]", "one")
    kept.keep_answer("abc", "m", "[]", "two")
    assert kept.answers() == {"abc": "two"}


@pytest.mark.parametrize(("who", "text"), [("", "x"), ("Ada", "x" * 201), ("A" * 81, "x")])
def test_what_is_too_long_or_has_no_name_is_refused(who: str, text: str, kept: ExplanationStore) -> None:
    with pytest.raises(UserError):
        kept.label(3, PRINT, who, text)


def test_a_damaged_file_is_named(store: Store, kept: ExplanationStore) -> None:
    kept.path.write_bytes(b"no database" * 999)
    with pytest.raises(DamagedError, match=r"is not a readable file of explanations .* move it away"):
        store.feature(3)


def test_it_is_written_while_the_store_is_read(store: Store, kept: ExplanationStore) -> None:
    kept.put(said(), [])
    assert store.feature(3).label_origin == "judge"
    with duckdb.connect(str(kept.path)) as other:  # nobody holds it
        other.execute("UPDATE explanations SET text = 'changed'")
    assert store.feature(3).label == "changed"
