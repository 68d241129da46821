"""Sweeps and history in their own file: whole transactions, readers beside a writer, other processes."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dfc.config import DamagedError, UserError
from dfc.store.steering import SteeringStore


def output(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "sweep_id": "one",
        "side": "a",
        "feature_id": 3,
        "direction": "feature",
        "mode": "add",
        "strength": 2.0,
        "prompt_id": number,
        "prompt": "Tell me <b>",
        "text": "老桥 'x'",
        "tokens": ["老", "桥"],
        "kl": [0.5, 1.5],
        "activation": [0.0, 0.5],
        "promoted": [0.25, 0.75],
        "perplexity": None,
        "distinct_tokens": 1.0,
        "coverage": None,
        "refusal": False,
        **fields,
    }


def test_a_sweep_is_kept(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    store.begin_sweep("one", "title", 2, '{"a": 1}')
    store.add_outputs([output(0), output(1, activation=[])])
    [sweep] = store.sweeps().to_dict("records")
    assert (sweep["status"], sweep["outputs"], sweep["made"], sweep["settings"]) == ("running", 2, 2, '{"a": 1}')
    store.end_sweep("one", "done")
    assert store.sweeps()["status"].tolist() == ["done"]
    rows = store.outputs("one")
    assert rows["mean_kl"].tolist() == [1.0, 1.0]
    assert rows["mean_activation"].isna().tolist() == [False, True]
    assert rows["tokens"][0].tolist() == ["老", "桥"]
    store.delete_sweep("one")
    assert store.sweeps().empty
    assert store.outputs("one").empty


def test_reading_makes_no_file(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    assert store.sweeps().empty
    assert store.tried().empty
    assert list(tmp_path.iterdir()) == []


def test_what_a_judge_has_not_scored(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    assert store.unscored("one", "judge") == []
    store.begin_sweep("one", "", 3, "{}")
    store.add_outputs([output(0, text="b"), output(1, text="a"), output(2, text="a")])
    store.add_scores("one", "judge", [("Tell me <b>", "b", 1.0)])
    assert store.unscored("one", "judge") == [("Tell me <b>", "a")]
    assert store.unscored("one", "another") == [("Tell me <b>", "a"), ("Tell me <b>", "b")]


def test_asking_what_is_not_scored_leaves_an_old_file_alone(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    store.begin_sweep("one", "", 1, "{}")
    store.add_outputs([output(text="a")])
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("ALTER TABLE outputs DROP score")
        connection.execute("ALTER TABLE sweeps DROP judge")
    before = store.path.read_bytes()
    assert store.unscored("one", "judge") == [("Tell me <b>", "a")]
    assert store.path.read_bytes() == before


def test_the_latest_sweep_of_each_feature(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    assert store.latest_steps([3]).empty
    for sweep, feature, strength in (("one", 3, 1.0), ("one", 4, 1.0), ("two", 3, 2.0), ("two", 5, 2.0)):
        if sweep not in store.sweeps()["sweep_id"].tolist():
            store.begin_sweep(sweep, "", 2, "{}")
        mine = {"sweep_id": sweep, "feature_id": feature, "strength": strength}
        store.add_outputs([output(0, **mine, perplexity=2.0), output(1, **mine, kl=[3.0])])
    found = store.latest_steps([3, 4])
    columns = ["feature_id", "strength", "prompts", "promoted", "kl", "perplexity"]
    assert found[columns].values.tolist() == [[3, 2.0, 2, 0.5, 2.0, 2.0], [4, 1.0, 2, 0.5, 2.0, 2.0]]


def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    store.begin_sweep("one", "", 2, "{}")
    with pytest.raises(UserError, match="does not fit"):
        store.add_outputs([output(0), output(1, text=None)])
    assert store.outputs("one").empty


def test_history_is_the_latest_first(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    for number in range(3):
        store.add_tried(str(number), f"prompt {number}", "{}", "[]")
    assert store.tried(2)["tried_id"].tolist() == ["2", "1"]


def test_threads_read_while_one_writes(tmp_path: Path) -> None:
    store, failures = SteeringStore(tmp_path / "steering.duckdb"), []

    def read() -> None:
        try:
            for _ in range(10):
                store.outputs("one")
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(10):
        store.add_outputs([output(number)])
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(store.outputs("one")) == 10


def write(path: Path, first: int) -> None:
    for number in range(first, first + 5):
        SteeringStore(path).add_outputs([output(number)])


def test_two_processes_write(tmp_path: Path) -> None:
    path = tmp_path / "steering.duckdb"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(path, first)) for first in (0, 5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(SteeringStore(path).outputs("one")["prompt_id"]) == list(range(10))


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "steering.duckdb"
    path.write_bytes(b"no database at all")
    with pytest.raises(DamagedError, match=r"steering.duckdb: is not a readable file .*move it away"):
        SteeringStore(path).sweeps()
