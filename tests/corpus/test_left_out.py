"""What is left out of a corpus, counted by reason and named by the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfc import corpus, runs
from dfc.activations import pairing
from dfc.config import CorpusConfig, UserError, parse
from tests import tiny
from tests.corpus.written import CHAT, counted, said, source, write, write_csv


def test_duplicates_of_any_source_are_dropped(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [{"text": "one"}, {"text": " one"}, {"messages": CHAT}, {"text": "Rain?Yes"}])
    b = write(tmp_path / "b.jsonl", [{"prompt": "Rain?", "response": "Yes"}, {"text": "two"}, {"text": "one"}])
    settings: dict[str, Any] = {"sources": [{"name": "a", "path": str(a)}, {"name": "b", "path": str(b)}]}
    config = CorpusConfig.model_validate(settings)
    for seed in range(5):
        opened = corpus.open_sources(config.model_copy(update={"seed": seed}))
        found = [document.turns for name in opened for document in opened[name].documents]
        assert len(found) == len(set(found)) == 4
        assert sum(one.left_out.rows["duplicate"] for one in opened.values()) == 3
    every = corpus.open_sources(config.model_copy(update={"drop_duplicates": False}))
    assert [len(list(every[name].documents)) for name in ("a", "b")] == [4, 3]
    assert all(not one.left_out.rows for one in every.values())


def test_what_is_left_out_is_counted_with_the_place_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "a.jsonl", [{"text": "one"}, "", "{"])
    write_csv(tmp_path / "deep" / "b.csv", [{"text": "two\nlines"}, {"text": " "}])
    write(tmp_path / "c.jsonl", [{"messages": [{"role": "wizard", "content": "x"}]}])
    (tmp_path / "deep" / "d.pdf").write_bytes(b"%PDF")
    opened = corpus.open_sources(source(tmp_path))["s"]
    assert len(list(opened.documents)) == 2
    opened.left_out.add("bad row", "z")
    assert opened.left_out.rows == {"bad row": 2, "too short": 1, "unknown role": 1, "not read": 1}
    places = {"bad row": "a.jsonl:3", "too short": "deep/b.csv:4", "unknown role": "c.jsonl:1"}
    assert opened.left_out.first == places | {"not read": "deep/d.pdf"}
    assert set(opened.left_out_in_words().split("; ")) == {
        "1 files of a kind that is not read, the first at deep/d.pdf (.pdf)",
        "2 rows without a usable `text` or `messages`, the first at a.jsonl:3 "
        "(no JSON: Expecting property name enclosed in double quotes: line 1 co)",
        "1 documents shorter than 1 characters, the first at deep/b.csv:4",
        "1 chats with a role that is not known, the first at c.jsonl:1 (role `wizard`)",
    }


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.json", b'[{"text": "one"}, 2]', "a.json item 1"),
        ("b.json", b'[{"text": "one"', "b.json"),
        ("c.jsonl", b'{"text": "one"}\n' + b"9" * 5_000, "c.jsonl:2"),
        ("d.jsonl", b"[" * 200_000, "d.jsonl:1"),
        ("e.csv", b'text,id\r\none\r\n"two' + b"x" * 2**24, "e.csv:3"),
        ("f.txt", b" \n", "f.txt"),
    ],
)
def test_places_of_broken_rows(name: str, content: bytes, place: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    write(tmp_path / "z.jsonl", [{"text": "good"}])
    (left_out,) = counted(source(tmp_path)).values()
    assert sum(left_out.rows.values()) == 1
    assert list(left_out.first.values()) == [place]


def test_values_of_parquet_without_a_python_form_are_bad_rows(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"one\xff\xff"))
    pq.write_table(pa.table({"text": broken, "other": broken}), tmp_path / "a.parquet")
    config = source(tmp_path / "a.parquet")
    assert said(config) == ["text: one"]
    assert counted(config)["s"].first == {"bad row": "a.parquet row 1"}
    pq.write_table(pa.table({"text": ["one", "two"], "other": broken}), tmp_path / "a.parquet")
    assert said(config) == ["text: one", "text: two"]  # what is not needed is not read


def test_a_corpus_without_a_good_row_says_what_was_wrong_with_all(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "three", "language": "zh"}])
    with pytest.raises(UserError) as error:
        corpus.open_sources(source(tmp_path / "a.jsonl", language="en"))
    assert str(error.value) == (
        f"corpus source `s` ({tmp_path}/a.jsonl) is empty: 1 rows whose `language` is not en, the first at a.jsonl:1; "
        "name the right fields with `text`, `messages`, or `prompt` and `response`, loosen its filters, "
        "or leave the source out."
    )
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"is empty: 1 files without a row, the first at a\.jsonl; name"):
        corpus.open_sources(source(tmp_path / "a.jsonl"))


def test_pairing_says_and_keeps_what_was_left_out(
    tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    choices = tiny.tiny_settings(texts, tiny_models, corpus={"pairs": 100_000, "drop_duplicates": True})
    write(texts / "english.jsonl", [{"text": "a river in the rain"}, {"text": ""}])
    run = runs.create(parse(choices, origin="test"))
    pairing.pair(run)
    kept = json.loads(run.provenance.read_text(encoding="utf-8"))["pair"]["left_out"]
    assert kept["english"] == {"rows": {"too short": 1}, "first": {"too short": "english.jsonl:2"}, "found": {}}
    assert kept["chinese"] == {"rows": {}, "first": {}, "found": {}}
    assert kept["chats"]["rows"] == {"duplicate": 5}
    printed = capsys.readouterr().err
    assert "corpus source `english`: left out 1 documents shorter than 1 characters, the first at english.jsonl:2" in (
        printed.splitlines()
    )
    assert "source `chats`: left out 5 duplicates, the first at chats.jsonl:" in printed
    assert "source `chinese`" not in printed
