"""Files, folders and datasets: found, read in every format, and in an order that the seed fixes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import files
from dfc.corpus import rows as corpus_rows
from tests.corpus.written import CHAT, CHAT_SAID, FORMATS, counted, read, said, source, write


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus source `s`: .*none\.jsonl: no such file"):
        read(source(tmp_path / "none.jsonl"))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_documents(name: str, tmp_path: Path) -> None:
    long = "x" * 200_000  # longer than a field of the csv module may be at first
    texts = ["one", "two\nlines, and a comma", '"quoted"', long]
    FORMATS[name](tmp_path / name, [{"text": text, "id": str(number)} for number, text in enumerate(texts)])
    expected = sorted(f"text: {text}" for text in texts)
    assert said(source(tmp_path / name).model_copy(update={"max_characters": 200_000})) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_the_seed_fixes_the_order(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name, [{"text": str(number)} for number in range(20)])
    config = source(tmp_path / name)
    first, again, other = (read(config.model_copy(update={"seed": seed})) for seed in (0, 0, 1))
    written = [corpus.plain(str(number), "s") for number in range(20)]
    assert first == again
    assert first != other != written != first
    assert set(first) == set(other) == set(written)


@pytest.mark.parametrize("name", ["s.jsonl", "s.json", "s.parquet", "saved"])
def test_chats_in_every_format_that_nests(name: str, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": CHAT, "text": None, "embedding": [0.5]},
        {"messages": None, "text": "one", "embedding": [1.0]},
    ]
    FORMATS[name](tmp_path / name, rows)
    assert said(source(tmp_path / name)) == ["text: one", CHAT_SAID]


def test_a_folder_is_searched_and_texts_are_one_document_a_file(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep" / "a.txt").write_bytes(b"\xef\xbb\xbf  one\n\ntwo\n")
    (tmp_path / "deep" / "deeper" / "b.md").write_text("# three\n" + "x" * 9_000)
    (tmp_path / "deep" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git" / "hidden.txt").write_text("hidden")
    write(tmp_path / "c.jsonl", [{"text": "four"}])
    pq.write_table(pa.table({"text": ["five"]}), tmp_path / "d.parquet")
    expected = ["text: # three\n" + "x" * 3_992, "text: five", "text: four", "text: one\n\ntwo"]
    assert said(source(tmp_path)) == expected
    assert said(source(tmp_path / "**" / "*.*")) == expected
    assert said(source(tmp_path / "deep" / "a.txt")) == expected[-1:]
    (tmp_path / "spaced.txt").write_text("\n \nspaced out")
    assert said(source(tmp_path / "spaced.txt").model_copy(update={"max_characters": 6})) == ["text: spaced"]


def test_files_that_are_not_read_name_the_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    for path in (tmp_path, tmp_path / "a.pdf", tmp_path / "*.pdf"):
        with pytest.raises(UserError, match=r"`s`: .*: no file of a kind that is read; give \.jsonl, .* or \.md\."):
            read(source(path))
    with pytest.raises(UserError, match=r"no such file"):
        read(source(tmp_path / "b*"))
    with pytest.raises(UserError, match=r"no such file"):
        read(source(tmp_path / ("b" * 5_000)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 no more"),
        ("saved/state.json", b"{"),
        ("saved/dataset_info.json", b"\xff"),
        ("a.jsonl.gz", b"no"),
    ],
)
def test_damaged_files_are_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    if "saved" in name:
        (tmp_path / "saved" / "data-00000-of-00001.arrow").write_bytes(b"")
    with pytest.raises(UserError, match=r"is (damaged|missing).*; mend it, or leave it out of corpus source `s`\.$"):
        read(source((tmp_path / name).parent))


def test_damaged_rows_of_a_saved_dataset_are_bad_rows(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"text": f"{number:08}"} for number in range(500)]).save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    content = path.read_bytes()
    offset = content.index(b"".join((8 * number).to_bytes(4, "little") for number in range(100, 104)))
    path.write_bytes(content[:offset] + b"\xff" * 4 + content[offset + 4 :])
    config = source(tmp_path / "saved")
    assert len(read(config)) == 498
    assert counted(config)["s"].rows == {"bad row": 2}


def test_splits_of_a_saved_dataset(tmp_path: Path) -> None:
    parts = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert said(source(tmp_path / "saved")) == ["text: train"]
    assert said(source(tmp_path / "saved", split="test")) == ["text: test"]
    with pytest.raises(UserError, match=r"saved: has no split `dev`; set `split` to one of train, test\."):
        read(source(tmp_path / "saved", split="dev"))


def test_datasets_on_the_hub_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load_dataset(path: str, subset: str | None, split: str, streaming: bool) -> datasets.IterableDataset:
        asked.append((path, subset, split, streaming))
        if path == "no/such":
            raise ConnectionError("no network\nand more")
        return datasets.Dataset.from_list([{"text": str(number)} for number in range(20)]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    config = source(Path("org/set"), subset="small")
    first = read(config)
    assert asked == [("org/set", "small", "train", True)]
    assert sorted(int(document.turns[0].content) for document in first) == list(range(20))
    assert read(config) == first != read(config.model_copy(update={"seed": 1}))
    with pytest.raises(UserError, match=r"no/such could not be read as a hub dataset \(ConnectionError: no network\)"):
        read(source(Path("no/such")))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_is_too_large_to_hold_is_drawn_from_a_window(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HELD_BYTES", 100)
    monkeypatch.setattr(corpus_rows, "_WINDOW", 10)
    for part in range(5):
        content: list[dict[str, Any]] = [{"text": str(part * 100 + number)} for number in range(100)]
        FORMATS[f"s.{kind}"](tmp_path / f"{part}.{kind}", content)
    config = source(tmp_path / f"*.{kind}")
    first = [int(document.turns[0].content) for document in read(config)]
    assert sorted(first) == list(range(500)) != first
    parts = list(dict.fromkeys(number // 100 for number in first))
    assert parts != sorted(parts)  # files come in another order, but one after another
    assert len({number // 100 for number in first[:90]}) == 1
    assert 150 < sum(before > after for before, after in pairwise(first)) < 350
    assert [int(document.turns[0].content) for document in read(config)] == first
    assert read(config.model_copy(update={"seed": 1})) != read(config)
    (tmp_path / "list.json").write_text(json.dumps([{"text": "x" * 200}]))
    with pytest.raises(UserError, match=r"list\.json: is one JSON list, too large to hold; write each"):
        read(source(tmp_path / "list.json"))


def test_globs_order_and_length(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [{"text": f"{name}{number} " + "x" * 50} for number in range(20)])
    config = source(tmp_path / "*.jsonl")
    first = read(config)
    assert len(first) == 40
    assert read(config) == first
    other = read(config.model_copy(update={"seed": 1}))
    assert other != first
    assert set(other) == set(first)
    short = read(config.model_copy(update={"max_characters": 3}))
    assert {len(document.turns[0].content) for document in short} <= {2, 3}


def test_a_chat_in_a_file_of_any_format(tmp_path: Path) -> None:
    turns = [("user", "Rain?"), ("assistant", "Yes")]
    (tmp_path / "a.json").write_text(json.dumps(CHAT, indent=1), encoding="utf-16")
    write(tmp_path / "b.jsonl", [{"conversations": [*CHAT, {"role": "tool", "content": "3"}]}])
    assert corpus.read_chat(str(tmp_path / "a.json")) == (turns, "")
    assert corpus.read_chat(str(tmp_path / "b.jsonl")) == (turns, "1 turns are left out, the first with role `tool`")
    write(tmp_path / "c.jsonl", [{"messages": CHAT}, {"messages": CHAT}])
    write(tmp_path / "d.jsonl", ["Rain?"])
    write(tmp_path / "e.jsonl", [json.dumps("Rain?")])
    for name, sentence in (("c", "several chats"), ("d", "no JSON"), ("e", "a text that is no chat")):
        with pytest.raises(UserError, match=sentence):
            corpus.read_chat(str(tmp_path / f"{name}.jsonl"))


class TestMessagesInJson:
    @pytest.mark.parametrize(
        "content",
        [
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        ],
    )
    def test_usual_shapes(self, content: object) -> None:
        assert corpus.chat_from_json(json.dumps(content)) == ([("user", "Hi"), ("assistant", "Hello")], "")

    @pytest.mark.parametrize(
        ("pasted", "sentence"),
        [
            ("not json", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "no messages"),
            ('{"text": "a"}', "no messages"),
            ("3", "no messages"),
            ('[{"role": "wizard", "content": "a"}]', "role `wizard`"),
            ('[{"role": "user", "content": [1]}]', "a part that is a number"),
            ("[1]", "a message is a number"),
        ],
    )
    def test_anything_else_is_one_sentence(self, pasted: str, sentence: str) -> None:
        with pytest.raises(UserError, match=sentence):
            corpus.chat_from_json(pasted)
