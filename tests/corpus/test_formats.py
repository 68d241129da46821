"""Files as people have them: encodings, compression, delimiters, shapes of JSON, splits; and a fuzz test over all."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from functools import partial
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
from dfc.corpus import encodings, messages
from tests.corpus.written import CHAT, CHAT_SAID, counted, said, source, write

CHINESE = "新华社北京１月６日电，记者孙杰据邮电部最新的消息，全国的电话已经超过了一亿部。"
RUSSIAN = (
    "Завтра утром мы едем в Москву, и погода обещает быть хорошей; вечером, наверное, пойдёт дождь, так что возьмите "
    "с собой зонт и тёплую куртку."
)
GERMAN = "Größe für Mädchen, über die Straße, schöne Grüße aus München und Österreich."


class TestEncodings:
    @pytest.mark.parametrize("name", ["utf-16", "utf-8-sig", "utf-32", "utf-16-le"])
    @pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "json"])
    def test_marks_are_obeyed(self, name: str, kind: str, tmp_path: Path) -> None:
        text = "A river and a bridge, über die Straße." if name == "utf-16-le" else CHINESE
        row = {"jsonl": json.dumps({"text": text}, ensure_ascii=False), "csv": f'text\n"{text}"\n', "txt": text}
        (tmp_path / f"a.{kind}").write_bytes(row.get(kind, row["jsonl"]).encode(name))
        assert said(source(tmp_path)) == [f"text: {text}"]

    @pytest.mark.parametrize(("text", "name"), [(CHINESE, "gb18030"), (GERMAN, "latin-1")])
    @pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
    def test_others_are_guessed_with_a_confidence_that_is_said(
        self, text: str, name: str, kind: str, tmp_path: Path
    ) -> None:
        row = {"jsonl": json.dumps({"text": text}, ensure_ascii=False), "csv": f'text\n"{text}"\n', "txt": text}
        (tmp_path / f"a.{kind}").write_bytes(row[kind].encode(name))
        opened = corpus.open_sources(source(tmp_path))["s"]
        assert [document.turns[0].content for document in opened.documents] == [text]
        assert opened.noted.rows == {"guessed": 1}
        assert opened.noted.first == {"guessed": f"a.{kind}"}
        assert opened.noted.found["guessed"].endswith("confidence 1.00")
        assert "is a guess, which may be wrong" in opened.noted.in_words(source(tmp_path).sources[0])

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            (RUSSIAN, "koi8-r"),
            (RUSSIAN, "cp1251"),
            (RUSSIAN, "cp866"),
            ("Kvůli dešti přijdeme později, řekněte to všem známým a přátelům.", "cp1250"),
            ("Bugün yağmur yağıyor, çocuklar dışarıda değil. Şimdi eve gidiyoruz.", "cp1254"),
            ("Holnap esőre számítunk, ezért a fűtést bekapcsoljuk. Köszönjük, hogy szóltál időben.", "cp1250"),
        ],
    )
    def test_letters_tell_encodings_of_one_byte_apart(self, text: str, name: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(text.encode(name))
        assert said(source(tmp_path)) == [f"text: {text.strip()}"]

    def test_what_two_encodings_read_as_well_is_left_out_or_the_other_named(self, tmp_path: Path) -> None:
        found = encodings.detect(partial(io.BytesIO, "La città è già più bella, perché c'è il sole.".encode("latin-1")))
        assert found is not None
        assert (found.name, found.rival) == ("cp1252", "cp1250")  # where è is č: both are letters, in all these words
        assert "cp1252, confidence 1.00, or else cp1250" in found.in_words
        for length in range(20, 140, 10):  # short texts may be left out, but not said to be something else
            short = encodings.detect(partial(io.BytesIO, RUSSIAN[:length].encode("koi8-r")))
            assert short is None or short.name == "koi8_r"
        greek_or_what = bytes(range(192, 254)) * 3
        assert encodings.detect(lambda: io.BytesIO(greek_or_what)) is None

    @pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-32"])
    def test_one_damaged_place_costs_one_row(self, name: str, tmp_path: Path) -> None:
        rows = [json.dumps({"text": f"a text, number {number}"}) + "\n" for number in range(3)]
        lone = (b"\x34\xd8" if name.startswith("utf-16") else b"\x34\xd8\x00\x00") + "x".encode(f"{name[:6]}-le")
        content = "".join(rows[:1]).encode(name) + lone + "".join(["\n", *rows[1:]]).encode(f"{name[:6]}-le")
        (tmp_path / "a.jsonl").write_bytes(content)
        (tmp_path / "b.txt").write_bytes("One text. ".encode(name) + lone)
        (tmp_path / "c.csv").write_bytes("text\none\n".encode(name) + lone + "\ntwo\n".encode(f"{name[:6]}-le"))
        config = source(tmp_path)
        assert said(config) == [*(f"text: a text, number {number}" for number in range(3)), "text: one", "text: two"]
        assert counted(config)["s"].rows == {"encoding": 3}

    def test_a_damaged_place_deep_in_a_json_list_costs_one_row(self, tmp_path: Path) -> None:
        rows = json.dumps([{"messages": [{"role": "user", "content": "河?"}]}, {"text": "b"}], ensure_ascii=False)
        (tmp_path / "b.json").write_bytes(rows.encode().replace(b"?", b"\xff"))
        config = source(tmp_path)
        assert said(config) == ["text: b"]
        assert counted(config)["s"].rows == {"encoding": 1}

    def test_what_cannot_be_told_is_left_out_and_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(bytes(range(128, 256)) * 20)
        (tmp_path / "b.txt").write_bytes("naïve".encode("latin-1"))  # any of forty encodings
        (tmp_path / "c.txt").write_bytes(f"{CHINESE} ".encode() + b"\xff\xfe" + CHINESE.encode())  # UTF-8, damaged
        (tmp_path / "d.jsonl").write_bytes(
            json.dumps({"text": "é"}, ensure_ascii=False).encode() + b'\n{"text": "\xff"}\n'
        )
        (tmp_path / "e.txt").write_text("good")
        config = source(tmp_path)
        assert said(config) == ["text: good", "text: é"]
        left_out = counted(config)["s"]
        assert left_out.rows == {"encoding": 4}
        assert "4 files or rows in no encoding that can be told, the first at " in left_out.in_words(config.sources[0])

    def test_a_long_text_is_cut_and_not_within_a_character(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("河" * 200_000, encoding="utf-8")
        assert said(source(tmp_path).model_copy(update={"max_characters": 10})) == ["text: " + "河" * 10]


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


class TestFolders:
    def test_strays_of_datasets_are_no_dataset(self, tmp_path: Path) -> None:
        for name in ("dataset_info.json", "state.json", "dataset_infos.json"):
            (tmp_path / name).write_text('{"text": "about"}')
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        assert said(source(tmp_path)) == ["text: one"]
        assert counted(source(tmp_path))["s"].rows == {"about the dataset": 3}

    def cloned(self, folder: Path, card: str) -> Path:
        (folder / "data").mkdir()
        (folder / ".git").mkdir()
        (folder / "README.md").write_text(card)
        for split in ("train", "test"):
            pq.write_table(pa.table({"text": [split]}), folder / "data" / f"{split}-00000-of-00001.parquet")
        return folder

    @pytest.mark.parametrize("card", ["# A dataset", "---\nlicense: mit\n---\n# A dataset"])
    def test_a_cloned_dataset_has_splits_and_its_card_is_no_document(self, card: str, tmp_path: Path) -> None:
        folder = self.cloned(tmp_path, card)
        assert said(source(folder)) == ["text: train"]
        assert said(source(folder, split="test")) == ["text: test"]
        assert counted(source(folder))["s"].rows == {"hidden": 1, "about the dataset": 1, "other split": 1}
        with pytest.raises(UserError, match=r"has no split `dev`; set `split` to one of test, train\."):
            said(source(folder, split="dev"))

    def test_a_card_names_the_files_of_its_configurations(self, tmp_path: Path) -> None:
        configs = (
            "- {config_name: small, data_files: data/test-*}\n"
            "- {config_name: large, data_files: [{split: train, path: ['data/train-*', '../*']}]}\n"
        )
        folder = self.cloned(tmp_path, f"---\nconfigs:\n{configs}---\n")
        assert said(source(folder, subset="small")) == ["text: test"]
        assert said(source(folder, subset="large")) == ["text: train"]
        assert counted(source(folder, subset="small"))["s"].rows == {
            "hidden": 1,
            "about the dataset": 1,  # the card
            "other subset": 1,  # and what another configuration has
        }
        with pytest.raises(UserError, match="several configurations; set `subset` to one of small, large"):
            said(source(folder))

    def test_an_option_without_effect_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", [{"text": "one"}])
        for options in ({"split": "test"}, {"subset": "small"}):
            with pytest.raises(
                UserError, match=r"no dataset with (splits|subsets), so that `\w+: \w+` has no effect; take it out"
            ):
                said(source(path, **options))

    def test_an_object_has_splits_or_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps({"train": [{"text": "1"}], "test": [{"text": "2"}, {"text": "3"}]}))
        assert said(source(tmp_path / "a.json", split="test")) == ["text: 2", "text: 3"]
        assert counted(source(tmp_path / "a.json"))["s"].rows == {"other split": 1}
        with pytest.raises(UserError, match=r"a\.json: has no split `dev`; set `split` to one of train, test"):
            said(source(tmp_path / "a.json", split="dev"))
        for content in ([{"text": "1"}], {"text": "1"}):
            (tmp_path / "b.json").write_text(json.dumps(content))
            with pytest.raises(UserError, match="`split: test` has no effect"):
                said(source(tmp_path / "b.json", split="test"))

    def test_files_of_other_kinds_are_named(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        for name in ("b.tar.gz", "c.pdf", "LICENSE"):
            (tmp_path / name).write_bytes(b"x")
        left_out = counted(source(tmp_path))["s"]
        assert left_out.rows == {"not read": 3}
        assert left_out.in_words(source(tmp_path).sources[0]) == (
            "3 files of a kind that is not read, the first at LICENSE (LICENSE)"
        )

    def test_links_are_followed_and_each_folder_is_read_once(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
        write(tmp_path / "elsewhere" / "deep" / "a.jsonl", [{"text": "one"}])
        folder = tmp_path / "folder"
        folder.mkdir()
        write(folder / "b.jsonl", [{"text": "two"}])
        (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "elsewhere" / "round").symlink_to(folder, target_is_directory=True)
        (folder / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
        (folder / ".hidden.txt").write_text("hidden")
        assert said(source(folder)) == ["text: one", "text: two"]
        left_out = counted(source(folder))["s"]
        assert left_out.rows == {"folder": 1, "not read": 1, "hidden": 1}
        assert left_out.first == {"folder": "link/round", "not read": "gone.txt", "hidden": ".hidden.txt"}
        assert left_out.found == {"folder": "a link to what is read already", "not read": "a link to nothing"}

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jsonl", ""),
            ("a.jsonl", "\n \n"),
            ("a.json", "[]"),
            ("a.csv", "text,id\n"),
            ("a.csv", ""),
            ("a.json", ""),
        ],
    )
    def test_files_without_a_row_are_counted(self, name: str, content: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(content)
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        assert said(source(tmp_path)) == ["text: one"]
        assert counted(source(tmp_path))["s"].rows == {"empty": 1}
        assert counted(source(tmp_path))["s"].first == {"empty": name}

    def test_tables_without_a_row_are_counted(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        assert counted(source(tmp_path))["s"].rows == {"empty": 1}

    def test_what_a_glob_does_not_go_into_is_counted(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        (tmp_path / "deep").mkdir()
        write(tmp_path / "deep" / "b.jsonl", [{"text": "two"}])
        datasets.Dataset.from_list([{"text": "three"}]).save_to_disk(tmp_path / "saved")
        assert said(source(tmp_path / "*")) == ["text: one", "text: three"]
        assert counted(source(tmp_path / "*"))["s"].rows == {"folder": 1}
        assert counted(source(tmp_path / "*"))["s"].first == {"folder": "deep"}
        assert said(source(tmp_path / "**")) == ["text: one", "text: three", "text: two"]
        assert counted(source(tmp_path / "**"))["s"].rows == {}

    def test_keys_beside_rows_are_counted(self, tmp_path: Path) -> None:
        content = {"version": 1, "data": [{"text": "1"}], "notes": ["a", "b"]}
        (tmp_path / "a.json").write_text(json.dumps(content))
        left_out = counted(source(tmp_path / "a.json"))["s"]
        assert left_out.rows == {"other key": 2}
        assert left_out.first["other key"] in ("a.json `version`", "a.json `notes`")

    def test_saved_datasets_below_a_folder_are_read_as_such(self, tmp_path: Path) -> None:
        parts = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "deep" / "saved")
        datasets.Dataset.from_list([{"text": "one"}]).save_to_disk(tmp_path / "other")
        write(tmp_path / "a.jsonl", [{"text": "two"}])
        assert said(source(tmp_path)) == ["text: one", "text: train", "text: two"]
        assert counted(source(tmp_path))["s"].rows == {"other split": 1}
        assert counted(source(tmp_path))["s"].first == {"other split": "deep/saved `test`"}
        assert said(source(tmp_path / "deep", split="test")) == ["text: test"]
        with pytest.raises(UserError, match="`split: test` has no effect"):
            said(source(tmp_path, split="test"))  # not on the files beside it
        for path in (tmp_path / "deep", tmp_path / "deep" / "saved", tmp_path / "other"):
            with pytest.raises(UserError, match="`subset: small` has no effect"):
                said(source(path, subset="small"))

    def test_feathers_first_version_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.feather").write_bytes(b"FEA1\0\0\0\0")
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        left_out = counted(source(tmp_path))["s"]
        assert (left_out.rows, left_out.found["not read"]) == ({"not read": 1}, "Feather V1; write it as Parquet")

    def test_home_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        assert said(source(Path("~/a.jsonl"))) == said(source(Path("~/*.jsonl"))) == ["text: one"]
        with pytest.raises(UserError, match="no such file"):
            said(source(Path("~/b")))


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
