"""Flags of data/screening.yaml: which words stand in a text, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.config import MissingError, SettingsError, shipped
from dfc.screen import words
from dfc.screen.words import Flag
from dfc.steering import prompt_sets


def flag(*listed: str) -> Flag:
    return Flag(title="t", description="d", query="q", words={"en": listed})


@pytest.mark.parametrize(
    ("word", "there", "not_there"),
    [
        ("lie", ["a LIE.", "他lie了", "lie"], ["believe", "lied", "lie2"]),
        ("lie*", ["lied", "(lies)"], ["belie"]),
        ("党中央", ["在党中央领导下"], ["党 中央"]),
        ("GPT", ["我是GPT助手"], ["gpt", "ChatGPT"]),
        ("not able to", ["not  able\nto go"], ["not able tonight"]),
        ("#include", ["x#include<a>"], ["#included"]),
        ("->", ["a->b"], ["a- >b"]),
        ("опасн*", ["Опасность"], ["безопасность"]),
        ("lie", ["belie a lie"], []),
    ],
)
def test_words_are_whole_where_a_script_has_spaces(word: str, there: list[str], not_there: list[str]) -> None:
    one = flag(word)
    assert [one.found(text) for text in there] == [[word]] * len(there)
    assert [one.found(text) for text in not_there] == [[]] * len(not_there)


def test_each_word_is_named_once() -> None:
    assert flag("bomb*", "weapon*", "bomb*").found("weapons, bombs and bombing") == ["bomb*", "weapon*"]


def test_the_flags_that_ship() -> None:
    flags = words.load(shipped.ROOT / "data" / "screening.yaml")
    assert len({one.title for one in flags.values()}) == len(flags) >= 12
    for one in flags.values():
        assert one.words["en"]
        assert one.words["zh"]
        assert one.description
        assert one.query
        assert one.prompts is None or one.prompts in prompt_sets.names()


def test_ones_own_flags_take_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "code" in words.load()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "screening.yaml").write_text("mine: {title: Mine, description: d, query: q, words: {en: [x]}}")
    assert list(words.load()) == ["mine"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: {title: A, description: d, query: q, words: {en: []}}", "`a.words`: .* at least one word"),
        ("a: {title: A, description: d, query: q, words: {en: ['*']}}", "no empty one"),
        ("a: {title: A}", "`a.description`: Field required"),
        ("a: {title: A, description: d, query: q, words: {en: [x]}, colour: red}", "`a.colour`"),
        ("- x", "`the file`"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_what_are_no_flags(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        words.load(tmp_path / "f.yaml")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file; the flags that ship"):
        words.load(tmp_path / "none.yaml")
