"""How each model is given a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import Document, Turn
from tests import tiny
from tests.corpus.written import read, source

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


STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('in turn') }}"
    "{% endif %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("system: be kind; user: rain?", "[user]be kind\n\nrain?[assistant]"),
        ("user: hello; user: rain?", "[user]hello\n\nrain?[assistant]"),
        ("assistant: hello; user: rain?", "[user][assistant]hello[user]rain?[assistant]"),
        ("user: a; assistant: b; system: c; user: d", "[user]a[assistant]b[user]c\n\nd[assistant]"),
    ],
)
def test_what_a_template_refuses_is_joined_and_nobody_says_what_another_said(said: str, expected: str) -> None:
    tokenizer = tiny.byte_level_tokenizer()
    tokenizer.chat_template = STRICT
    turns = tuple(Turn(*turn.split(": ")) for turn in said.split("; "))
    rendering = corpus.render(Document("s", turns), tokenizer, answer=True)
    assert rendering.text == expected
    placed = [rendering.text[start : start + length] for start, _, length in rendering.turns]
    assert placed == [turn.content for turn in turns]
    assert rendering.joined


def test_a_template_that_refuses_every_chat_is_one_sentence() -> None:
    tokenizer = tiny.byte_level_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(UserError, match=r"its chat template refuses a chat of 1 turns \(never\)"):
        corpus.render(Document("s", (Turn("user", "rain?"),)), tokenizer)


def test_a_plain_text_stays_as_it_is() -> None:
    rendering = corpus.render(corpus.plain("Rain?\n"), tiny.byte_level_tokenizer())
    assert rendering == corpus.Rendering("Rain?\n", ((0, 0, 6),), add_special_tokens=True)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "data" / "prompts").glob("*.jsonl")))
def test_the_prompts_that_ship_are_all_chats(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    documents = read(source(path))
    assert len(documents) == len(rows) >= 30
    assert all(document.is_chat for document in documents)
    assert {row["language"] for row in rows} == {"en", "zh"}
