"""What a row may look like, and that none is fatal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dfc import corpus
from dfc.config import CorpusConfig, UserError
from dfc.corpus import Document, Turn
from tests.corpus.written import CHAT, CHAT_SAID, counted, read, said, source, write, write_csv


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
        '"a bare one"',
        "",
    ]
    found = read(source(write(tmp_path / "a.jsonl", rows)))
    given = json.dumps({"messages": chat})  # with the space around what is said
    assert sorted(found, key=lambda document: (document.is_chat, document.turns[0].content != "one?")) == [
        Document("s", (Turn("text", "one?"),)),
        Document("s", (Turn("text", "a bare one"),)),
        Document("s", (Turn("user", "Hi"), Turn("assistant", "Yes")), given),
    ]


def test_fields_have_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"body": "one", "conversation": None}])
    assert read(source(path, text="body")) == [corpus.plain("one", "s")]
    with pytest.raises(
        UserError, match=r"source `s` .* is empty: 1 rows without a usable `text` or .*\(columns `body`, `conv"
    ):
        read(source(path))


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
        ({"prompt": "Rain?", "completion": "Yes"}, CHAT_SAID),
        ({"prompt": CHAT[:1], "completion": CHAT[1:]}, CHAT_SAID),
        ({"prompt": CHAT[:1], "response": "Yes"}, CHAT_SAID),
        ({"prompt": CHAT}, CHAT_SAID),
        ({"prompt": "[{ is this?", "response": "Yes"}, "user: [{ is this? | assistant: Yes"),
        ({"prompt": "Rain?", "response": ["Yes"]}, "bad row"),
        ({"response": "Yes", "completion": [{"role": "one"}]}, "bad row"),
        ({"response": "Yes", "tools": [{"role": "one"}]}, "bad row"),
        ({"completion": [{"role": "one"}], "tools": [{"role": "one"}]}, "bad row"),
        ({"prompt": "Rain?"}, "bad row"),
        ({"messages": "Rain?"}, "bad row"),
        ({"messages": ["Rain?"]}, "bad row"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Rain?"}]}]}, "user: Rain?"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]}, "bad row"),
        ({"messages": [*CHAT, {"role": "tool", "content": "3"}]}, CHAT_SAID),
        ({"messages": [*CHAT, {"from": "function", "value": "3"}]}, CHAT_SAID),
        ({"messages": [{"role": "User", "content": "Rain?"}, {"role": "chatgpt", "content": "Yes"}]}, CHAT_SAID),
        ({"messages": json.dumps(CHAT)}, CHAT_SAID),
        ({"messages": {"role": ["user", "assistant"], "content": ["Rain?", "Yes"]}}, CHAT_SAID),
        ({"Messages": CHAT}, CHAT_SAID),
        (CHAT, CHAT_SAID),
        ({" Text": "one"}, "text: one"),
        ({"messages": [{"role": "developer", "content": "Be kind"}, *CHAT]}, f"system: Be kind | {CHAT_SAID}"),
        (
            {"messages": [CHAT[0], {**CHAT[1], "reasoning_content": "Clouds."}]},
            "user: Rain? | reasoning: Clouds. | assistant: Yes",
        ),
        ({"instruction": "Rain?", "output": "Yes"}, CHAT_SAID),
        ({"instruction": "Rain?", "input": "", "output": "Yes", "history": []}, CHAT_SAID),
        ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, "user: Add.\n1 and 2 | assistant: 3"),
        (
            {"instruction": "Why?", "output": "So.", "history": [["Rain?", "Yes"]], "system": "Be kind"},
            f"system: Be kind | {CHAT_SAID} | user: Why? | assistant: So.",
        ),
        ({"prompt": "Why?", "response": "So.", "history": CHAT}, f"{CHAT_SAID} | user: Why? | assistant: So."),
        ({"instruction": "Add.", "context": "1 and 2", "response": "3"}, "user: Add.\n1 and 2 | assistant: 3"),
        ({"messages": CHAT, "system": [{"type": "text", "text": "Be kind"}]}, f"system: Be kind | {CHAT_SAID}"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": None, "refusal": "Yes"}]}, CHAT_SAID),
        ({"instruction": "Rain?", "input": 3, "output": "Yes"}, "bad row"),
        ({"prompt": "Rain?", "response": "Yes", "history": "long ago"}, "bad row"),
        ({"prompt": "Rain?", "response": "Yes", "history": [["alone"]]}, "bad row"),
        ({"instruction": "Rain?"}, "bad row"),
        (
            {"messages": [CHAT[0], {"role": "assistant", "content": None, "function_call": {"name": "f"}}]},
            "user: Rain?",
        ),
        ({"messages": [CHAT[0], {"role": "assistant", "function_call": "f"}]}, "bad row"),
        ({"messages": [CHAT[0], {"role": "assistant", "tool_calls": "f"}]}, "bad row"),
        ({"messages": [CHAT[0], {**CHAT[1], "reasoning": {"said": 1}}]}, "bad row"),
        ({"messages": CHAT, "tools": "search, python"}, "bad row"),
        ({"messages": CHAT, "tools": ["search"]}, "bad row"),
        ({"messages": CHAT, "tools": 3}, "bad row"),
        ({"messages": CHAT, "tools": [json.dumps({"name": "f"})]}, CHAT_SAID),
        ({"messages": CHAT, "tools": " "}, CHAT_SAID),
        ({"prompt": "Rain?", "response": [CHAT[0], CHAT[1]]}, CHAT_SAID),
        (
            {"prompt": CHAT[:1], "response": [{"role": "system", "content": "Be kind"}, *CHAT]},
            f"system: Be kind | {CHAT_SAID}",
        ),
        ({"prompt": "Rain?", "response": CHAT, "history": [["a", "b"]]}, f"user: a | assistant: b | {CHAT_SAID}"),
        ({"prompt": "Rain?", "response": CHAT[1]}, CHAT_SAID),
        ({"messages": CHAT[:1], "response": "Yes"}, CHAT_SAID),
        ({"conversations": CHAT[:1], "completion": CHAT[1]}, CHAT_SAID),
        ({"messages": CHAT, "response": "No"}, CHAT_SAID),
        ({"messages": CHAT[:1], "response": {"choices": []}}, "user: Rain?"),
        (
            {"prompt": "Rain?", "reasoning": "It is wet.", "response": "Yes"},
            "user: Rain? | reasoning: It is wet. | assistant: Yes",
        ),
        ({"prompt": "Rain?", "reasoning": " on", "response": "Yes"}, CHAT_SAID),
        ({"messages": repr([CHAT[0], {**CHAT[1], "name": None}])}, CHAT_SAID),
        ({"prompt": repr(CHAT[:1]), "response": "Yes"}, CHAT_SAID),
        ({"prompt": "[{'is': this}]?", "response": "Yes"}, "user: [{'is': this}]? | assistant: Yes"),
        ({"chat_messages": [{"sender": "human", "text": "Rain?"}, {"sender": "assistant", "text": "Yes"}]}, CHAT_SAID),
        (
            {
                "systemInstruction": {"parts": [{"text": "Be kind"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Rain?"}]},
                    {"role": "model", "parts": [{"text": "Clouds.", "thought": True}, {"text": "Yes"}]},
                ],
            },
            "system: Be kind | user: Rain? | reasoning: Clouds. | assistant: Yes",
        ),
        ({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}]}, "bad row"),
        ({"role": "prompter", "text": "Rain?", "message_id": "1", "parent_id": None}, "bad row"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role"),
        ({"messages": [{"content": "x"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": " "}]}, "too short"),
        ({"text": " "}, "too short"),
    ],
)
def test_shapes_of_rows(row: dict[str, Any] | list[Any], expected: str, tmp_path: Path) -> None:
    config = source(write(tmp_path / "a.jsonl", [row, {"text": "another"}]))
    (left_out,) = counted(config).values()
    assert [*left_out.rows, *(text for text in said(config) if text != "text: another")] == [expected]


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"messages": [CHAT[0], {**CHAT[1], "tool_plan": "I look.", "functions": [{"name": "f"}]}]}, "tool_plan 2"),
        ({"messages": [CHAT[0], {"role": "user", "utterance": "So?", "id": "a"}, CHAT[1]]}, "utterance 1"),
        ({"messages": [CHAT[0], {"role": "user", "pieces": [{"text": "So?"}]}]}, "pieces 1"),
        ({"messages": [CHAT[0], {**CHAT[1], "text": "Yes", "parts": [{"type": "text", "text": "Yes"}]}]}, ""),
        ({"messages": CHAT, "chosen": CHAT, "rejected": CHAT[:1]}, "rejected 1"),
        ({"conversations": CHAT[:1], "chosen": CHAT[1], "rejected": "No"}, "chosen 2"),
        ({"messages": CHAT, "response": "No"}, "response 1"),
        ({"messages": CHAT, "response": "Yes", "prompt": "Rain?"}, ""),
        ({"messages": CHAT[:1], "response": {"choices": [{"message": CHAT[1]}]}}, "response 1"),
        ({"prompt": "Rain?", "reasoning": "on", "response": "Yes"}, "reasoning 1"),
        ({"prompt": "Rain?", "reasoning": "It is wet.", "response": "Yes"}, ""),
        ({"messages": [{**CHAT[0], "text": "Snow?"}, CHAT[1]]}, "text 1"),
        ({"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": CHAT[1:]}, "chosen 2"),
        ({"messages": [CHAT[0], {**CHAT[1], "thinking": "So.", "reasoning": "Or so."}]}, "reasoning 1"),
        ({"messages": [CHAT[0], {**CHAT[1], "thinking": "So.", "reasoning": "So. "}]}, ""),
        ({"prompt": "Rain?", "response": "Yes", "completion": "No"}, "completion 1"),
        ({"prompt": "Rain?", "response": "Yes", "context": "Clouds."}, "context 1"),
        ({"messages": [{**CHAT[0], "weight": 1, "id": "x", "name": "al"}, {**CHAT[1], "refusal": None}]}, ""),
        ({"instruction": "Add.", "context": "1 and 2", "response": "3"}, ""),
    ],
)
def test_words_that_are_not_used_are_counted_and_named(row: dict[str, Any], names: str, tmp_path: Path) -> None:
    opened = corpus.open_sources(source(write(tmp_path / "a.jsonl", [row])))["s"]
    assert len(list(opened.documents)) == 1
    found = opened.noted.found.get("unread", "").strip("`")
    assert f"{found} {opened.noted.rows.get('unread', '')}".strip() == names


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    rows = [{"conversation": [{"human": "Rain?", "assistant": "Yes"}]}, {"messages": [{"said": "Rain?"}]}]
    [left_out] = counted(source(write(tmp_path / "a.jsonl", [*rows, {"text": "one"}]))).values()
    assert left_out.rows == {"unknown role": 2}
    assert left_out.found["unknown role"] in (
        "a message without a role, of `human`, `assistant`",
        "a message without a role, of `said`",
    )
    pq.write_table(pa.table({"text": [b"one", b"two"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"\(`text` is bytes\)"):
        read(source(tmp_path / "a.parquet"))


def test_of_keys_beside_rows_the_one_with_most_words_is_named(tmp_path: Path) -> None:
    row = {"id": "a7", "question": "Who saw the rain?", "answers": [{"text": "Ann"}], "context": "Ann saw it. " * 9}
    [left_out] = counted(source(write(tmp_path / "a.jsonl", [row]))).values()
    assert (left_out.rows, left_out.first) == ({"other key": 3}, {"other key": "a.jsonl:1 `context`"})


def test_an_empty_thought_is_given_and_hides_no_other(tmp_path: Path) -> None:
    empty = {**CHAT[1], "reasoning_content": ""}
    for answer, kept in ((empty, {"reasoning_content": ""}), ({**empty, "thinking": "So."}, {"thinking": "So."})):
        [document] = read(source(write(tmp_path / "a.jsonl", [{"messages": [CHAT[0], answer]}])))
        assert document.messages[1] == {**CHAT[1], **kept}


def test_what_is_asked_of_tools_reaches_the_template_in_every_spelling(tmp_path: Path) -> None:
    asked = {"name": "sky", "arguments": '{"where": "here"}'}
    call = {"type": "function", "function": {"name": "sky", "arguments": {"where": "here"}}}
    spellings = [
        {"role": "assistant", "content": None, "function_call": asked},
        {"role": "assistant", "function_call": json.dumps(asked), "content": None},
        {"from": "function_call", "value": json.dumps(asked)},
        {"from": "function_call", "value": json.dumps([asked])},
        {"role": "assistant", "content": None, "tool_calls": json.dumps([call])},
    ]
    described = {"name": "sky", "parameters": {}}
    rows = [{"messages": [CHAT[0], message], "id": number} for number, message in enumerate(spellings)]
    config = source(write(tmp_path / "a.jsonl", rows)).model_copy(update={"drop_duplicates": False})
    documents = read(config)
    assert [document.messages[1]["tool_calls"] for document in documents] == [[call]] * len(spellings)
    assert {document.messages[1]["role"] for document in documents} == {"assistant"}
    for name, tools in (("functions", [described]), ("tools", [{"type": "function", "function": described}])):
        [document] = read(source(write(tmp_path / f"{name}.jsonl", [{"messages": CHAT, name: tools}])))
        assert document.tools == [{"type": "function", "function": described}]


def test_parts_of_a_message_that_ask_tools_and_have_their_answers_are_calls_and_turns_of_tools(tmp_path: Path) -> None:
    asked = {"type": "tool_use", "id": "t1", "name": "sky", "input": {"where": "here"}}
    answered = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "wet"}]}
    said = [{"type": "text", "text": text} for text in ("I look.", "And?", "Yes")]
    apart = [
        {"role": "assistant", "content": [said[0], asked]},
        {"role": "user", "content": [answered, said[1]]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "So."}, said[2]]},
    ]
    together = {"sender": "assistant", "content": [said[0], asked, answered, said[2]]}
    call = {"id": "t1", "type": "function", "function": {"name": "sky", "arguments": {"where": "here"}}}
    called = {"role": "assistant", "content": "I look.", "tool_calls": [call]}
    tool = {"role": "tool", "content": "wet", "tool_call_id": "t1"}
    thought = {**CHAT[1], "reasoning_content": "So."}
    for messages, expected in (
        ([CHAT[0], *apart], [CHAT[0], called, tool, {"role": "user", "content": "And?"}, thought]),
        ([{"sender": "human", "text": "Rain?"}, together], [CHAT[0], called, tool, CHAT[1]]),
        ([CHAT[0], {"role": "assistant", "content": [asked]}], [CHAT[0], {**called, "content": None}]),
    ):
        [document] = read(source(write(tmp_path / "a.jsonl", [{"messages": messages}])))
        assert document.messages == expected
    answered["content"][0] = {"type": "image"}
    [left_out] = counted(source(write(tmp_path / "a.jsonl", [{"messages": apart}, {"text": "one"}]))).values()
    assert left_out.found == {"bad row": "a message has a part `image`"}


def test_of_a_tree_the_branch_that_is_ranked_best_is_read_and_that_is_said(tmp_path: Path) -> None:
    def message(role: str, text: str, rank: int | None, *replies: Any) -> dict[str, Any]:
        return {"message_id": text, "role": role, "text": text, "rank": rank, "replies": list(replies)}

    best = message("assistant", "Yes", 0, message("prompter", "Why?", None))
    tree = message("prompter", "Rain?", None, message("assistant", "No", 1), best)
    config = source(write(tmp_path / "a.jsonl", [{"message_tree_id": "1", "tree_state": "ready", "prompt": tree}]))
    assert said(config) == [f"{CHAT_SAID} | user: Why?"]
    opened = corpus.open_sources(config)["s"]
    list(opened.documents)
    assert opened.noted.rows == {"branches": 1}


def test_chats_that_differ_in_their_tools_alone_are_no_duplicates(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("sky", "sea")]
    called = {"role": "assistant", "content": "Yes", "tool_calls": [tools[0]]}
    rows = [
        {"messages": CHAT},
        *({"messages": CHAT, "tools": [tool]} for tool in tools),
        {"messages": [CHAT[0], called]},
        *({"messages": [*CHAT, {"role": "tool", "content": text}]} for text in ("wet", "dry")),
    ]
    config = source(write(tmp_path / "a.jsonl", [*rows, *rows]))
    assert len(read(config)) == len(rows)
    assert counted(config)["s"].rows == {"duplicate": len(rows)}


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
@example(values=[{"response": [], "language": [{"role": "user"}]}], language=None)
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
    met, least = len(documents) + sum(opened.left_out.rows.values()), len(values) + 1
    lists = [item for value in values if isinstance(value, dict) for item in value.values() if isinstance(item, list)]
    assert met >= least if any(lists) else met == least  # an object may hold several rows, and keys that are none
    assert corpus.plain("a good one", "s") in documents
    for document in documents:
        assert {turn.role for turn in document.turns} <= {"text", "system", "user", "assistant", "reasoning"}
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


def test_halves_of_characters_are_counted(tmp_path: Path) -> None:
    broken = {"messages": [{"role": "user", "content": "Hi \udc00"}, {"role": "assistant", "content": "Yes"}]}
    rows: list[object] = [{"text": "one\ud800"}, {"text": "zwölf"}, broken, {"messages": CHAT}]
    opened = corpus.open_sources(source(write(tmp_path / "a.jsonl", rows)))["s"]
    assert len(list(opened.documents)) == 4
    assert opened.noted.rows == {"halved": 2}


def test_two_columns_of_the_name_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,Text\n1,one,two\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.csv:1: two columns are called `text`; give one of them another name"):
        read(source(path))
    path.write_text("id,text,note,note\n1,one,two,three\n", encoding="utf-8")
    assert read(source(path)) == [corpus.plain("one", "s")]
