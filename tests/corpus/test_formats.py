"""Files as people have them: compression, delimiters, shapes of JSON; and a fuzz test over all."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import messages
from tests.corpus.written import CHAT, CHAT_SAID, counted, said, source, write

PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


class TestFormats:
    @pytest.mark.parametrize("end", PACKED)
    @pytest.mark.parametrize("kind", ["jsonl", "ndjson", "JSONL", "json", "csv", "tsv", "txt", "parquet", "arrow"])
    def test_compressed_or_not_they_hold_the_same(self, kind: str, end: str, tmp_path: Path) -> None:
        content = {
            "json": b'[{"text": "one"}, {"text": "two"}]',
            "csv": b"text,id\none,1\ntwo,2\n",
            "tsv": b"text\tid\none\t1\ntwo\t2\n",
            "txt": b"one",
        }
        table, file = pa.table({"text": ["one", "two"]}), io.BytesIO()
        if kind == "parquet":
            pq.write_table(table, file)
        elif kind == "arrow":
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        plain = file.getvalue() or content.get(kind, b'{"text": "one"}\n{"text": "two"}\n')
        (tmp_path / f"a.{kind}").write_bytes(plain)
        (tmp_path / "packed").mkdir()
        with pa.CompressedOutputStream(str(tmp_path / "packed" / f"b.{kind}{end}"), PACKED[end]) as stream:
            stream.write(plain)
        expected = ["text: one"] if kind == "txt" else ["text: one", "text: two"]
        assert said(source(tmp_path / f"a.{kind}")) == said(source(tmp_path / "packed")) == expected

    def test_a_stream_of_arrow_is_read(self, tmp_path: Path) -> None:
        datasets.Dataset.from_list([{"text": "one"}]).save_to_disk(tmp_path / "saved")
        [path] = (tmp_path / "saved").glob("*.arrow")
        path.rename(tmp_path / "a.arrow")
        assert said(source(tmp_path / "a.arrow")) == ["text: one"]

    def test_maps_of_a_table_are_messages_and_a_key_twice_is_counted(self, tmp_path: Path) -> None:
        messages = pa.list_(pa.map_(pa.string(), pa.string()))
        rows = [[[*message.items()] for message in CHAT], [[("role", "user"), ("role", "user"), ("content", "x")]]]
        pq.write_table(pa.table({"messages": pa.array(rows, type=messages)}), tmp_path / "a.parquet")
        config = source(tmp_path / "a.parquet")
        assert said(config) == [CHAT_SAID]
        assert counted(config)["s"].rows == {"bad row": 1}

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_a_delimiter_is_told_by_the_first_line(self, delimiter: str, tmp_path: Path) -> None:
        with (tmp_path / "a.csv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([["id", "Text", "note; with, signs"], ["1", "one; two, three\tfour", "x"]])
        assert said(source(tmp_path / "a.csv")) == ["text: one; two, three\tfour"]

    @pytest.mark.parametrize("first", ["sep=;", "sep=|", '"sep=;"', "SEP=;"])
    def test_a_first_line_may_tell_the_delimiter(self, first: str, tmp_path: Path) -> None:
        delimiter = first.strip('"')[-1]
        rows = [first, delimiter.join(["id", "text", "more"]), delimiter.join(["1", "one, two", "x"])]
        (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
        assert said(source(tmp_path / "a.csv")) == ["text: one, two"]
        assert counted(source(tmp_path / "a.csv"))["s"].rows == {}

    @pytest.mark.parametrize("kind", ["csv", "tsv"])
    @pytest.mark.parametrize(
        ("broken", "lost"),
        [
            (['1~"open'], 1),  # to the end of the file, or to the next quote
            (['1~"open', '2~"two"'], 1),
            (['1~"open', '2~""'], 1),
            (['1~"open', "2~two", '3~"a ""quoted"" one"'], 1),
            (['1~"said" he'], 1),
            (['1~"open', '2~"open'], 2),
        ],
    )
    def test_a_quote_that_is_not_closed_costs_its_own_row(
        self, broken: list[str], lost: int, kind: str, tmp_path: Path
    ) -> None:
        lines = ["id~text", '0~"two\nlines"', *broken, "8~eight", "9~nine, and more"]
        path = tmp_path / f"a.{kind}"
        path.write_text("\n".join(lines).replace("~", "\t" if kind == "tsv" else ";"), encoding="utf-8")
        [left_out] = counted(source(path)).values()
        assert left_out.rows["bad row"] == lost
        assert left_out.first["bad row"] in [f"a.{kind}:{4 + number}" for number in range(lost)]
        assert left_out.found["bad row"].startswith("no CSV: ")
        assert {"text: two\nlines", "text: eight", "text: nine, and more"} <= set(said(source(path)))
        assert len(said(source(path))) + sum(left_out.rows.values()) == len(lines) - 1

    def test_a_row_with_more_cells_than_the_header_is_counted_and_not_cut(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text('text,id\n"Hello, world",1\nHello, world,2\n', encoding="utf-8")
        opened = corpus.open_sources(source(tmp_path / "a.csv"))["s"]
        assert [document.turns[0].content for document in opened.documents] == ["Hello, world"]
        assert opened.left_out.rows == {"bad row": 1}
        assert "3 cells under a header of 2" in opened.left_out.found["bad row"]

    @pytest.mark.parametrize("name", ["system", "System_Prompt"])
    def test_instructions_beside_a_chat_are_its_first_turn_if_it_has_none(self, name: str, tmp_path: Path) -> None:
        own = [{"role": "system", "content": "Be brief."}, *CHAT]
        rows = [{"messages": CHAT, name: "Be a pirate."}, {"messages": own, name: "Be a pirate."}]
        rows += [{"prompt": "Rain?", "response": "Yes.", name: "Be a pirate."}, {"messages": CHAT, name: " "}]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        documents = corpus.open_sources(source(tmp_path / "a.jsonl"))["s"].documents
        first = sorted((turn.role, turn.content) for turn in (document.turns[0] for document in documents))
        assert first == [("system", "Be a pirate.")] * 2 + [("system", "Be brief."), ("user", CHAT[0]["content"])]

    def test_a_flawed_chat_is_not_replaced_by_a_text_beside_it(self, tmp_path: Path) -> None:
        rows = [{"text": "A title", "messages": [{"role": "wizard", "content": "x"}]}]
        rows += [{"text": "A text", "conversation": "id-7", "messages": None}]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        opened = corpus.open_sources(source(tmp_path / "a.jsonl"))["s"]
        assert [document.turns[0].content for document in opened.documents] == ["A text"]
        assert sum(opened.left_out.rows.values()) == 1

    def test_a_chat_may_be_json_in_a_column(self, tmp_path: Path) -> None:
        with (tmp_path / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["messages"], [json.dumps(CHAT)]])
        assert said(source(tmp_path / "a.csv")) == [CHAT_SAID]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ([CHAT, CHAT[:1]], ["user: Rain?", CHAT_SAID]),
            (CHAT, [CHAT_SAID]),
            ({"messages": CHAT}, [CHAT_SAID]),
            ({"data": [{"messages": CHAT}], "version": 1}, [CHAT_SAID]),
            (
                {"conversations": [{"id": 1, "messages": CHAT}, {"id": 2, "messages": CHAT[:1]}]},
                ["user: Rain?", CHAT_SAID],
            ),
            ({"one": {"text": "1"}, "two": {"text": "2"}}, ["text: 1", "text: 2"]),
            ([{"text": "1"}, {"text": "2"}], ["text: 1", "text: 2"]),
            ("1", ["text: 1"]),
        ],
    )
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize("kind", ["json", "jsonl"])
    def test_shapes_of_json(
        self, content: Any, expected: list[str], indent: int | None, kind: str, tmp_path: Path
    ) -> None:
        (tmp_path / f"a.{kind}").write_text(json.dumps(content, indent=indent))
        assert said(source(tmp_path / f"a.{kind}")) == sorted(expected)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"text": ["1", "2"], "id": [7, 8]}, ["text: 1", "text: 2"]),
            ({"text": {"0": "1", "1": "2"}}, ["text: 1", "text: 2"]),
            ({"train": [{"text": "1"}], "test": [{"text": "2"}]}, ["text: 1"]),
            ({"train": [{"text": "1"}], "test": [{"text": "2"}], "version": 3}, ["text: 1"]),
            (["1", "2"], ["text: 1", "text: 2"]),
        ],
    )
    def test_shapes_of_a_whole_file(self, content: Any, expected: list[str], tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps(content))
        assert said(source(tmp_path / "a.json")) == expected

    @pytest.mark.parametrize(
        "row",
        [
            {"text": "1"},
            {"text": ["1", "2"]},
            {"train": [{"text": "1"}], "test": [{"text": "2"}]},
            {"turns": [{"said": "1"}], "id": 3},
            ["1", "2"],
            "1",
            CHAT,
            [{"text": "1"}, {"text": "2"}],
            {"data": [{"text": "1"}], "version": 1},
        ],
        ids=repr,
    )
    def test_a_line_is_read_alike_alone_and_among_others(self, row: Any, tmp_path: Path) -> None:
        for name, rows in (("alone", [row]), ("among", [{"text": "another"}, row])):
            write(tmp_path / f"{name}.jsonl", [json.dumps(one) for one in rows])
        results = []
        for name in ("alone", "among"):
            write(tmp_path / "other.txt", ["another"])
            folder = tmp_path / f"of {name}"
            folder.mkdir()
            (tmp_path / f"{name}.jsonl").rename(folder / "a.jsonl")
            write(folder / "other.txt", ["another text"])
            config = source(folder)
            [left_out] = counted(config).values()
            found = [text for text in said(config) if not text.startswith("text: another")]
            results.append((found, left_out.rows, left_out.found))
        assert results[0] == results[1]
        assert results[0][0] or results[0][1]

    def test_objects_over_several_lines_one_after_another(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}, indent=1) for text in "ab"))
        assert said(source(tmp_path)) == ["text: a", "text: b"]

    def test_lines_end_with_lines_and_not_with_signs_in_texts(self, tmp_path: Path) -> None:
        text = "one\u2028two\x85three\x0cfour"
        write(tmp_path / "a.jsonl", [json.dumps({"text": text}, ensure_ascii=False), json.dumps("b")])
        assert said(source(tmp_path)) == ["text: b", f"text: {text}"]

    def test_what_datasets_means_by_its_columns(self, tmp_path: Path) -> None:
        features = datasets.Features(
            {
                "messages": datasets.Json(),
                "language": datasets.ClassLabel(names=["en", "zh"]),
                "conversation": datasets.Sequence(
                    {"role": datasets.Value("string"), "content": datasets.Value("string")}
                ),
            }
        )
        turns = {"role": ["user"], "content": ["Snow?"]}
        rows: dict[str, list[Any]] = {"messages": [CHAT, None], "language": [0, 1], "conversation": [None, turns]}
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(tmp_path / "a.parquet")
        table.save_to_disk(tmp_path / "saved")
        for path in (tmp_path / "a.parquet", tmp_path / "saved"):
            assert said(source(path)) == [CHAT_SAID, "user: Snow?"]
            assert said(source(path, language="zh")) == ["user: Snow?"]


VALUE = st.sampled_from(["one", "河", "", " ", None, 3, True, ["a"], {"role": "user"}, "[", "{}", "\ud800", CHAT])
ROLE = st.sampled_from(["user", "Human", "gpt", "tool", "observation", "function_call", "wizard", None, 4])
PART = st.sampled_from([{"type": "text", "text": "a"}, {"type": "image"}, "b", None])
MESSAGE = st.dictionaries(
    st.sampled_from(["role", "from", "content", "value", "tool_calls", "reasoning_content"]),
    VALUE | ROLE | st.lists(PART, max_size=2),
    max_size=3,
)
ROW = (
    VALUE
    | st.dictionaries(
        st.sampled_from(["text", "Text", "messages", "conversations", "prompt", "response", "completion", "tools"]),
        VALUE | st.lists(MESSAGE, max_size=2) | st.lists(MESSAGE, max_size=2).map(json.dumps),
        max_size=3,
    )
    | st.lists(MESSAGE, max_size=2)
)
ENCODING = st.sampled_from(["utf-8", "utf-8", "utf-16", "gb18030", "latin-1"])
BROKEN = st.sampled_from(["", "{", '"', "\xff", "\x00", "\r", "not json", "[1,"])


def _bytes(kind: str, rows: list[Any], encoding: str, broken: str) -> bytes:
    lines = [json.dumps(row, ensure_ascii=row == "\ud800" or "\\ud800" in json.dumps(row)) for row in rows]
    if kind == "json":
        return json.dumps(rows).encode(encoding, "replace")
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([["text", "messages"], *([line, line] for line in lines)])
        return f"{text.getvalue()}{broken}".encode(encoding, "replace")
    return "\n".join([*lines, broken] if broken else lines).encode(encoding, "replace")


def _arrow(rows: list[Any], kind: str) -> bytes:
    file = io.BytesIO()
    table = pa.table({"text": [row if isinstance(row, str) and row.isprintable() else None for row in rows]})
    if kind == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return file.getvalue()


FILE = st.tuples(
    st.sampled_from(["jsonl", "jsonl", "json", "csv", "txt", "parquet", "arrow"]),
    st.lists(ROW, max_size=3),
    ENCODING,
    BROKEN,
    st.sampled_from(["", "", ".gz", ".bz2"]),
    st.none() | st.none() | st.integers(0, 400),
)


def _count(kind: str, rows: list[Any], encoding: str, broken: str, cut: int | None) -> int | None:
    """How many rows a file holds; None where that is a matter of opinion."""
    if cut is not None:
        return None
    if kind == "txt":
        return 1
    if kind in ("parquet", "arrow"):
        return len(rows) or 1  # an empty file is counted
    if kind == "json":
        return 1 if messages.is_chat(rows) else len(rows) or 1
    if not encoding.startswith("utf") or broken in ("\r", "\xff") or (kind == "csv" and broken not in ("", '"', "{")):
        return None
    if kind == "jsonl" and broken:
        return len(rows) + 1 if rows else None  # alone, it may be the beginning of a value
    return len(rows) + bool(broken) or 1


@settings(max_examples=2_000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(file=FILE)
def test_no_file_is_fatal_and_every_row_is_a_document_or_counted(
    file: tuple[str, list[Any], str, str, str, int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind, rows, encoding, broken, packing, cut = file
    content = _arrow(rows, kind) if kind in ("parquet", "arrow") else _bytes(kind, rows, encoding, broken)
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}{packing}"
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[packing](content[:cut]))
    config = source(path).sources[0]
    try:
        found = list(corpus.in_order(config, 4_000))
    except UserError:
        if cut is None:  # else a table was cut short, which is one sentence
            raise
        return
    count = _count(kind, rows, encoding, broken, cut)
    assert count is None or len(found) == count
    tally = corpus.Tally()
    for place, document in found:
        if isinstance(document, corpus.Unusable):
            tally.add(document.reason, place, document.found)
            continue
        assert all(turn.content and turn.content.encode() for turn in document.turns)
        assert corpus.of_messages("s", document.messages, document.tools) == document
    tally.in_words(config).encode()
