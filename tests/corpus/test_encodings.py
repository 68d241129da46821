"""Encodings: marks, UTF-8, guesses that are said to be guesses, and what is damaged."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import pytest

from dfc import corpus
from dfc.corpus import encodings
from tests.corpus.written import counted, said, source

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

    @pytest.mark.parametrize(
        ("first", "last"),
        [
            ("Der Bär läuft schnell.", "Mon père est à la maison."),
            ("The café was closed on Monday.", "El señor comió jalapeños en España"),
            ("It’s a nice day – she said “hello”.", "Mon père est allé à la bibliothèque"),
        ],
    )
    def test_words_of_the_whole_file_and_of_several_languages_tell(self, first: str, last: str, tmp_path: Path) -> None:
        between = "The committee met on Monday to discuss the budget, and everyone agreed.\n" * 1500  # over 100 kB
        for text in (f"{first} {last}", f"{first}\n{between}{last}"):
            (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
            found = encodings.detect(partial((tmp_path / "a.txt").open, "rb"))
            assert found is not None
            assert found.name == "cp1252"

    def test_only_some_of_very_many_words_are_looked_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encodings, "_WORDS", 50)
        many = "\n".join([*(f"étage{number}" for number in range(5_000)), "café"]).encode("cp1252")
        found = encodings._words(partial(io.BytesIO, many)).split()
        assert 10 <= len(found) <= 51
        assert {*found} <= {*many.split()}

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

    @pytest.mark.parametrize(
        ("text", "name"),
        [(RUSSIAN, "utf-16-le"), (RUSSIAN, "utf-16-be"), ("A river.", "utf-32-le"), (CHINESE, "utf-32-be")],
    )
    def test_wide_characters_without_a_mark_are_no_text_of_controls(self, text: str, name: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(text.encode(name))
        (tmp_path / "b.txt").write_text("good")
        assert said(source(tmp_path)) == ["text: good"]
        assert counted(source(tmp_path))["s"].rows == {"encoding": 1}

    def test_what_goes_over_to_japanese_characters_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("今朝、私たちは店に行きました。".encode("iso2022_jp"))
        assert said(source(tmp_path)) == ["text: 今朝、私たちは店に行きました。"]
