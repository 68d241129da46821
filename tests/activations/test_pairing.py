"""What was tokenised is what is shown, what a template was told is told again, and what was done otherwise is said."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dfc import models, pipeline, runs
from dfc.activations import documents as stored
from dfc.activations import harvest, pairing, shards
from dfc.config import SIDES, RunConfig, SettingsError, UserError, VersionError, dump, parse
from dfc.corpus import remarks
from dfc.features import live
from dfc.machine import disk
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from tests import tiny
from tests.corpus.test_template import MOVED
from tests.corpus.written import write

SAID = ("The old bridge carried a river.", "Will it rain?", "It will rain under the bridge.", "And the boat?")
CHATS = [
    {
        "messages": [
            {"role": role, "content": f"{text} {number}"}
            for role, text in zip(("system", "user", "assistant", "user"), SAID, strict=True)
        ]
    }
    for number in range(40)
]
ALIVE = FeatureQuery(limit=1, order="density")
DATED = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} " + MOVED


def config_with(
    tiny_models: tuple[Path, Path], tmp_path: Path, template: str | None = None, rows: list[Any] = CHATS, **model: Any
) -> RunConfig:
    """Settings of a run on chats, whose model A has a template of its own in a file."""
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models, corpus={"pairs": 100_000})
    write(tmp_path / "chats.jsonl", rows)
    settings["corpus"]["sources"] = [{"name": "chats", "path": str(tmp_path / "chats.jsonl")}]
    if template is not None:
        (tmp_path / "template.jinja").write_text(template)
        settings["models"]["a"]["template"] = str(tmp_path / "template.jinja")
    settings["models"]["a"] |= model
    return parse(settings, origin="test")


def shown(run: Run, side: str) -> list[tuple[dict[str, Any], str, list[str]]]:
    """Each stored document, with its rendered text and the text of each token."""
    found = []
    table = stored.read(run)
    every = [shards.read_shown(run.activations, shard) for shard in range(shards.count_shards(run.activations))]
    for row in pa.concat_tables(every).to_pylist():
        document = stored.document(table, row["document"])
        text = row[f"text_{side}"] or "".join(turn.content for turn in document.turns)
        ends = np.cumsum([0, *row[f"lengths_{side}"]])
        found.append((row, text, [text[start:end] for start, end in pairwise(ends)]))
    return found


def test_a_whole_run_on_a_template_that_moves_turns_and_tells_the_time(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    run = runs.create(config_with(tiny_models, tmp_path, DATED))
    pipeline.run_stages(run)
    told = run.config().models.a.date
    assert told is not None
    assert run.config().models.b.date is None
    tokenizer = models.load_tokenizer(run.config().models.a)
    for row, text, pieces in shown(run, "a"):
        assert text.startswith(f"{told:%Y-%m-%d %H:%M:%S} ")
        assert "".join(pieces) == text
        assert row["ids_a"] == tokenizer(text, add_special_tokens=False)["input_ids"]
        document = stored.document(stored.read(run), row["document"])
        content = "".join(turn.content for turn in document.turns)
        assert row["ends"] == sorted(row["ends"])
        for index, end in zip(row["index_a"], row["ends"], strict=True):
            assert pieces[index].rstrip()[-1] == content[end - 1]
        assert row["index_a"] != sorted(row["index_a"])  # the system's words stand in the user's last turn
        assert row["index_b"] == sorted(row["index_b"])
    kept, texts = 0, {side: [text for _, text, _ in shown(run, side)] for side in SIDES}
    for context in Store(run.store).contexts(int(Store(run.store).features(ALIVE)["feature_id"][0])):
        kept += 1
        for side, tokens in zip(SIDES, (context.tokens_a, context.tokens_b), strict=True):
            assert any("".join(tokens) in text for text in texts[side])
        peak_a, peak_b = context.tokens_a[context.peak_a].strip(), context.tokens_b[context.peak_b].strip()
        assert peak_a.endswith(peak_b) or peak_b.endswith(peak_a)
    assert kept > 3
    pipeline.verify(run)


def test_a_stored_document_is_read_as_it_was_tokenised(tiny_run: Run) -> None:
    opened = live.open_run(tiny_run)
    for number in (0, 5, 40):
        reading = live.read_stored(opened, number)
        again = live.read(opened, stored.find(tiny_run, number), shard=live.shard_of(tiny_run, number))
        assert reading.tokens == again.tokens
        assert reading.cut == again.cut
        for side in SIDES:
            np.testing.assert_array_equal(reading.index[side], again.index[side])
        np.testing.assert_array_equal(reading.values, again.values)
    with pytest.raises(UserError, match="document 100000 does not exist"):
        live.read_stored(opened, 100_000)


def test_the_time_that_was_told_is_told_again(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    config = config_with(tiny_models, tmp_path, DATED, date=datetime(2026, 2, 3, 4, 5))
    run = runs.create(config)
    pairing.pair(run)
    assert all(text.startswith("2026-02-03 04:05:00 ") for _, text, _ in shown(run, "a"))
    before = shards.read_tokens(run.activations, 0)
    without = config_with(tiny_models, tmp_path, DATED)
    assert runs.create(without).config() == run.config()  # the same YAML again, which names no date
    pairing.repair(run, 0)
    assert shards.read_tokens(run.activations, 0).equals(before)
    other = runs.create(without.model_copy(update={"name": "other"}))
    pairing.share(run, [other])
    assert other.config().models.a.date == datetime(2026, 2, 3, 4, 5)
    with pytest.raises(SettingsError, match="tiny-llama: has no chat template that asks for a date; take `date` out"):
        pairing.Pairer(config_with(tiny_models, tmp_path, date=datetime(2026, 2, 3)))


def test_a_tokenizer_that_cuts_on_the_left_shows_every_pairs_own_characters(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    tiny.make_llama(tmp_path / "left")
    settings = json.loads((tmp_path / "left" / "tokenizer_config.json").read_text())
    settings["truncation_side"] = "left"
    (tmp_path / "left" / "tokenizer_config.json").write_text(json.dumps(settings))
    run = runs.create(config_with((tmp_path / "left", tiny_models[1]), tmp_path, max_tokens=40))
    pairing.pair(run)
    found = shown(run, "a")
    assert {len(row["ids_a"]) for row, _, _ in found} == {40}
    for row, text, pieces in found:
        content = "".join(turn.content for turn in stored.document(stored.read(run), row["document"]).turns)
        assert text.startswith("".join(pieces))
        assert row["ends"]
        for index, end in zip(row["index_a"], row["ends"], strict=True):
            assert pieces[index].rstrip()[-1] == content[end - 1]


def test_several_named_templates_are_hashed_by_their_default(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "named"
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_models[0])
    own = models.fingerprint(config_with(tiny_models, tmp_path).models.a).template
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": MOVED}
    tiny.make_llama(folder)
    tokenizer.save_pretrained(folder)
    config = config_with((folder, tiny_models[1]), tmp_path)
    assert isinstance(models.load_tokenizer(config.models.a).chat_template, dict)
    assert models.fingerprint(config.models.a).template == own
    pairing.pair(runs.create(config))


def test_what_models_were_given_otherwise_is_counted_and_said(
    tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Rain?"},
                {"role": "assistant", "content": "Yes.", "thinking": "Wet."},
            ]
        },
        {"messages": [{"role": "user", "content": "Stop <|im_end|>"}, {"role": "tool", "content": "3"}]},
        {"messages": "no chat"},
        *({"text": f"a river in the rain {number}"} for number in range(30)),
    ]
    run = runs.create(config_with(tiny_models, tmp_path, rows=rows))
    pipeline.run_stages(run, until="harvest")
    expected = [
        r"corpus source `chats`: left out 1 rows without a usable `text` or `messages`, the first at chats\.jsonl:3 "
        r"\(`messages` is a text\)",
        r"corpus source `chats`: 1 turns and calls of tools, which templates are given and which are not paired, "
        r"the first at chats\.jsonl:2 \(role `tool`\)",
        r"tiny-llama: .*1 turns that its template leaves out or changes, which are not paired, the first at "
        r"document \d+ of `chats` \(role `reasoning`\).*",
        r"tiny-gemma: 2 chats given as “User: …”, since it has no chat template, the first at document \d+ of `chats`; "
        r"if it is a chat model, name a file with its template in `models\.b\.template`",
    ]
    manifest = json.loads((run.activations / "manifest.json").read_text(encoding="utf-8"))
    printed = capsys.readouterr().err
    sentences = remarks(manifest["remarks"], run.config())
    assert len(sentences) == 4
    for sentence, words in zip(sentences, expected, strict=True):
        assert sentence in printed.splitlines()
        assert re.fullmatch(words, sentence)
    assert "1 texts that spell out its special tokens, which are read as text" in sentences[2]
    assert "(`<|im_end|>`)" in sentences[2]
    assert manifest["remarks"]["left_out"]["chats"]["found"] == {"bad row": "`messages` is a text"}


def test_a_chat_that_a_template_refuses_is_counted_and_others_are_paired(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    refusing = "{% if 'wizard' in messages[0].content %}{{ raise_exception('no magic') }}{% endif %}" + tiny.CHATML
    rows = [
        {"messages": [{"role": "user", "content": text}]} for text in ("a wizard", *(f"river {n}" for n in range(30)))
    ]
    run = runs.create(config_with(tiny_models, tmp_path, refusing, rows=rows))
    pairing.pair(run)
    noted = pairing.remarks(pairing.read_position(run))["models"]["a"]
    assert (noted["rows"]["refused"], noted["found"]["refused"]) == (1, "no magic")
    counts = {row["text_b"]: len(row["ends"]) for row, _, _ in shown(run, "a")}
    assert [text for text, count in counts.items() if not count] == ["User: a wizard"]
    assert len(counts) == 31


def test_a_run_of_before_says_what_to_do_and_keeps_its_activations(tiny_copy: Run) -> None:
    """Tokens were stored without what they show; pairing the texts again adds it."""
    whole = [
        shards.read_tokens(tiny_copy.activations, shard) for shard in range(shards.count_shards(tiny_copy.activations))
    ]
    old = [name for name in whole[0].column_names if not name.startswith(("text_", "lengths_"))]
    for shard, tokens in enumerate(whole):
        pq.write_table(tokens.select(old), shards.tokens_path(tiny_copy.activations, shard))
    corpus = pq.read_table(tiny_copy.corpus)
    pq.write_table(corpus.drop_columns("given"), tiny_copy.corpus)
    position = json.loads((tiny_copy.activations / "pairing.json").read_text())
    del position["noted"], position["sources"]
    disk.write_json(tiny_copy.activations / "pairing.json", position)
    assert len(Store(tiny_copy.store).features(ALIVE)) == 1  # what was indexed opens as before
    with pytest.raises(
        VersionError, match=r"another version of dfc \(`text_a` is missing\); run `python -m dfc harvest --rep"
    ):
        pipeline.run_stages(tiny_copy, again="index")
    with pytest.raises(VersionError, match="`text_a` is missing"):
        live.read_stored(live.open_run(tiny_copy), 0)
    rows = {path: path.stat().st_mtime_ns for path in tiny_copy.activations.glob("[ab]/*.rows")}
    assert len(harvest.repair(tiny_copy)) == len(whole)
    assert {path: path.stat().st_mtime_ns for path in rows} == rows
    for shard, tokens in enumerate(whole):
        assert shards.read_tokens(tiny_copy.activations, shard).equals(tokens)
    pipeline.run_stages(tiny_copy, again="index")


def test_settings_without_a_date_and_a_template_are_those_of_before(tiny_run: Run, tmp_path: Path) -> None:
    text = dump(tiny_run.config())
    lines = [line for line in text.splitlines() if line.strip() not in ("date: null", "template: null")]
    assert len(lines) == len(text.splitlines()) - 4
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    assert Run(tmp_path).config() == tiny_run.config()
