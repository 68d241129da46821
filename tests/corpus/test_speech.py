"""Thoughts and channels are told from answers, and a model that goes on as somebody else is stopped."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken

from dfc.corpus import Parts, opening, parts, sections, spoken, until_next_turn
from tests import tiny

CHANNELS = "<|channel|>analysis<|message|>Ask sky.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", Parts("Yes.")),
        (CHANNELS, Parts("Yes.", "Ask sky.")),
        (CHANNELS.removesuffix("<|return|>"), Parts("Yes.", "Ask sky.")),
        (CHANNELS[: CHANNELS.index("<|end|>")], Parts("", "Ask sky.")),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=functions.sky"
            "<|message|>{}<|call|>",
            Parts("", "a\n\n{}"),
        ),
        ("<think>\nWet.\n</think>\n\nYes.", Parts("Yes.", "Wet.")),
        ("<think>\nWet", Parts("", "Wet")),
        ("[THINK]Wet.[/THINK]Yes.", Parts("Yes.", "Wet.")),
        ("<|channel>thought\nWet.\n<channel|>Yes.", Parts("Yes.", "Wet.")),
        ("I write <think> here", Parts("I write <think> here")),
        ("", Parts("")),
    ],
)
def test_parts(text: str, expected: Parts) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", [(False, "Yes.")]),
        (CHANNELS, [(True, CHANNELS[: CHANNELS.index("Yes.")]), (False, "Yes.<|return|>")]),
        ("<think>\nWet.\n</think>\n\nYes.", [(True, "<think>\nWet.\n</think>\n\n"), (False, "Yes.")]),
        ("<think>\nWet", [(True, "<think>\nWet")]),
        ("", [(False, "")]),
    ],
)
def test_sections_are_the_whole_text(text: str, expected: list[tuple[bool, str]]) -> None:
    at, found = 0, []
    for is_thought, end in sections(text):
        found.append((is_thought, text[at:end]))
        at = end
    assert found == expected


def test_marks_that_are_special_tokens_are_kept_and_others_are_not() -> None:
    tokenizer = tiny.byte_level_tokenizer()
    marks = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>", "<|channel>", "<channel|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(mark, special=True) for mark in marks]})
    ids = tokenizer(f"<|im_start|>{CHANNELS}<|im_end|>", add_special_tokens=False)["input_ids"]
    assert spoken(tokenizer, ids) == CHANNELS
    assert tokenizer.decode(ids, skip_special_tokens=True) == "analysisAsk sky.assistantfinalYes."
    other = "<|channel>thought\nAsk sky.<channel|>Yes."
    assert spoken(tokenizer, tokenizer(f"{other}<|im_end|>", add_special_tokens=False)["input_ids"]) == other
    plain = tokenizer("Yes. 雨<|im_end|>", add_special_tokens=False)["input_ids"]
    assert spoken(tokenizer, plain) == "Yes. 雨"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>\n"),
        ("<think>", "<think>"),
        ("<|channel>thought\n", "<|channel>thought\n"),
        ("assistant\n", ""),
        ("", ""),
    ],
)
def test_a_prompt_may_open_a_thought(prompt: str, expected: str) -> None:
    assert opening(prompt) == expected


def test_a_turn_ends_where_another_begins() -> None:
    assert until_next_turn("It will.\n\nUser: Why?") == ("It will.", True)
    assert until_next_turn("It will.\n\nUsers say so") == ("It will.\n\nUsers say so", False)
    text = "It will.\n\nUser: Why?"
    shown = [until_next_turn(text[:end], whole=False) for end in range(len(text) + 1)]
    assert shown[-1] == ("It will.", True)
    assert all(len(said) <= len("It will.") for said, _ in shown)
    assert until_next_turn("One.\n\nTwo", whole=False) == ("One.", False)
    assert until_next_turn("One.\n\nTwo.", whole=False) == ("One.\n\nTwo.", False)
