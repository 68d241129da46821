"""What a template makes of the real messages, and where each turn stands in it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import Document, Rendering
from tests import tiny

MOVED = (  # what the system says stands in the last turn of the user, and is said again at the end
    "{% set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
    "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last %}{{ system }}\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}{{ system }}"
)
THINKING = (  # earlier thoughts go, the last ones are put into marks; a length and a switch are looked at
    "{% set last = messages | length - 1 %}{% for m in messages %}<|im_start|>{{ m.role }} [{{ m.content | length }}]\n"
    "{% if m.role == 'assistant' %}{% set said = m.content.split('</think>')[-1] | trim %}"
    "{% set thought = m.reasoning_content if m.reasoning_content is defined else "
    "(m.content.split('</think>')[0].split('<think>')[-1] | trim if '</think>' in m.content else '') %}"
    "{% if loop.index0 == last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ said }}"
    "{% else %}{{ m.content | trim }}{% if '/no_think' in m.content %} (short){% endif %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
TOOLS = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}"
    "{{ ' ' + m.name if m.name }}\n{% if m.content is defined %}{{ m.content }}{% else %}(nothing){% endif %}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function.name }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
)
PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TEMPLATES = {"chatml": tiny.CHATML, "moved": MOVED, "thinking": THINKING, "tools": TOOLS}


def tokenizer_with(template: Any) -> PreTrainedTokenizerFast:
    tokenizer = tiny.byte_level_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def chat(*messages: tuple[str, str] | dict[str, Any]) -> Document:
    given = [one if isinstance(one, dict) else {"role": one[0], "content": one[1]} for one in messages]
    document = corpus.of_messages("s", given)
    assert document is not None
    return document


def check(document: Document, rendering: Rendering, tokenizer: PreTrainedTokenizerFast, **settings: Any) -> None:
    """The text is what transformers makes of the messages, and every place holds what the content says there."""
    assert rendering.text == tokenizer.apply_chat_template(
        document.messages, tools=document.tools, tokenize=False, **settings
    )
    content = "".join(turn.content for turn in document.turns)
    assert [rendering.text[at : at + length] for at, _, length in rendering.turns] == [
        content[at : at + length] for _, at, length in rendering.turns
    ]
    ends = [at + length for at, _, length in rendering.turns]
    assert all(end <= start for end, (start, _, _) in zip(ends, rendering.turns[1:], strict=False))


def placed(document: Document, rendering: Rendering) -> list[str]:
    """What was found, in the order of the rendered text."""
    content = "".join(turn.content for turn in document.turns)
    return [content[at : at + length] for _, at, length in rendering.turns]


def test_turns_that_a_template_moves_and_says_twice_are_found_at_their_first_place() -> None:
    tokenizer = tokenizer_with(MOVED)
    document = chat(("system", "Be brief."), ("user", "One?"), ("assistant", "1."), ("user", "Two?"))
    rendering = corpus.render(document, tokenizer)
    check(document, rendering, tokenizer)
    assert placed(document, rendering) == ["One?", "1.", "Be brief.", "Two?"]
    assert not rendering.lost
    assert not any("\ue000" <= character <= "\uf8ff" for character in rendering.text)


def test_a_template_that_looks_at_what_is_said_sees_it() -> None:
    tokenizer = tokenizer_with(THINKING)
    thoughtful = "<think>\nIt is wet outside.\n</think>\n\nYes, it will."
    document = chat(
        ("user", "Rain? /no_think"), ("assistant", thoughtful), ("user", "Snow?"), ("assistant", thoughtful)
    )
    rendering = corpus.render(document, tokenizer)
    check(document, rendering, tokenizer)
    assert "Rain? /no_think (short)" in rendering.text
    assert rendering.text.count("<think>") == 1  # only the last turn's, and no empty one before it
    assert placed(document, rendering) == ["Rain? /no_think", "Yes, it will.", "Snow?", thoughtful]
    assert rendering.lost == ("assistant",)  # of the first, the thought is gone


def test_thoughts_beside_what_is_said_are_given_and_what_is_ignored_is_told() -> None:
    beside = {"role": "assistant", "content": "Yes.", "reasoning_content": "Clouds are low."}
    document = chat(("user", "Rain?"), beside)
    assert [turn.role for turn in document.turns] == ["user", "reasoning", "assistant"]
    read = corpus.render(document, tokenizer_with(THINKING))
    check(document, read, tokenizer_with(THINKING))
    assert "<think>\nClouds are low.\n</think>" in read.text
    assert not read.lost
    ignored = corpus.render(document, tokenizer_with(tiny.CHATML))
    check(document, ignored, tokenizer_with(tiny.CHATML))
    assert ignored.lost == ("reasoning",)


def test_thoughts_are_given_under_the_name_that_a_template_reads() -> None:
    tokenizer = tokenizer_with(THINKING.replace("reasoning_content", "thinking"))
    document = chat(("user", "Rain?"), {"role": "assistant", "content": "Yes.", "reasoning_content": "Clouds."})
    assert "<think>\nClouds.\n</think>" in corpus.render(document, tokenizer).text


def test_tools_names_and_silent_calls_reach_the_template() -> None:
    tokenizer = tokenizer_with(TOOLS)
    call = {"type": "function", "function": {"name": "sky", "arguments": {"where": "here"}}}
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Rain?", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "wet"},
        {"role": "assistant", "content": "Yes."},
    ]
    tools = [{"type": "function", "function": {"name": "sky", "parameters": {"type": "object", "properties": {}}}}]
    document = corpus.of_messages("s", messages, tools)
    assert document is not None
    rendering = corpus.render(document, tokenizer)
    check(document, rendering, tokenizer)
    assert document.messages == messages
    assert "<|im_start|>user Ann" in rendering.text
    assert "(nothing)<call>sky</call>" in rendering.text
    assert rendering.text.startswith("<tools>[")
    assert placed(document, rendering) == ["Be kind.", "Rain?", "Yes."]  # the tool's turn is given, and not said


def test_what_a_template_leaves_out_is_not_taken_for_what_stands_elsewhere() -> None:
    tokenizer = tokenizer_with(
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}"
    )
    document = chat(("system", "user"), ("user", "assistant"), ("assistant", "user"))
    rendering = corpus.render(document, tokenizer)
    check(document, rendering, tokenizer)
    assert rendering.lost == ("system",)
    assert [at for at, _, _ in rendering.turns] == [
        rendering.text.index("\nassistant") + 1,
        rendering.text.rindex("user"),
    ]


def test_several_templates_have_a_default() -> None:
    named = {"default": tiny.CHATML, "tool_use": TOOLS}
    tokenizer = tokenizer_with(named)
    document = chat(("user", "Rain?"))
    check(document, corpus.render(document, tokenizer), tokenizer)
    assert corpus.template_of(tokenizer) == tiny.CHATML
    assert corpus.template_of(tokenizer, [{"type": "function"}]) == TOOLS
    with pytest.raises(UserError, match=r"has several chat templates \(rag, tool_use\) and no default; write one"):
        corpus.render(document, tokenizer_with({"rag": TOOLS, "tool_use": TOOLS}))


def test_a_template_is_told_the_time_that_is_given() -> None:
    tokenizer = tokenizer_with("{{ strftime_now('%d %B %Y') }}\n" + tiny.CHATML)
    document = chat(("user", "Rain?"))
    assert corpus.is_dated(tokenizer)
    assert not corpus.is_dated(tokenizer_with(tiny.CHATML))
    assert not corpus.is_dated(tokenizer_with(None))
    first, again = (corpus.render(document, tokenizer, moment=datetime(2026, 2, 3, 4, 5)) for _ in range(2))
    assert first == again
    assert first.text.startswith("03 February 2026\n")


def test_a_base_model_is_given_names_thoughts_and_tools() -> None:
    messages = [
        {"role": "user", "content": " Rain? "},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "sky"}}]},
        {"role": "tool", "content": "wet"},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Clouds."},
    ]
    document = corpus.of_messages("s", messages)
    assert document is not None
    rendering = corpus.render(document, tokenizer_with(None), answer=True)
    assert rendering.text == (
        'User: Rain?\n\nAssistant: [{"function": {"name": "sky"}}]\n\nTool: wet\n\nAssistant: Clouds.\n\nYes.'
        "\n\nAssistant:"
    )
    assert placed(document, rendering) == ["Rain?", "Clouds.", "Yes."]


def test_a_template_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "good.jinja").write_text(
        f"\ufeff{tiny.CHATML}{{% generation %}}x{{% endgeneration %}}", encoding="utf-8"
    )
    assert corpus.read_template(str(tmp_path / "good.jinja")).startswith(tiny.CHATML)
    (tmp_path / "bad.jinja").write_text("{% for m in messages %}")
    with pytest.raises(UserError, match=r"bad\.jinja: is no chat template \(.*\); give a Jinja file"):
        corpus.read_template(str(tmp_path / "bad.jinja"))
    with pytest.raises(UserError, match=r"gone\.jinja: this chat template cannot be read \(No such file"):
        corpus.read_template(str(tmp_path / "gone.jinja"))


@pytest.mark.parametrize("asked", ["%d %B %Y", "%-d.%-m.%C", "%e %k %s", "100%% on %F", "%Ey"])
def test_any_form_of_a_date_is_what_the_moment_gives(asked: str) -> None:
    moment = datetime(2026, 2, 3, 4, 5)
    for argument in (f"'{asked}'", f"format='{asked}'"):
        tokenizer = tokenizer_with(f"{{{{ strftime_now({argument}) }}}}|" + tiny.CHATML)
        assert corpus.render(chat(("user", "Rain?")), tokenizer, moment=moment).text.startswith(f"{moment:{asked}}|")


ALTERNATING = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('in turn') }}"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
CALL = {"type": "function", "function": {"name": "sky", "arguments": {"where": "here"}}}


def test_turns_that_are_joined_keep_their_calls() -> None:
    document = chat(
        ("user", "Rain?"),
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "assistant", "content": "It is wet."},
        {"role": "tool", "content": "wet"},
    )
    rendering = corpus.render(document, tokenizer_with(ALTERNATING))
    assert rendering.joined
    assert json.dumps([CALL]) in rendering.text
    assert placed(document, rendering) == ["Rain?", "I look.", "It is wet."]
    assert not rendering.untold


def test_a_template_that_wants_arguments_as_text_has_them() -> None:
    wants = "{% for m in messages for c in m.tool_calls or [] %}{{ 'call ' + c.function.arguments }}{% endfor %}"
    wants = wants.replace(" for c in", " %}{% for c in").replace("{% endfor %}", "{% endfor %}{% endfor %}")
    document = chat(("user", "Rain?"), {"role": "assistant", "content": "So.", "tool_calls": [CALL]})
    assert corpus.render(document, tokenizer_with(wants)).text == 'call {"where": "here"}'


@pytest.mark.parametrize(
    "part",
    ["{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}", "{{ m.content[0].text | trim }}"],
    ids=["reads parts alone", "refuses a text"],
)
def test_a_template_that_wants_parts_has_them(part: str) -> None:
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + part + "<|im_end|>\n{% endfor %}"
    document = chat(("user", "Rain?"), ("assistant", "Rain?"), ("user", "user"), ("assistant", "Yes, it rains."))
    rendering = corpus.render(document, tokenizer_with(template))
    assert rendering.text == corpus.render(document, tokenizer_with(PLAIN)).text
    assert placed(document, rendering) == [turn.content for turn in document.turns]
    assert (rendering.lost, rendering.joined) == ((), False)
    asked = chat(("user", "What is {'type': 'text'}?"), ("assistant", "A part."))
    assert corpus.render(asked, tokenizer_with(template)).text == corpus.render(asked, tokenizer_with(PLAIN)).text


def test_a_template_that_cuts_a_text_and_prints_parts_loses_the_turn() -> None:
    document = chat(("user", "Rain?"))
    rendering = corpus.render(document, tokenizer_with("{{ messages[0].content[:3] }}"))
    assert (rendering.text, placed(document, rendering), len(rendering.lost)) == ("Rai", [], 1)


def test_what_a_template_does_not_tell_of_tools_is_known() -> None:
    tools = [{"type": "function", "function": {"name": "sky"}}]
    messages = [
        {"role": "user", "content": "Rain, in the sky?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "tool", "content": 'a "wet"\nday'},
    ]
    document = corpus.of_messages("s", messages, tools)
    assert document is not None
    assert corpus.render(document, tokenizer_with(TOOLS)).untold == ()
    assert corpus.render(document, tokenizer_with(None)).untold == ("`tools`",)  # for which the frame has no place
    assert corpus.render(document, tokenizer_with(tiny.CHATML)).untold == ("`tool_calls`", "`tools`")
    only_users = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    assert corpus.render(document, tokenizer_with(only_users)).untold == ("`tool_calls`", "role `tool`", "`tools`")


@pytest.mark.parametrize("elsewhere", ["tool", "call", "description", "template", "thought"])
def test_a_turn_that_is_left_out_is_not_found_in_other_words(elsewhere: str) -> None:
    words = "Always answer in verse, please."
    messages: list[dict[str, Any]] = [{"role": "system", "content": words}, {"role": "user", "content": "Rain?"}]
    tools, template = None, TOOLS.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}", 1)
    match elsewhere:
        case "tool":
            messages.append({"role": "tool", "content": f"He said: {words}"})
        case "call":
            call = {"type": "function", "function": {"name": words}}
            messages.append({"role": "assistant", "content": "So.", "tool_calls": [call]})
        case "description":
            tools = [{"type": "function", "function": {"name": "f", "description": words}}]
        case "template":
            template = words + template
        case "thought":
            messages.append({"role": "assistant", "content": "So.", "reasoning_content": words})
            template += "{{ messages[-1].reasoning_content }}"
    document = corpus.of_messages("s", messages, tools)
    assert document is not None
    rendering = corpus.render(document, tokenizer_with(template))
    assert words in rendering.text
    assert "system" in rendering.lost
    content = "".join(turn.content for turn in document.turns)
    assert all(content[at : at + length] != words or at for _, at, length in rendering.turns)


WORDS = st.sampled_from(
    ["user", "assistant", "a", "Yes", "<think>", "</think>", " ", "\n", "河", "Be brief", "?", "im"]
)
SAID = st.lists(WORDS, min_size=1, max_size=6).map("".join)
MESSAGES = st.lists(
    st.builds(
        lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant", "system"]), SAID
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES)
def test_whatever_is_said_is_rendered_as_it_is_and_found_where_it_stands(
    name: str, messages: list[dict[str, Any]]
) -> None:
    tokenizer = tokenizer_with(TEMPLATES[name])
    document = corpus.of_messages("s", messages)
    if document is None:
        return
    rendering = corpus.render(document, tokenizer)
    check(document, rendering, tokenizer)
    whole = {turn.content for turn in document.turns} & set(placed(document, rendering))
    assert len(rendering.turns) + len(rendering.lost) >= len(document.turns)
    assert whole or rendering.lost
    if name == "chatml":  # nothing is left out, moved or looked at
        assert not rendering.lost


@pytest.mark.parametrize("template", [tiny.CHATML, TOOLS, THINKING, ALTERNATING, MOVED])
def test_a_chat_is_rendered_a_few_times_however_long_it_is(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, rendered = tokenizer_with(template), []
    real = tokenizer.apply_chat_template

    def counting(*given: Any, **more: Any) -> Any:
        rendered.append(1)
        return real(*given, **more)

    monkeypatch.setattr(tokenizer, "apply_chat_template", counting)
    messages = [
        message
        for number in range(60)
        for message in (
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": f"wet {number}"},
            {"role": "assistant", "content": "hi"},
        )
    ]
    document = corpus.of_messages("s", messages, [{"type": "function", "function": {"name": "sky"}}])
    assert document is not None
    rendering = corpus.render(document, tokenizer)
    assert placed(document, rendering) == ["hi"] * 120
    assert not rendering.lost
    assert len(rendered) <= 12


def test_each_tool_that_a_template_leaves_out_is_counted() -> None:
    some = "m.role != 'tool' or loop.index0 % 4 == 1"
    shows_every_other = f"{{% for m in messages %}}{{% if {some} %}}{{{{ m.content }}}}\\n{{% endif %}}{{% endfor %}}"
    messages = [("user", "Rain, in the sky?"), *[{"role": "tool", "content": "wet"}] * 12]
    assert corpus.render(chat(*messages), tokenizer_with(shows_every_other)).untold == ("role `tool`",) * 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chat_template.json", {"chat_template": tiny.CHATML}),
        ("tokenizer_config.json", {"eos_token": "x", "chat_template": [{"name": "default", "template": tiny.CHATML}]}),
    ],
)
def test_a_template_is_read_out_of_the_json_of_a_model(name: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(value))
    assert corpus.read_template(str(tmp_path / name)) == tiny.CHATML


def test_a_file_without_a_template_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jinja").write_text(" \n")
    with pytest.raises(UserError, match=r"empty\.jinja: this chat template is empty; give another file\."):
        corpus.read_template(str(tmp_path / "empty.jinja"))
    (tmp_path / "a.json").write_text('{"eos_token": "x"}')
    with pytest.raises(UserError, match=r"a\.json: has no text under `chat_template`; give a Jinja file"):
        corpus.read_template(str(tmp_path / "a.json"))
