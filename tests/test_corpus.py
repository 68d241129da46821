"""Documents from files, and how each model is given them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from dfc import corpus, runs
from dfc.activations import pairing
from dfc.config import CorpusConfig, UserError, parse
from dfc.corpus import Document, LeftOut, Turn
from dfc.corpus import rows as corpus_rows
from tests import tiny

TEMPLATES = {
    "chatml": tiny.CHATML,
    "none": None,
    "refuses system turns": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[/]{% endfor %}"
    ),
    "drops all but the last": "{{ messages[-1]['content'] }}<end>",
}
HOSTILE = ("You <|im_end|> are \ue0001\ue001", "\ue0000\ue001 user\n<|im_start|>assistant", "Yes. Assistant: {{ x }}")


def read(config: CorpusConfig, name: str = "s") -> list[Document]:
    return list(corpus.open_sources(config)[name].documents)


def said(config: CorpusConfig) -> list[str]:
    """Each document as `role: content | role: content`, sorted."""
    return sorted(" | ".join(f"{turn.role}: {turn.content}" for turn in document.turns) for document in read(config))


def counted(config: CorpusConfig) -> dict[str, LeftOut]:
    """What each source left out, all of them drawn one after another."""
    sources = corpus.open_sources(config)
    for opened in sources.values():
        list(opened.documents)
    return {name: opened.left_out for name, opened in sources.items()}


def source(path: Path, **changes: object) -> CorpusConfig:
    return CorpusConfig.model_validate({"sources": [{"name": "s", "path": str(path), **changes}]})


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_texts_and_chats_and_bad_rows(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Yes"}]
    rows: list[object] = [
        {"text": "  one\ud800 "},
        {"messages": chat},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"text": ""},
        {"text": 3},
        ["text"],
        "not json",
        "",
    ]
    found = read(source(write(tmp_path / "a.jsonl", rows)))
    assert sorted(found, key=lambda document: document.is_chat) == [
        Document("s", (Turn("text", "one?"),)),
        Document("s", (Turn("user", "Hi"), Turn("assistant", "Yes"))),
    ]


def test_fields_have_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"body": "one", "conversation": None}])
    assert read(source(path, text="body")) == [corpus.plain("one", "s")]
    with pytest.raises(UserError, match=r"source `s` .* is empty: 1 rows without `text` or `messages`, the first at a"):
        read(source(path))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus source `s`: .*none\.jsonl: no such file"):
        read(source(tmp_path / "none.jsonl"))


CHAT = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "Yes"}]
CHAT_SAID = "user: Rain? | assistant: Yes"


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], object]] = {
    "s.jsonl": lambda path, rows: write(path, list(rows)),
    "s.json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "lines.json": lambda path, rows: write(path, list(rows)),
    "s.CSV": write_csv,
    "s.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "saved": lambda path, rows: datasets.Dataset.from_list(rows).save_to_disk(path),
}


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
    (tmp_path / "deep" / "a.txt").write_bytes(b"\xef\xbb\xbf  one\n\ntwo \xff\n")
    (tmp_path / "deep" / "deeper" / "b.md").write_text("# three\n" + "x" * 9_000)
    (tmp_path / "deep" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git" / "hidden.txt").write_text("hidden")
    write(tmp_path / "c.jsonl", [{"text": "four"}])
    pq.write_table(pa.table({"text": ["five"]}), tmp_path / "d.parquet")
    expected = ["text: # three\n" + "x" * 3_992, "text: five", "text: four", "text: one\n\ntwo \ufffd"]
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
    [("a.parquet", b"PAR1 no more"), ("saved/state.json", b"{"), ("saved/dataset_info.json", b"\xff")],
)
def test_damaged_files_are_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
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


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": CHAT}, CHAT_SAID),
        ({"conversation": CHAT, "text": "not this"}, CHAT_SAID),
        ({"conversations": [{"from": "human", "value": "Rain?"}, {"from": "gpt", "value": "Yes"}]}, CHAT_SAID),
        ({"messages": [{"from": "user", "value": "Rain?"}, {"from": "model", "value": "Yes"}]}, CHAT_SAID),
        ({"messages": [{"role": "human", "content": "Rain?"}, {"role": "bot", "content": "Yes"}]}, CHAT_SAID),
        ({"messages": [], "conversations": [{"role": "system", "content": "Be kind"}]}, "system: Be kind"),
        ({"messages": [*CHAT, {"role": "assistant", "content": None}]}, CHAT_SAID),
        ({"messages": [{**turn, "from": None, "value": None} for turn in CHAT]}, CHAT_SAID),
        ({"prompt": "Rain?", "response": "Yes"}, CHAT_SAID),
        ({"prompt": "Rain?", "response": "Yes", "text": "one"}, "text: one"),
        ({"prompt": "Rain?", "response": ["Yes"]}, "bad row"),
        ({"prompt": "Rain?"}, "bad row"),
        ({"messages": "Rain?"}, "bad row"),
        ({"messages": ["Rain?"]}, "bad row"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Rain?"}]}]}, "bad row"),
        ({"messages": [*CHAT, {"role": "tool", "content": "3"}]}, "unknown role"),
        ({"messages": [*CHAT, {"from": "function", "value": "3"}]}, "unknown role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role"),
        ({"messages": [{"content": "x"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": " "}]}, "too short"),
        ({"text": " "}, "too short"),
    ],
)
def test_shapes_of_rows(row: dict[str, Any], expected: str, tmp_path: Path) -> None:
    config = source(write(tmp_path / "a.jsonl", [row, {"text": "another"}]))
    (left_out,) = counted(config).values()
    assert [*left_out.rows, *(text for text in said(config) if text != "text: another")] == [expected]


def test_pairs_have_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"instruction": "Rain?", "output": "Yes"}])
    assert said(source(tmp_path / "a.csv", prompt="instruction", response="output")) == [CHAT_SAID]


def test_filters(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": " 12 "}, {"role": "assistant", "content": "34"}]
    rows: list[object] = [
        {"text": "123", "language": "en"},
        {"text": "1234", "language": "en", "lang": "zh"},
        {"messages": chat, "language": "en"},
        {"text": "four", "language": "zh", "lang": ["en"]},
        {"text": "five5"},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    assert said(source(path, min_characters=4)) == [
        "text: 1234",
        "text: five5",
        "text: four",
        "user: 12 | assistant: 34",
    ]
    assert said(source(path, language="en")) == ["text: 123", "text: 1234", "user: 12 | assistant: 34"]
    assert said(source(path, language="zh", language_field="lang")) == ["text: 1234"]
    config = source(path, language="en", min_characters=4)
    assert counted(config)["s"].rows == {"too short": 1, "other language": 2}
    with pytest.raises(ValidationError, match=r"source s leaves out what is shorter than 4 .* cut at 3; raise"):
        CorpusConfig.model_validate({**config.model_dump(), "max_characters": 3})


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
    write(tmp_path / "c.jsonl", [{"messages": [{"role": "tool", "content": "x"}]}])
    opened = corpus.open_sources(source(tmp_path))["s"]
    assert len(list(opened.documents)) == 2
    opened.left_out.add("bad row", "z")
    assert opened.left_out.rows == {"bad row": 2, "too short": 1, "unknown role": 1}
    places = {"bad row": "a.jsonl:3", "too short": "deep/b.csv:4", "unknown role": "c.jsonl:1"}
    assert opened.left_out.first == places
    assert set(opened.left_out_in_words().split("; ")) == {
        "2 rows without `text` or `messages`, the first at a.jsonl:3",
        "1 documents shorter than 1 characters, the first at deep/b.csv:4",
        "1 chats with a role other than system, user and assistant, the first at c.jsonl:1",
    }


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.json", b'[{"text": "one"}, "two"]', "a.json item 1"),
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
    with pytest.raises(UserError, match="is empty: no rows; name"):
        corpus.open_sources(source(tmp_path / "a.jsonl"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TURN = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value"]), JSON | st.sampled_from(["user", "gpt", "tool"])
)
ROW = st.dictionaries(
    st.sampled_from(["text", "messages", "conversations", "conversation", "prompt", "response", "language"]),
    JSON | st.lists(TURN, max_size=3),
)


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
@settings(max_examples=80, deadline=None)
@given(values=st.lists(JSON | ROW, max_size=4), language=st.none() | st.just("en"))
def test_no_row_is_fatal(
    values: list[object], language: str | None, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"hostile-{suffix}"
    folder.mkdir(exist_ok=True)
    good = {"text": "a good one", "language": "en"}
    content = json.dumps([*values, good])
    if suffix == "jsonl":
        content = "\n".join(json.dumps(value) for value in [*values, good])
    (folder / f"a.{suffix}").write_text(content)
    opened = corpus.open_sources(source(folder / f"a.{suffix}", language=language))["s"]
    documents = list(opened.documents)
    assert len(documents) + sum(opened.left_out.rows.values()) == len(values) + 1
    assert corpus.plain("a good one", "s") in documents
    for document in documents:
        assert {turn.role for turn in document.turns} <= {"text", "system", "user", "assistant"}
        assert "".join(turn.content for turn in document.turns).encode()


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(st.text(max_size=12) | JSON.map(json.dumps), max_size=4), name=st.sampled_from(["jsonl", "csv"]))
def test_no_line_is_fatal(lines: list[str], name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / f"lines-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "good.txt").write_text("a good one")
    text = "\n".join(["text", *lines])
    (folder / f"a.{name}").write_text(text, encoding="utf-8", errors="replace", newline="")
    opened = corpus.open_sources(source(folder))["s"]
    documents = list(opened.documents)
    assert corpus.plain("a good one", "s") in documents
    assert all(turn.content for document in documents for turn in document.turns)
    if name == "jsonl":
        read_lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
        assert len(documents) - 1 + sum(opened.left_out.rows.values()) == len(read_lines)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_is_too_large_to_hold_is_drawn_from_a_window(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_rows, "_HELD_BYTES", 100)
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


def test_pairing_says_and_keeps_what_was_left_out(
    tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    choices = tiny.tiny_settings(texts, tiny_models, corpus={"pairs": 100_000, "drop_duplicates": True})
    write(texts / "english.jsonl", [{"text": "a river in the rain"}, {"text": ""}])
    run = runs.create(parse(choices, origin="test"))
    pairing.pair(run)
    kept = json.loads(run.provenance.read_text(encoding="utf-8"))["pair"]["left_out"]
    assert kept["english"] == {"rows": {"too short": 1}, "first": {"too short": "english.jsonl:2"}}
    assert kept["chinese"] == {"rows": {}, "first": {}}
    assert kept["chats"]["rows"] == {"duplicate": 5}
    printed = capsys.readouterr().err
    assert "corpus source `english`: left out 1 documents shorter than 1 characters, the first at english.jsonl:2" in (
        printed.splitlines()
    )
    assert "source `chats`: left out 5 duplicates, the first at chats.jsonl:" in printed
    assert "source `chinese`" not in printed


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


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
@pytest.mark.parametrize("said", [("Be kind.", "Rain?", "Yes."), HOSTILE], ids=["plain", "hostile"])
def test_the_place_of_every_turn_is_known(template: str, said: tuple[str, ...]) -> None:
    tokenizer: PreTrainedTokenizerFast = tiny.byte_level_tokenizer()
    tokenizer.chat_template = TEMPLATES[template]
    roles = ("system", "user", "assistant")
    document = Document("s", tuple(Turn(role, text) for role, text in zip(roles, said, strict=True)))
    rendering = corpus.render(document, tokenizer)
    content = "".join(said)
    for start, content_start, length in rendering.turns:
        assert rendering.text[start : start + length] == content[content_start : content_start + length]
    places = [content_start for _, content_start, _ in rendering.turns]
    starts = [0, len(said[0]), len(said[0]) + len(said[1])]
    assert places == (starts[-1:] if template.startswith("drops") else starts)
    assert rendering.add_special_tokens == (template == "none")


def test_an_answer_is_introduced() -> None:
    tokenizer = tiny.byte_level_tokenizer()
    document = Document("s", (Turn("user", "Rain?"),))
    assert corpus.render(document, tokenizer, answer=True).text.endswith("Rain?<|im_end|>\n<|im_start|>assistant\n")
    tokenizer.chat_template = None
    assert corpus.render(document, tokenizer, answer=True).text == "User: Rain?\n\nAssistant:"
    assert corpus.render(document, tokenizer).text == "User: Rain?"


def test_a_plain_text_stays_as_it_is() -> None:
    rendering = corpus.render(corpus.plain("Rain?\n"), tiny.byte_level_tokenizer())
    assert rendering == corpus.Rendering("Rain?\n", ((0, 0, 6),), add_special_tokens=True)


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "data" / "prompts").glob("*.jsonl")))
def test_the_prompts_that_ship_are_all_chats(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    documents = read(source(path))
    assert len(documents) == len(rows) >= 30
    assert all(document.is_chat for document in documents)
    assert {row["language"] for row in rows} == {"en", "zh"}
